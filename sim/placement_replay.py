"""Placement alone: replays a workload of instances against the same placement objects, without requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from policies import Cluster, Launch, PlacementRequest, PolicyError, Size, System
from policies.books import ClusterBooks, Tenancy
from policies.functions import MixedCluster
from policies.outcome import Outcome
from profiles.sharing import UNMANAGED
from recording import TableSink
from sim.gpu import Gpu
from sim.occupancy import Occupancy
from traces import InstanceEvent

GIB = 2**30


def replay_instances(
    cluster: Cluster | MixedCluster,
    events: Sequence[InstanceEvent],
    system: System,
    *,
    recorder: TableSink,
    progress: Callable[[float], None] | None = None,
) -> Outcome:
    """Start and stop instances as the events say, each where the system places it.

    An event's request and limit are what profiling found; the system reserves what it makes of them (a
    whole GPU, a static quota). An instance that no GPU can take is counted as refused, and its stop is
    passed over.

    Raises
    ------
    PolicyError
        If an instance is larger than anything in this cluster.
    """
    replay = _Replay(cluster, system, recorder)
    for event in events:
        if event.action == "start":
            replay.start(event)
        else:
            replay.stop(event)
        if progress is not None:
            progress(event.time_s)
    end_s = events[-1].time_s if events else 0.0
    replay.end(end_s)
    return Outcome(end_s, len(events), replay.refused, ())


class _Replay:
    def __init__(self, cluster: Cluster | MixedCluster, system: System, recorder: TableSink) -> None:
        self._kinds = cluster.kinds
        self._system = system
        self._recorder = recorder
        self._books = ClusterBooks(cluster)
        gpus = [Gpu(index, UNMANAGED) for index in range(len(self._books.residents))]
        self._occupancy = Occupancy(self._books, gpus, recorder)
        self._running: dict[str, tuple[Launch, float, Size]] = {}
        self._launches = 0
        self.refused = 0

    def start(self, event: InstanceEvent) -> None:
        self._check(event)
        size = self._system.sizing.reserve(Size(1, event.request, event.limit))
        shards = self._system.placement.place(
            PlacementRequest(
                event.service,
                event.kind,
                event.gpus,
                size.request,
                size.limit,
                event.memory_bytes,
                gpu_types=event.gpu_types,
            ),
            self._books,
        )
        if shards is None:
            self.refused += 1
            return
        launch = Launch(self._launches, -1, shards, 0.0, cold=True, size=size)
        self._launches += 1
        self._books.enter(Tenancy(launch.instance, event.service, event.kind, shards, event.gpu_types))
        self._occupancy.enter(launch, size.needed, event.time_s)
        self._running[event.name] = (launch, event.time_s, size)

    def stop(self, event: InstanceEvent) -> None:
        running = self._running.pop(event.name, None)
        if running is None:
            return
        launch, start_s, size = running
        self._books.leave(launch.instance)
        self._occupancy.leave(launch, event.time_s)
        self._record(launch, start_s, size, event.time_s)

    def end(self, end_s: float) -> None:
        for launch, start_s, size in self._running.values():
            self._record(launch, start_s, size, None)
        self._occupancy.close(end_s)

    def _record(self, launch: Launch, start_s: float, size: Size, stop_s: float | None) -> None:
        self._recorder.instance(
            instance=launch.instance,
            function=launch.function,
            launch_s=start_s,
            ready_s=start_s,
            retire_s=stop_s,
            cold=launch.cold,
            batch=size.batch,
            request=size.request,
            limit=size.limit,
            gpus=[shard.gpu for shard in launch.shards],
            memory_bytes=[shard.memory_bytes for shard in launch.shards],
        )

    def _check(self, event: InstanceEvent) -> None:
        """Raise `PolicyError` if even an empty cluster could not hold the instance."""
        kinds = self._kinds
        if event.gpu_types is not None:
            kinds = tuple(kind for kind in kinds if kind.gpu.name in event.gpu_types)
            if not kinds:
                here = ", ".join(sorted({kind.gpu.name for kind in self._kinds}))
                found = "|".join(sorted(event.gpu_types))
                raise PolicyError(f"{event.name}: gpu_types: found {found}, allowed are those here: {here}")
        splits = event.kind == "llm" and self._system.placement.splits_llm
        widest = most_memory = 0
        for kind in kinds:
            capacity = kind.gpu.memory_bytes * (kind.gpus_per_node if splits else 1)
            most_memory = max(most_memory, capacity)
            if event.memory_bytes <= capacity:
                widest = max(widest, kind.gpus_per_node)
        if event.memory_bytes > most_memory:
            raise PolicyError(
                f"{event.name}: memory_gb: found {event.memory_bytes / GIB:g}, "
                f"allowed is up to {most_memory / GIB:g} here"
            )
        if event.gpus > widest:
            raise PolicyError(
                f"{event.name}: gpus: found {event.gpus}, allowed are up to the {widest} GPUs of one node"
            )
