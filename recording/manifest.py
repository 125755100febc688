"""The manifest: what ran, under which seed and versions, and what the indices in the tables stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from recording.schema import SCHEMA_VERSION, RecordingError

MANIFEST_FILE = "manifest.json"
SUMMARY_FILE = "summary.json"


class RecordedFunction(BaseModel):
    """A function of the run; its place in the manifest's list is its index in the tables.

    `slo_s` is the latency target of a request, or of each output token for an `llm`; `None` for training.
    `output_tokens` is what a request generates where `arrivals` does not say. `start_s` is when it was
    deployed: from then on a training job's completion time counts.
    """

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    name: str
    kind: Literal["inference", "llm", "training"]
    slo_s: float | None = None
    output_tokens: int = Field(default=1, ge=1)
    start_s: float = 0.0


class RecordedCluster(BaseModel):
    """The cluster of the run; `gpu_memory_bytes` is the capacity of each GPU."""

    model_config = ConfigDict(extra="allow", frozen=True)

    nodes: int = Field(ge=1)
    gpus_per_node: int = Field(ge=1)
    gpu: str
    gpu_memory_bytes: int = Field(ge=1)

    @property
    def most_memory_bytes(self) -> int:
        """Capacity of the GPU that has most."""
        return self.gpu_memory_bytes

    def memory_bytes_of(self, gpus: NDArray[np.int64]) -> NDArray[np.int64]:
        """Capacity of each of these GPUs."""
        return np.full(len(gpus), self.gpu_memory_bytes, dtype=np.int64)


class RecordedNodes(BaseModel):
    """Consecutive nodes of a cluster that are alike; `gpu_memory_bytes` is 0 where it is not known."""

    model_config = ConfigDict(extra="allow", frozen=True)

    nodes: int = Field(ge=1)
    gpus_per_node: int = Field(ge=1)
    gpu: str
    gpu_memory_bytes: int = Field(ge=0)


class RecordedMixedCluster(BaseModel):
    """The cluster of a run on nodes that differ.

    The tables number slots: `gpus_per_node` of each node, as many as the widest one of `groups` has GPUs, of
    which a narrower one leaves the last ones empty. `gpus` and `gpus_by_type` count GPUs alone.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    nodes: int = Field(ge=1)
    gpus_per_node: int = Field(ge=1)
    gpus: int = Field(ge=1)
    gpus_by_type: Mapping[str, int]
    groups: tuple[RecordedNodes, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        nodes, width = sum(g.nodes for g in self.groups), max(g.gpus_per_node for g in self.groups)
        if (self.nodes, self.gpus_per_node) != (nodes, width):
            raise ValueError(f"{self.nodes} x {self.gpus_per_node} slots, but groups of {nodes} x {width}")
        return self

    @property
    def most_memory_bytes(self) -> int:
        """Capacity of the GPU that has most."""
        return max(group.gpu_memory_bytes for group in self.groups)

    def memory_bytes_of(self, gpus: NDArray[np.int64]) -> NDArray[np.int64]:
        """Capacity of each of these GPUs; 0 where it is not known.

        Raises
        ------
        RecordingError
            If the cluster has no such GPU.
        """
        slots = self.nodes * self.gpus_per_node
        if len(gpus) and not (gpus.min() >= 0 and gpus.max() < slots):
            wrong = gpus.min() if gpus.min() < 0 else gpus.max()
            raise RecordingError(f"gpus: found GPU {wrong}, allowed are 0 to {slots - 1}")
        of_groups = np.array([group.gpu_memory_bytes for group in self.groups], dtype=np.int64)
        of_nodes = np.repeat(of_groups, [group.nodes for group in self.groups])
        return of_nodes[gpus // self.gpus_per_node]


_ALIKE, _MIXED = "nodes that are alike", "nodes that differ"


def _which(cluster: Any) -> str:
    """Tell the two forms of a cluster apart, in a document as well as in memory."""
    has_groups = "groups" in cluster if isinstance(cluster, Mapping) else hasattr(cluster, "groups")
    return _MIXED if has_groups else _ALIKE


class Manifest(BaseModel):
    """What every reader of a run may rely on; a world or an experiment adds further keys.

    `simulated_s` is when the run ended, on the clock of the tables; `launches_refused` counts launches that
    no GPU could take; `placement_only` runs placed instances and served no requests. There is no wall-clock
    time in it: equal runs have equal manifests.
    """

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    schema_version: Literal[1] = SCHEMA_VERSION
    system: str
    title: str | None = None
    world: Literal["sim", "realgpu"]
    seed: int
    simulated_s: float = Field(ge=0)
    placement_only: bool = False
    launches_refused: int = 0
    cluster: Annotated[
        Annotated[RecordedCluster, Tag(_ALIKE)] | Annotated[RecordedMixedCluster, Tag(_MIXED)],
        Discriminator(_which),
    ]
    functions: tuple[RecordedFunction, ...]

    @property
    def further(self) -> Mapping[str, Any]:
        """The keys beyond the ones above."""
        return self.model_extra or {}


def read_manifest(path: Path) -> Manifest:
    """Read and check `manifest.json`.

    Raises
    ------
    RecordingError
        If it is missing, no JSON, of another schema version, or lacks a key.
    """
    document = read_json(path)
    found = document.get("schema_version")
    if found != SCHEMA_VERSION:
        raise RecordingError(f"{path}: schema_version: found {found!r}, this version reads {SCHEMA_VERSION}")
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in (_ALIKE, _MIXED))
        raise RecordingError(f"{path}: {where}: {first['msg'].lower()}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    RecordingError
        If the file is missing or holds anything else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordingError(
            f"{path}: not found; allowed are the folders that `dilu replay` writes"
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RecordingError(f"{path}: cannot be read as JSON ({' '.join(str(error).split())})") from None
    if not isinstance(document, dict):
        raise RecordingError(f"{path}: found a JSON {type(document).__name__}, allowed is an object")
    return document


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object: keys in their given order, no NaN, one line break at the end."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
