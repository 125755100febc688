"""The controller: turns a system's decisions into actions, the same for every world.

It keeps the books (which instance sits where), asks the slots in a fixed order, and returns actions. A
world carries them out, reports what became of them, and decides nothing itself. The controller is pure: it
knows no clock but the times it is told.
"""

from __future__ import annotations

from dataclasses import dataclass

from policies.books import ClusterBooks, Tenancy
from policies.functions import Cluster, Deployment, Function, PolicyError, Size
from policies.slots import FunctionView, PlacementRequest, Shard
from policies.systems import System


@dataclass(frozen=True, slots=True)
class Launch:
    """Start an instance on these shards; it is ready `start_up_s` later. Not `cold`: it is warm at once."""

    instance: int
    function: int
    shards: tuple[Shard, ...]
    start_up_s: float
    cold: bool


@dataclass(frozen=True, slots=True)
class Retire:
    """Take no new batch on this instance, and report it gone when its present one is done."""

    instance: int


@dataclass(frozen=True, slots=True)
class Refused:
    """No GPU could take an instance of this function."""

    function: int


Action = Launch | Retire | Refused


@dataclass(frozen=True, slots=True)
class Poll:
    """What a poll decided, and which rates (requests in a second) or time make the next one worthwhile."""

    actions: tuple[Action, ...]
    above: float
    below: float
    until_s: float


class Controller:
    """Books and decisions of one system on one deployment.

    Raises
    ------
    PolicyError
        At construction, if a function can never be placed, or a `ValueError` of sizing if it can meet no SLO.
    """

    def __init__(self, system: System, deployment: Deployment) -> None:
        self.system = system
        self.functions = deployment.functions
        self.books = ClusterBooks(deployment.cluster)
        self.sizes = _sizes(system, deployment.functions)
        self._live: list[list[int]] = [[] for _ in deployment.functions]
        self._instances = 0
        for function in deployment.functions:
            _check_placeable(function, deployment.cluster, system)

    def live(self, function: int) -> int:
        """Instances of a function that are ready or being launched."""
        return len(self._live[function])

    def deploy(self, function: int, *, warm: bool) -> tuple[Action, ...]:
        """Launch a function's minimum of instances; one for training."""
        count = 1 if self.functions[function].kind == "training" else self.functions[function].min_instances
        return self._launch(function, count, cold=not warm)

    def activate(self, function: int) -> tuple[Action, ...]:
        """Launch the first instance of a function that has none, because a request came."""
        return self._launch(function, 1, cold=True)

    def poll(self, function: int, view: FunctionView, idle: list[tuple[float, int]]) -> Poll:
        """Ask horizontal scaling, then keep-alive.

        `idle` holds (idle since, instance) of the ready instances that serve nothing now.
        """
        live = self._live[function]
        scaling = self.system.horizontal.scale(view)
        actions: tuple[Action, ...] = ()
        if scaling.target > len(live):
            actions = self._launch(function, scaling.target - len(live), cold=True)
        elif scaling.target < len(live):
            actions = tuple(self._retire(function, live[-1]) for _ in range(len(live) - scaling.target))
        elif self.system.keep_alive is not None and idle and len(live) > view.min_instances:
            timeout_s = self.system.keep_alive.idle_timeout_s(view)
            expired = [one for since_s, one in sorted(idle) if since_s + timeout_s <= view.now_s]
            actions = tuple(self._retire(function, one) for one in expired[: len(live) - view.min_instances])
        if actions:  # the band was promised for another number of instances
            return Poll(actions, above=-1.0, below=float("inf"), until_s=view.now_s)
        keep_alive_asks = self.system.keep_alive is not None and len(live) > view.min_instances
        until_s = min(scaling.until_s, view.now_s) if keep_alive_asks else scaling.until_s
        return Poll(actions, scaling.above, scaling.below, until_s)

    def finished(self, function: int, instance: int) -> Retire:
        """Retire a training instance that has done all its iterations."""
        return self._retire(function, instance)

    def gone(self, instance: int) -> Tenancy:
        """Free what a retired instance occupied, once the world reports that it has left."""
        return self.books.leave(instance)

    def _launch(self, function: int, count: int, *, cold: bool) -> tuple[Action, ...]:
        actions: list[Action] = []
        spec, size = self.functions[function], self.sizes[function]
        request = PlacementRequest(
            service=function,
            kind=spec.kind,
            gpus=spec.workers if spec.kind == "training" else 1,
            request=size.request,
            limit=size.limit,
            memory_bytes=spec.memory_bytes,
        )
        for _ in range(count):
            shards = self.system.placement.place(request, self.books)
            if shards is None:
                actions.append(Refused(function))
                break
            instance = self._instances
            self._instances += 1
            self.books.enter(Tenancy(instance, function, spec.kind, shards))
            self._live[function].append(instance)
            start_up_s = self.system.start_up.seconds(spec) if cold else 0.0
            actions.append(Launch(instance, function, shards, start_up_s, cold))
        return tuple(actions)

    def _retire(self, function: int, instance: int) -> Retire:
        self._live[function].remove(instance)
        return Retire(instance)


def _sizes(system: System, functions: tuple[Function, ...]) -> tuple[Size, ...]:
    """Size every function, measuring each distinct one once."""
    known: dict[tuple[str, str, float | None, int, Size | None], Size] = {}
    sizes = []
    for function in functions:
        key = (function.model.name, function.kind, function.slo_s, function.output_tokens, function.size)
        if key not in known:
            known[key] = system.sizing.size(function, function.model.measurement(function.kind))
        sizes.append(known[key])
    return tuple(sizes)


def _check_placeable(function: Function, cluster: Cluster, system: System) -> None:
    """Raise `PolicyError` if even an empty cluster could not hold one instance."""
    gib = 2**30
    capacity = cluster.gpu.memory_bytes
    split = function.kind == "llm" and system.placement.splits_llm
    if split:
        capacity *= cluster.gpus_per_node
    if function.memory_bytes > capacity:
        where = f"a node of {cluster.gpus_per_node}" if split else "any GPU here"
        raise PolicyError(
            f"{function.name}: memory: found {function.memory_bytes / gib:.1f} GiB, "
            f"{where} has {capacity / gib:.1f} GiB"
        )
    if function.workers > cluster.gpus_per_node:
        raise PolicyError(
            f"{function.name}: workers: found {function.workers}, "
            f"allowed are up to the {cluster.gpus_per_node} GPUs of one node"
        )
