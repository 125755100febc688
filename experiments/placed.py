"""The instances that an experiment places without requests, and the cluster they are placed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from experiments.errors import ExperimentError
from experiments.load import Experiment
from experiments.schema import MOST_GPUS, InstancesSection, OpenbSection
from policies import Cluster
from policies.functions import MixedCluster
from profiles import GpuType
from traces import InstanceEvent, TraceError, generate_instance_events, locate, read_instance_events
from traces.instances.openb import OpenbPods, read_node_list, read_openb_pods

GIB: Final = 2**30

_HERE: Final = ("workload", "instances")
_OPENB: Final = (*_HERE, "openb")
_OPENB_PATH: Final = (*_OPENB, "path")
_NODE_LIST: Final = ("cluster", "node_list")


@dataclass(frozen=True, slots=True)
class Placed:
    """Instances and their cluster, and how they came about (JSON-able, for the manifest)."""

    cluster: Cluster | MixedCluster
    events: list[InstanceEvent]
    provenance: Mapping[str, Any]


def placed_instances(experiment: Experiment) -> Placed | None:
    """Read or generate the instances to place, and the nodes; `None` if requests arrive instead.

    Raises
    ------
    ExperimentError
        If a file cannot be read, or an instance is larger than any node.
    """
    section = experiment.section.workload.instances
    if section is None:
        return None
    pods = None if section.openb is None else _pods(experiment, section.openb)
    if section.openb is None or pods is None:
        events, origin = _events(experiment, section), {}
    else:
        read = _openb(experiment, section.openb, pods)
        events, origin = read.events, {"openb": read.provenance}
    cluster, nodes = _cluster(experiment, pods)
    for event in events:
        if not any(_could_hold(kind, event) for kind in cluster.kinds):
            raise experiment.document.error(_HERE, _too_large(cluster, event))
    starts = sum(event.action == "start" for event in events)
    return Placed(cluster, events, {"instances": starts, **origin, **nodes})


def _cluster(experiment: Experiment, pods: Path | None) -> tuple[Cluster | MixedCluster, Mapping[str, Any]]:
    """Return the cluster, and where its nodes are from if a file lists them."""
    if experiment.cluster is not None:
        return experiment.cluster, {}
    path = _node_list(experiment, pods)
    _check_regular(experiment, _NODE_LIST, path)
    try:
        read = read_node_list(path)
    except TraceError as error:
        raise ExperimentError(str(error)) from None
    groups = (
        # A list of nodes says nothing of SMs, and shares are of whatever a GPU has.
        Cluster(group.nodes, group.gpus_per_node, GpuType(group.gpu_type, group.memory_bytes, sms=0))
        for group in read.groups
    )
    cluster = MixedCluster(tuple(groups))
    slots = cluster.nodes * cluster.gpus_per_node
    if slots > MOST_GPUS:
        found = f"found {cluster.nodes} nodes of up to {cluster.gpus_per_node} GPUs"
        raise experiment.document.error(_NODE_LIST, f"{found}, allowed are up to {MOST_GPUS} GPUs")
    return cluster, {"node_list": read.provenance}


def _node_list(experiment: Experiment, pods: Path | None) -> Path:
    """Return the file of nodes: from the folder of the pods if they are from openb, else as other paths."""
    path = experiment.path(*_NODE_LIST)
    assert path is not None
    if pods is None or experiment.document.place(_NODE_LIST).startswith("--"):
        return path
    folder = pods if pods.is_dir() else pods.parent
    return folder / str(experiment.section.cluster.node_list)


def _pods(experiment: Experiment, section: OpenbSection) -> Path:
    """Return where the pods are: the path that was given, or the public trace if it was fetched."""
    path = experiment.path(*_OPENB_PATH)
    if path is None or section.path is None:
        raise experiment.document.error(_OPENB_PATH, "found nothing; name one, or give --trace PATH")
    _check_regular(experiment, _OPENB_PATH, path)
    if path.exists():
        return path
    try:
        fetched = locate(section.path)
    except TraceError as error:
        raise experiment.document.error(_OPENB_PATH, str(error.args[0])) from None
    return fetched if fetched.exists() else path


def _openb(experiment: Experiment, section: OpenbSection, path: Path) -> OpenbPods:
    try:
        return read_openb_pods(path, pods=section.pods, lifetime=section.lifetime)
    except TraceError as error:
        if error.line is None and error.field is not None:
            raise experiment.document.error((*_OPENB, error.field), str(error.args[0])) from None
        raise ExperimentError(str(error)) from None


def _events(experiment: Experiment, section: InstancesSection) -> list[InstanceEvent]:
    try:
        if section.generate is not None:
            return generate_instance_events(
                section.generate.instances,
                seed=experiment.section.seed,
                instances_per_service=section.generate.instances_per_service,
            )
        path = experiment.path(*_HERE) or experiment.path(*_HERE, "file")
        assert path is not None
        _check_regular(experiment, _HERE, path)
        return read_instance_events(path)
    except TraceError as error:
        raise experiment.document.error(_HERE, str(error)) from None


def _check_regular(experiment: Experiment, key: tuple[str, ...], path: Path) -> None:
    """Refuse what may never end, such as a pipe or a device."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise experiment.document.error(key, f"found {str(path)!r}, allowed is a regular file or a directory")


def _could_hold(kind: Cluster, event: InstanceEvent) -> bool:
    """Whether a node of this kind could hold an instance if it were empty; an LLM may be split."""
    gpus = kind.gpus_per_node if event.kind == "llm" else 1
    return (
        (event.gpu_types is None or kind.gpu.name in event.gpu_types)
        and event.memory_bytes <= gpus * kind.gpu.memory_bytes
        and event.gpus <= kind.gpus_per_node
    )


def _too_large(cluster: Cluster | MixedCluster, event: InstanceEvent) -> str:
    """Say what an instance needs and what the nodes have."""
    types = "" if event.gpu_types is None else f" of {'|'.join(sorted(event.gpu_types))}"
    found = f"{event.gpus} x {event.memory_bytes / GIB:g} GiB{types}"
    if isinstance(cluster, Cluster):
        allowed = f"{cluster.gpus_per_node} x {cluster.gpu.memory_bytes / GIB:g} GiB"
        if event.gpu_types is not None:
            allowed += f" of {cluster.gpu.name}"
    else:
        allowed = ", or ".join(_node(kind) for kind in cluster.kinds)
    return f"instance {event.name!r} needs {found}, allowed is what a node has: {allowed}"


def _node(kind: Cluster) -> str:
    memory = f"{kind.gpu.memory_bytes / GIB:g} GiB" if kind.gpu.memory_bytes else "unknown memory"
    return f"{kind.gpus_per_node} x {memory} of {kind.gpu.name}"
