"""The controller's part that keeps instances: asks keep-alive, and remembers what it needs to know.

Which instances have idled long enough, whether one is to be launched ahead of the next request, and whom to
evict when a launch finds no place. The rules are those of the keep-alive policy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from policies.slots import Evicts, FunctionView, KeepAlivePolicy, Prewarms

INF = float("inf")


class Kept(NamedTuple):
    """Who goes now, whether to launch one ahead, and when to ask again."""

    expired: tuple[int, ...] = ()
    prewarm: bool = False
    until_s: float = INF


class Victim(NamedTuple):
    """An idle instance that may be evicted, and its priority."""

    worth: float
    instance: int
    function: int


class _Prewarmed(NamedTuple):
    """An instance that was launched ahead: the last request before that, and until when it may wait."""

    last_arrival_s: float
    until_s: float


class Keeping:
    """Keep-alive of all functions under one policy."""

    def __init__(self, policy: KeepAlivePolicy | None, functions: int) -> None:
        self._policy = policy
        self.views: Sequence[FunctionView | None] = ()
        self._prewarmed: dict[int, _Prewarmed] = {}
        self._silence_s: list[float | None] = [None] * functions
        """The last request before the silence in which each function has been pre-warmed."""
        self._clock = 0.0
        self._used: dict[int, tuple[float, float]] = {}
        """When each function was last used, and the eviction clock then."""

    def decide(
        self, function: int, view: FunctionView, live: Sequence[int], idle: Sequence[tuple[float, int]]
    ) -> Kept:
        """Say who of a function's idle instances goes, and whether to launch one ahead."""
        policy = self._policy
        if policy is None:
            return Kept()
        if not live:
            return self._ahead(function, view, policy)
        if len(live) <= view.min_instances:
            return Kept()
        if not idle:
            return Kept(until_s=view.now_s)
        timeout_s = policy.idle_timeout_s(view)
        expired = tuple(one for since, one in sorted(idle) if self._expired(view, since, one, timeout_s))
        return Kept(expired[: len(live) - view.min_instances], until_s=view.now_s)

    def _expired(self, view: FunctionView, since_s: float, instance: int, timeout_s: float) -> bool:
        ahead = self._prewarmed.get(instance)
        if ahead is not None:
            if view.last_arrival_s == ahead.last_arrival_s:
                return ahead.until_s <= view.now_s
            del self._prewarmed[instance]  # it has been of use, and is like any other
        return since_s + timeout_s <= view.now_s

    def _ahead(self, function: int, view: FunctionView, policy: KeepAlivePolicy) -> Kept:
        last_s = view.last_arrival_s
        if not isinstance(policy, Prewarms) or last_s == -INF or self._silence_s[function] == last_s:
            return Kept()
        window = policy.warm_window(view)
        # Polls come on whole seconds: the last one from which it can be ready in time.
        launch_s = math.floor(last_s + window.from_s - view.cold_start_s)
        if window.from_s <= 0.0 or view.now_s >= last_s + window.until_s:
            return Kept()
        if view.now_s < launch_s:
            return Kept(until_s=launch_s)
        return Kept(prewarm=True)

    def prewarmed(self, function: int, instance: int, view: FunctionView) -> None:
        """Take note of an instance that was launched ahead."""
        policy = self._policy
        assert isinstance(policy, Prewarms)
        self._silence_s[function] = view.last_arrival_s
        until_s = view.last_arrival_s + policy.warm_window(view).until_s
        self._prewarmed[instance] = _Prewarmed(view.last_arrival_s, until_s)

    def victims(self, live: Sequence[Sequence[int]], launching: int) -> list[Victim]:
        """Return the idle instances that may go for a launch of a function, the least worth keeping first.

        Its own stay: where one idles, another is no better.
        """
        policy = self._policy
        if not isinstance(policy, Evicts):
            return []
        found: list[Victim] = []
        for function, view in enumerate(self.views):
            if view is None or function == launching or len(live[function]) <= view.min_instances:
                continue
            idle = [one.instance for one in view.instances if one.idle and one.instance in live[function]]
            if idle:
                worth = policy.keep_priority(view, self._clock_of(function, view))
                spare = len(live[function]) - view.min_instances
                found += (Victim(worth, one, function) for one in idle[:spare])
        return sorted(found)

    def evicted(self, victim: Victim) -> None:
        """Let the clock rise to the priority of an instance that has been evicted."""
        self._clock = max(self._clock, victim.worth)

    def _clock_of(self, function: int, view: FunctionView) -> float:
        """The clock when the function was last used, as far as anybody has asked since."""
        last_s = view.last_arrival_s
        used = self._used.get(function)
        if used is None or used[0] != last_s:
            used = self._used[function] = (last_s, self._clock)
        return used[1]
