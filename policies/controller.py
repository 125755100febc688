"""The controller: turns a system's decisions into actions, the same for every world.

It keeps the books (which instance sits where), asks the slots in a fixed order, and returns actions. A
world carries them out, reports what became of them, and decides nothing itself. The controller is pure: it
knows no clock but the times it is told.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from policies.books import ClusterBooks, Tenancy
from policies.functions import Choice, Cluster, Deployment, Function, PolicyError, Size
from policies.keeping import Keeping, Victim
from policies.slots import FunctionView, OffersChoices, PlacementRequest, Shard
from policies.systems import System

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Launch:
    """Start an instance of this size on these shards; it is ready `start_up_s` later, or at once if warm."""

    instance: int
    function: int
    shards: tuple[Shard, ...]
    start_up_s: float
    cold: bool
    size: Size


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
    """What a poll decided, and which rates (requests in a second) or time make the next one worthwhile.

    `share` and `memory` are those of `Scaling`; the world keeps them with the function.
    """

    actions: tuple[Action, ...]
    above: float
    below: float
    until_s: float
    share: float | None = None
    memory: object = None


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
        self._choices = _choices(system, deployment.functions)
        self._live: list[list[int]] = [[] for _ in deployment.functions]
        self._instances = 0
        self._keeping = Keeping(system.keep_alive, len(deployment.functions))
        self._evicted: dict[int, Tenancy] = {}
        for function in deployment.functions:
            _check_placeable(function, deployment.cluster, system)

    def watch(self, views: Sequence[FunctionView | None]) -> None:
        """Let the controller see all served functions, as it must to make room by eviction."""
        self._keeping.views = views

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
        actions: list[Action] = []
        if scaling.target > len(live):
            actions += self._launch(function, scaling.target - len(live), cold=True)
        elif scaling.target < len(live):
            actions += self._scale_in(function, len(live) - scaling.target, scaling.retire)
        if scaling.unserved_rps > 0.0:
            actions += self._launch_for(function, scaling.unserved_rps)
        until_s = scaling.until_s
        if not actions:
            keeping = self._keeping.decide(function, view, live, idle)
            actions += (self._retire(function, one) for one in keeping.expired)
            if keeping.prewarm:
                actions += self._prewarm(function, view)
            until_s = min(until_s, keeping.until_s)
        if actions:  # the band was promised for another number of instances
            return Poll(tuple(actions), -1.0, float("inf"), view.now_s, scaling.share, scaling.memory)
        return Poll((), scaling.above, scaling.below, until_s, scaling.share, scaling.memory)

    def finished(self, function: int, instance: int) -> Retire:
        """Retire a training instance that has done all its iterations."""
        return self._retire(function, instance)

    def gone(self, instance: int) -> Tenancy:
        """Free what a retired instance occupied, once the world reports that it has left."""
        evicted = self._evicted.pop(instance, None)
        return self.books.leave(instance) if evicted is None else evicted

    def _scale_in(self, function: int, count: int, first: tuple[int, ...]) -> list[Action]:
        """Retire `count` instances: those that the policy named, then the newest."""
        live = self._live[function]
        order = [one for one in dict.fromkeys(first) if one in live]
        order += [one for one in reversed(live) if one not in order]
        return [self._retire(function, one) for one in order[:count]]

    def _prewarm(self, function: int, view: FunctionView) -> tuple[Action, ...]:
        actions = self._launch(function, 1, cold=True)
        if isinstance(actions[-1], Launch):
            self._keeping.prewarmed(function, actions[-1].instance, view)
        return actions

    def _launch(self, function: int, count: int, *, cold: bool) -> tuple[Action, ...]:
        actions: list[Action] = []
        for _ in range(count):
            launched = self._place(function, (), cold=cold)
            actions += launched
            if isinstance(launched[-1], Refused):
                break
        return tuple(actions)

    def _launch_for(self, function: int, rate_rps: float) -> list[Action]:
        """Launch instances of whatever sizes the placement chooses until they serve a rate."""
        actions: list[Action] = []
        left_rps = rate_rps
        while left_rps > 0.0:
            choices = tuple(c for c in self._choices[function] if c.least_rps <= left_rps)
            if not choices:
                break
            launched = self._place(function, choices, cold=True)
            actions += launched
            launch = launched[-1]
            if not isinstance(launch, Launch):
                break
            left_rps -= self._serves_rps(function, launch.size)
        return actions

    def _serves_rps(self, function: int, size: Size) -> float:
        """What a size is profiled to serve; one that is not on offer, everything: the next poll will tell."""
        offered = self._choices[function]
        return next((c.most_rps for c in offered if _same_size(c.size, size)), float("inf"))

    def _place(self, function: int, choices: tuple[Choice, ...], *, cold: bool) -> list[Action]:
        """Launch one instance, evicting idle ones of others if there is no place and the system does that."""
        spec, size = self.functions[function], self.sizes[function]
        request = PlacementRequest(
            service=function,
            kind=spec.kind,
            gpus=spec.workers if spec.kind == "training" else 1,
            request=size.request,
            limit=size.limit,
            memory_bytes=spec.memory_bytes,
            choices=choices,
        )
        shards = self.system.placement.place(request, self.books)
        evicted: list[Victim] = []
        if shards is None:
            shards, evicted = self._make_room(function, request)
        if shards is None:
            return [Refused(function)]
        if shards[0].batch:
            size = _taken(self._choices[function], shards[0])
        instance = self._instances
        self._instances += 1
        self.books.enter(Tenancy(instance, function, spec.kind, shards))
        self._live[function].append(instance)
        start_up_s = self.system.start_up.seconds(spec) if cold else 0.0
        launch = Launch(instance, function, shards, start_up_s, cold, size)
        return [*(Retire(victim.instance) for victim in evicted), launch]

    def _make_room(
        self, function: int, request: PlacementRequest
    ) -> tuple[tuple[Shard, ...] | None, list[Victim]]:
        """Evict idle instances until there is a place, or none at all if that does not help."""
        evicted: list[Victim] = []
        for victim in self._keeping.victims(self._live, function):
            self._live[victim.function].remove(victim.instance)
            self._evicted[victim.instance] = self.books.leave(victim.instance)
            evicted.append(victim)
            shards = self.system.placement.place(request, self.books)
            if shards is not None:
                self._keeping.evicted(victim)
                return shards, evicted
        for victim in sorted(evicted, key=lambda victim: victim.instance):
            self.books.enter(self._evicted.pop(victim.instance))
            insort(self._live[victim.function], victim.instance)
        return None, []

    def _retire(self, function: int, instance: int) -> Retire:
        self._live[function].remove(instance)
        return Retire(instance)


def _taken(choices: tuple[Choice, ...], shard: Shard) -> Size:
    """Return the size of the choice that a shard names."""
    named = Size(shard.batch, shard.request, shard.limit)
    return next((choice.size for choice in choices if _same_size(choice.size, named)), named)


def _same_size(one: Size, other: Size) -> bool:
    return (one.batch, one.request, one.limit) == (other.batch, other.request, other.limit)


def _sizes(system: System, functions: tuple[Function, ...]) -> tuple[Size, ...]:
    """Size every function."""
    return _once_each(functions, lambda f: system.sizing.size(f, f.model.measurement(f.kind)))


def _choices(system: System, functions: tuple[Function, ...]) -> tuple[tuple[Choice, ...], ...]:
    """Every size that the instances of each function may have; none where sizing offers no choice."""
    sizing = system.sizing
    if not isinstance(sizing, OffersChoices):
        return ((),) * len(functions)
    return _once_each(
        functions, lambda f: () if f.kind == "training" else sizing.choices(f, f.model.measurement(f.kind))
    )


def _once_each(functions: tuple[Function, ...], measure: Callable[[Function], T]) -> tuple[T, ...]:
    """Measure every function, but those that are alike to sizing only once."""
    known: dict[tuple[str, str, float | None, int, Size | None], T] = {}
    found = []
    for function in functions:
        key = (function.model.name, function.kind, function.slo_s, function.output_tokens, function.size)
        if key not in known:
            known[key] = measure(function)
        found.append(known[key])
    return tuple(found)


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
