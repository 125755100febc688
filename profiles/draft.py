"""A catalog before it is written: profiles whose every value says where it comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from profiles.catalog import FILES, Catalog
from profiles.errors import ProfileError
from profiles.measurements import InterferenceMeasurement, Measurement, StartUpMeasurement
from profiles.model import GpuType, ModelProfile
from profiles.provenance import Provenance
from profiles.startup import StartUp

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a model may be called, since its file is called so."""

HOST_FIELDS = ("container_s", "runtime_s", "context_s", "bandwidth_bytes_per_s")


@dataclass(frozen=True, slots=True)
class HostStartUp:
    """The parts of a cold start that depend on the host, not on the model; as in `StartUp`."""

    container_s: float
    runtime_s: float
    context_s: float
    bandwidth_bytes_per_s: float

    def of(self, weights_bytes: int, warm_up_s: float) -> StartUp:
        """Return the start-up of a model on this host."""
        return StartUp(
            container_s=self.container_s,
            runtime_s=self.runtime_s,
            context_s=self.context_s,
            weights_bytes=weights_bytes,
            bandwidth_bytes_per_s=self.bandwidth_bytes_per_s,
            warm_up_s=warm_up_s,
        )


@dataclass(frozen=True)
class CatalogDraft:
    """What `write_catalog` writes.

    Attributes
    ----------
    gpu
        The type of GPU.
    host
        The parts of a cold start that depend on the host. They replace those of the models.
    provenance
        The origin of `memory_bytes` and `sms` of the GPU, and of `startup.container_s`, `startup.runtime_s`,
        `startup.context_s` and `startup.bandwidth_bytes_per_s` of the host.
    models
        The profiles, each with the origin of its values in its own `provenance`.
    device
        The manifest of the device that was measured: anything that JSON can hold.
    measurements, start_ups, interference
        What was measured, as it was.
    """

    gpu: GpuType
    host: HostStartUp
    provenance: Mapping[str, Provenance]
    models: Sequence[ModelProfile]
    device: Mapping[str, Any] | None = None
    measurements: Sequence[Measurement] = ()
    start_ups: Sequence[StartUpMeasurement] = ()
    interference: Sequence[InterferenceMeasurement] = field(default=())

    def catalog(self) -> Catalog:
        """Return the catalog that this is when written and read again.

        Raises
        ------
        ProfileError
            If there is no model, two have one name or one cannot name a file, a value has no origin, or the
            device is nothing that JSON can hold.
        """
        names = [model.name for model in self.models]
        if not names:
            raise ProfileError("models: found none, a catalog needs at least one")
        for name in names:
            if not FILE_NAME.fullmatch(name) or name == FILES.gpu.removesuffix(".yaml"):
                raise ProfileError(f"models: found the name {name!r}, allowed are names of files but 'gpu'")
            if names.count(name) > 1:
                raise ProfileError(f"models: found {name!r} twice, a catalog has each once")
        origins = _only(self.provenance, ["memory_bytes", "sms", *_host_paths()], FILES.gpu)
        models = {model.name: self._settled(model, origins) for model in self.models}
        return Catalog(
            self.gpu,
            dict(sorted(models.items())),
            origins,
            device=_as_json(self.device) if self.device is not None else None,
            measurements=tuple(self.measurements),
            start_ups=tuple(self.start_ups),
            interference=tuple(self.interference),
        )

    def _settled(self, model: ModelProfile, host_origins: Mapping[str, Provenance]) -> ModelProfile:
        """Return a profile as it is read again: started up on this host, with the origins it needs."""
        if model.kind == "inference" and model.output_tokens != 1:
            raise ProfileError(
                f"{model.name}: output_tokens: found {model.output_tokens}, only an llm has more than 1"
            )
        origins = _only(model.provenance, origin_paths(model), model.name)
        return replace(
            model,
            startup=self.host.of(model.weights_bytes, model.startup.warm_up_s),
            provenance=origins | {path: host_origins[path] for path in _host_paths()},
        )


def draft_of(catalog: Catalog) -> CatalogDraft:
    """Return a draft of a catalog, to change and write.

    Raises
    ------
    ProfileError
        If its models start up on different hosts.
    """
    hosts = {
        HostStartUp(*(getattr(model.startup, name) for name in HOST_FIELDS))
        for model in catalog.models.values()
    }
    if len(hosts) != 1:
        raise ProfileError(f"startup: found {len(hosts)} hosts, the models of a catalog share one")
    return CatalogDraft(
        catalog.gpu,
        hosts.pop(),
        catalog.gpu_provenance,
        tuple(catalog.models.values()),
        catalog.device,
        catalog.measurements,
        catalog.start_ups,
        catalog.interference,
    )


def origin_paths(model: ModelProfile) -> list[str]:
    """Return the paths of the values of a profile that need an origin, without those of its host."""
    paths = ["latency", "slo_s", "max_batch", "memory_bytes", "weights_bytes", "launches", "wave_s"]
    paths += ["warm_up_s"]
    if model.latency.points:
        paths += ["latency.points"]
    if model.kind == "llm":
        paths += ["output_tokens"]
    if model.capacity is not None:
        paths += ["capacity.cost_per_s", "capacity.batch_cost"]
    if model.prefill is not None:
        paths += ["prefill"]
    if (training := model.training) is not None:
        paths += [f"training.{name}" for name in ("batch", "workers", "memory_bytes", "launches", "wave_s")]
        paths += [f"training.{name}" for name in ("floor_s", "work_s", "g")]
        if training.step.points:
            paths += ["training.points"]
        if training.capacity is not None:
            paths += ["training.capacity.cost_per_s", "training.capacity.batch_cost"]
    return paths


def _host_paths() -> list[str]:
    return [f"startup.{name}" for name in HOST_FIELDS]


def _only(origins: Mapping[str, Provenance], paths: list[str], where: str) -> dict[str, Provenance]:
    missing = [path for path in paths if path not in origins]
    if missing:
        raise ProfileError(f"{where}: provenance: found none of {', '.join(missing)}, each value needs one")
    return {path: origins[path] for path in paths}


def _as_json(device: Mapping[str, Any]) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(json.dumps(dict(device), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ProfileError(f"device: found what JSON cannot hold ({error})") from None
    return content
