"""The pods and nodes of Alibaba's GPU cluster trace of 2023, called openb, as instances to place.

Weng et al., Beware of Fragmentation, USENIX ATC 2023, published it: two CSV files, one with the pods that
came in 149 days and one with the nodes, which differ in the type and in the number of their GPUs. A pod asks
for thousandths of one GPU or for several whole ones, and some only for certain types. What pods and nodes
have of CPU and host memory is not modelled, and what pods need of GPU memory is not in the trace.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from traces.errors import TraceError, shown
from traces.instances.events import GIB, SEPARATOR, InstanceEvent, gpu_types
from traces.readers.source import identity
from traces.readers.tables import Table, number

Lifetime = Literal["traced", "forever"]

PODS_PREFIX: Final = "openb_pod_list_"
DEFAULT_PODS: Final = "default"
"""The list of the trace itself; the others are variants that its authors made of it."""

SOURCE: Final = {
    "source": "Alibaba cluster-trace-gpu-v2023 (openb)",
    "citation": "Weng et al., Beware of Fragmentation, USENIX ATC 2023",
    "licence": "Apache-2.0, as in hkust-adsl/kubernetes-scheduler-simulator",
}

_WHOLE_GPU: Final = 1000  # thousandths
_PHASES: Final = ("Pending", "Running", "Succeeded", "Failed", "Unknown")  # those of Kubernetes
_MOST: Final = 2**53  # whole numbers up to here are exact
_MOST_GPUS: Final = 1_000_000  # of a node or a pod: far above any
_MOST_MEMORY_GB: Final = 1_000_000  # of one GPU: far above any, and exact in bytes
_MEMORY: Final = "gpu_memory_gb"
_TYPES: Final = "gpu_spec"
_CREATED: Final = "creation_time"
_TIMES: Final = ("pod_phase", _CREATED, "scheduled_time", "deletion_time")


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Consecutive nodes that have as many GPUs of the same type; `memory_bytes` of a GPU, 0 if not known."""

    nodes: int
    gpus_per_node: int
    gpu_type: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class NodeList:
    """The nodes of a cluster in the order of their file, and where they are from (JSON-able)."""

    groups: tuple[NodeGroup, ...]
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OpenbPods:
    """Pods as instances that start and stop, and how they came about (JSON-able)."""

    events: list[InstanceEvent]
    provenance: Mapping[str, Any]


def read_openb_pods(path: Path | str, *, pods: str | None = None, lifetime: Lifetime = "traced") -> OpenbPods:
    """Read the pods that ask for GPUs.

    A pod asks for `gpu_milli` thousandths of a GPU, which are its request and its limit, or for several whole
    GPUs, which are on one node. Every pod is a service of its own, since the trace does not say which belong
    together: no placement finds a reason to put one near another. Every pod is of the kind `inference`: what
    it runs is not in the trace either, and the other kinds may be spread over nodes (training under exclusive
    GPUs) or split (an LLM), as a pod may not.

    Parameters
    ----------
    path
        A list of pods, or a folder with files `openb_pod_list_*.csv`.
    pods
        Which list of a folder: `default`, the trace itself, unless another variant is named (`gpuspec33`).
    lifetime
        `traced`: a pod starts when it was created and runs for as long as it did, from scheduling to
        deletion; how long it waited back then is not replayed. Pods that were never scheduled are left out:
        nobody knows how long they would have run. `forever`: all pods that ask for GPUs arrive in the order
        of their creation, one a second, and stay, as in the experiments of the trace's authors, which fill
        the cluster; without the column `creation_time` in the order of the file.

    Raises
    ------
    TraceError
        With file, line and column, if a row is truncated or a value out of range, a name stands twice, or
        times are out of order; if there is no such list, or no pod in it to place.
    """
    if lifetime not in get_args(Lifetime):
        allowed = ", ".join(get_args(Lifetime))
        raise TraceError(f"found {shown(lifetime)}, allowed are {allowed}", field="lifetime")
    file = _pod_file(Path(path), pods)
    left_out: Counter[str] = Counter()
    placed = list(_placed_pods(file, lifetime, left_out))
    if not placed:
        raise TraceError("holds no pod to place", path=file)
    if lifetime == "traced":
        events = [event for pod in placed for event in pod.from_start_to_stop()]
    else:
        placed.sort(key=lambda pod: pod.created_s)
        events = [pod.starts(float(second)) for second, pod in enumerate(placed)]
    return OpenbPods(
        # What is freed can be taken at once: stops come before the starts of the same second.
        sorted(events, key=lambda event: (event.time_s, event.action == "start")),
        {
            **SOURCE,
            "files": [identity(file)],
            "lifetime": lifetime,
            "pods": len(placed) + left_out.total(),
            "placed": len(placed),
            "left_out": {reason: left_out[reason] for reason in sorted(left_out)},
            "sharing_a_gpu": sum(pod.share < 1.0 for pod in placed),
            "bound_to_types": sum(pod.types is not None for pod in placed),
            "gpus_asked_for": round(sum(pod.share * pod.gpus for pod in placed), 3),
        },
    )


def read_node_list(path: Path | str) -> NodeList:
    """Read the nodes of a cluster: columns `sn`, `gpu` (their number) and `model` (their type).

    Nodes without GPUs are left out. The trace says nothing of GPU memory; a list of one's own may have a
    column `gpu_memory_gb`, in units of 2**30 bytes, where empty means not known.

    Raises
    ------
    TraceError
        With file, line and column, if a row is truncated or a value out of range, a name stands twice, or a
        type has two sizes of memory; if no node has a GPU.
    """
    path = Path(path)
    groups: list[NodeGroup] = []
    memory_of: dict[str, int] = {}
    left_out = 0
    for row in _rows(path, ("sn", "gpu", "model"), name="sn"):
        gpus = row.whole("gpu", most=_MOST_GPUS)
        if not gpus:
            left_out += 1
            continue
        gpu_type, memory_bytes = row.text("model"), row.memory_bytes()
        if not gpu_type or SEPARATOR in gpu_type:
            raise row.fault("model", f"allowed is the type of the {gpus} GPUs, a name without {SEPARATOR}")
        if memory_of.setdefault(gpu_type, memory_bytes) != memory_bytes:
            first = memory_of[gpu_type] / GIB
            raise row.fault(_MEMORY, f"allowed is what the first {gpu_type} has ({first:g}; 0: not known)")
        last = groups[-1] if groups else None
        if last is not None and (last.gpus_per_node, last.gpu_type) == (gpus, gpu_type):
            groups[-1] = NodeGroup(last.nodes + 1, gpus, gpu_type, memory_bytes)
        else:
            groups.append(NodeGroup(1, gpus, gpu_type, memory_bytes))
    if not groups:
        raise TraceError("holds no node with a GPU", path=path)
    provenance = {"files": [identity(path)], "nodes_without_gpu_left_out": left_out}
    return NodeList(tuple(groups), provenance)


@dataclass(frozen=True, slots=True)
class _Pod:
    """A pod that asks for GPUs; it may run for 0 s only where its lifetime is not asked for."""

    name: str
    gpus: int
    share: float
    types: frozenset[str] | None
    created_s: float
    runs_s: float

    def starts(self, time_s: float) -> InstanceEvent:
        return self._event(time_s, "start")

    def from_start_to_stop(self) -> tuple[InstanceEvent, InstanceEvent]:
        return self._event(self.created_s, "start"), self._event(self.created_s + self.runs_s, "stop")

    def _event(self, time_s: float, action: Literal["start", "stop"]) -> InstanceEvent:
        return InstanceEvent(
            time_s=time_s,
            action=action,
            name=self.name,
            service=self.name,
            kind="inference",
            gpus=self.gpus,
            request=self.share,
            limit=self.share,
            memory_bytes=0,
            gpu_types=self.types,
        )


def _placed_pods(file: Path, lifetime: Lifetime, left_out: Counter[str]) -> Iterator[_Pod]:
    """Read the pods that are to be placed, and count why the others are not."""
    required = ("name", "num_gpu", "gpu_milli", *(_TIMES if lifetime == "traced" else ()))
    for row in _rows(file, required, name="name"):
        gpus, share = row.whole("num_gpu", most=_MOST_GPUS), row.share()
        types = gpu_types(row.text(_TYPES), field=_TYPES, path=file, line=row.line)
        created_s = float(row.whole(_CREATED)) if row.has(_CREATED) else 0.0
        runs_s = row.runs_s() if lifetime == "traced" else 0.0
        if not gpus:
            left_out["without_gpu"] += 1
        elif runs_s is None:
            left_out["never_scheduled"] += 1
        elif lifetime == "traced" and runs_s == 0.0:
            left_out["gone_at_once"] += 1
        else:
            yield _Pod(row.text("name"), gpus, share, types, created_s, runs_s)


def _pod_file(path: Path, pods: str | None) -> Path:
    """Return the list that a path and the name of a variant stand for."""
    if not path.is_dir():
        if pods is not None:
            message = f"found {shown(pods)} beside a file, allowed is one or the other"
            raise TraceError(message, path=path, field="pods")
        return path
    variant = DEFAULT_PODS if pods is None else pods
    variants = sorted(file.stem.removeprefix(PODS_PREFIX) for file in path.glob(f"{PODS_PREFIX}*.csv"))
    if not variants:
        raise TraceError(f"holds no file named {PODS_PREFIX}*.csv", path=path)
    if variant not in variants:
        near = difflib.get_close_matches(variant, variants, n=1)
        mend = f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(variants)}"
        raise TraceError(f"found {shown(variant)}; {mend}", path=path, field="pods")
    return path / f"{PODS_PREFIX}{variant}.csv"


def _rows(path: Path, required: tuple[str, ...], *, name: str) -> Iterator[_Row]:
    """Read a table whose rows are named, each by another name."""
    table = Table(path, required)
    lines: dict[str, int] = {}
    for line, values in table:
        row = _Row(path, line, {column: values[at].strip() for column, at in table.columns.items()})
        found = row.text(name)
        if not found:
            raise row.fault(name, "allowed is a name")
        if found in lines:
            raise row.fault(name, f"which line {lines[found]} has, allowed is once")
        lines[found] = line
        yield row


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a file, by the names of its columns."""

    path: Path
    line: int
    values: Mapping[str, str]

    def has(self, column: str) -> bool:
        return column in self.values

    def text(self, column: str) -> str:
        """Return what a column says; nothing if there is no such column."""
        return self.values.get(column, "")

    def fault(self, column: str, allowed: str) -> TraceError:
        found = shown(self.text(column))
        return TraceError(f"found {found}, {allowed}", path=self.path, line=self.line, field=column)

    def whole(self, column: str, *, least: int = 0, most: int = _MOST) -> int:
        value = number(self.text(column), field=column, path=self.path, line=self.line)
        if not value.is_integer() or not least <= value <= most:
            raise self.fault(column, f"allowed is a whole number from {least} to {most}")
        return int(value)

    def share(self) -> float:
        """Return the share of each GPU that a pod asks for; 0 without a GPU."""
        gpus = self.whole("num_gpu", most=_MOST_GPUS)
        milli = self.whole("gpu_milli", most=_WHOLE_GPU)
        if gpus == 1 and not milli:
            raise self.fault("gpu_milli", f"allowed is a whole number from 1 to {_WHOLE_GPU} for one GPU")
        if gpus != 1 and milli != (_WHOLE_GPU if gpus else 0):
            raise self.fault("gpu_milli", f"allowed is {_WHOLE_GPU if gpus else 0} for {gpus} GPUs")
        return milli / _WHOLE_GPU

    def runs_s(self) -> float | None:
        """Return the seconds from scheduling to deletion; `None` if the pod was never scheduled."""
        phase = self.text("pod_phase")
        if phase not in _PHASES:
            raise self.fault("pod_phase", f"allowed are {', '.join(_PHASES)}")
        created_s = self.whole(_CREATED)
        if not self.text("scheduled_time"):
            if phase != "Pending":
                raise self.fault("scheduled_time", f"allowed is a time for a pod that is {phase}")
            self.whole("deletion_time", least=created_s)
            return None
        scheduled_s = self.whole("scheduled_time", least=created_s)
        return float(self.whole("deletion_time", least=scheduled_s) - scheduled_s)

    def memory_bytes(self) -> int:
        """Return the memory of a node's GPUs; 0 where it is not known."""
        if not self.text(_MEMORY):
            return 0
        memory_gb = number(self.text(_MEMORY), field=_MEMORY, path=self.path, line=self.line)
        if not 0 < memory_gb <= _MOST_MEMORY_GB:
            raise self.fault(_MEMORY, f"allowed is above 0 and up to {_MOST_MEMORY_GB}, or nothing")
        return round(memory_gb * GIB)
