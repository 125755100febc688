"""Knative's horizontal scaling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from policies.functions import PolicyError
from policies.slots import FunctionView, Scaling

INF = math.inf


class KnativeState(NamedTuple):
    """What the autoscaler remembers of a function.

    Attributes
    ----------
    since_s
        Start of its first full second.
    due_s
        When it decides next; `None` at rest: at the next tick of the clock, whenever that is asked for.
    desired
        Instances it decided on last.
    panic_s, panic_most
        When the panic threshold was last reached (minus infinity when calm), and the most desired since.
    empty_s
        Since when no instance is needed; infinity while one is.
    delayed
        The times and sizes of recent decisions that hold back scaling in, largest first.
    """

    since_s: float
    desired: int
    due_s: float | None = None
    panic_s: float = -INF
    panic_most: int = 0
    empty_s: float = INF
    delayed: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True)
class KnativeScaling:
    """Knative's pod autoscaler (KPA): a long average decides, a short one takes over in a panic.

    At each tick, wanted = ceil(average rate / target) for the stable and for the panic window, each kept
    within [floor(ready / `max_down_rate`), ceil(`max_up_rate` * ready)], where at least one instance counts
    as ready. A panic begins when the panic window wants `panic_threshold` times the ready instances. While it
    lasts, the larger of both is taken and never less than before; it ends when the threshold was not reached
    for longer than a stable window. Functions without a minimum go to zero, `to_zero_grace_s` after a stable
    window without a request; the first request brings back one instance at once.

    The metric is Knative's `rps`. Its default target of 200 rps means nothing for a model, so the target is
    `utilization` of what an instance is profiled to serve. Arrivals are counted, those that wait included.

    Attributes
    ----------
    tick_s, stable_window_s, panic_window, panic_threshold, max_up_rate, max_down_rate
        2 s, 60 s, 10 % of the stable window, 200 %, 1000, 2 (knative/serving `config/core/configmaps/
        autoscaler.yaml`; rules of `pkg/autoscaler/scaling/autoscaler.go`).
    to_zero_grace_s, scale_down_delay_s, initial_scale
        30 s, 0 s, 1 (same file; rules of `pkg/reconciler/autoscaling/kpa/scaler.go`).
    utilization
        70 % (same file; there for the concurrency metric, here for requests per second).
    """

    tick_s: float = 2.0
    stable_window_s: int = 60
    panic_window: float = 0.1
    panic_threshold: float = 2.0
    max_up_rate: float = 1000.0
    max_down_rate: float = 2.0
    utilization: float = 0.7
    to_zero_grace_s: float = 30.0
    scale_down_delay_s: float = 0.0
    initial_scale: int = 1

    def __post_init__(self) -> None:
        allowed = (
            ("tick_s", self.tick_s > 0.0, "seconds above 0"),
            ("stable_window_s", self.stable_window_s >= 1, "whole seconds from 1"),
            ("panic_window", 0.0 < self.panic_window <= 1.0, "fractions above 0 up to 1"),
            ("panic_threshold", self.panic_threshold > 1.0, "multiples above 1"),
            ("max_up_rate", self.max_up_rate > 1.0, "multiples above 1"),
            ("max_down_rate", self.max_down_rate > 1.0, "multiples above 1"),
            ("utilization", 0.0 < self.utilization <= 1.0, "fractions above 0 up to 1"),
            ("to_zero_grace_s", self.to_zero_grace_s >= 0.0, "seconds from 0"),
            ("scale_down_delay_s", self.scale_down_delay_s >= 0.0, "seconds from 0"),
            ("initial_scale", self.initial_scale >= 0, "integers from 0"),
        )
        for name, holds, which in allowed:
            if not holds:
                raise PolicyError(f"{name}: found {getattr(self, name)}, allowed are {which}")

    def scale(self, function: FunctionView) -> Scaling:
        """Decide at a tick of the clock, and stand by it in between."""
        now_s, tick_s = function.now_s, self.tick_s
        state = function.memory
        if not isinstance(state, KnativeState):
            state = KnativeState(now_s - 1.0, max(self.initial_scale, function.live))
        due_s = math.ceil(now_s / tick_s) * tick_s if state.due_s is None else state.due_s
        if now_s >= due_s:
            state = self._decided(function, state)
            due_s = (math.floor(now_s / tick_s) + 1) * tick_s
            needed = function.waiting > 0
        else:  # the world launches a first instance without being asked to
            needed = function.waiting > 0 or function.live > 0
        if needed and state.desired == 0:
            state = state._replace(desired=1)
        target = max(state.desired, function.min_instances)
        rest_rps = self._rests_up_to(function, state, target)
        if rest_rps is not None:
            return Scaling(target, above=rest_rps, below=-INF, memory=state._replace(due_s=None))
        above = INF if target else 0.0
        return Scaling(target, above=above, below=-INF, until_s=due_s, memory=state._replace(due_s=due_s))

    def _decided(self, function: FunctionView, state: KnativeState) -> KnativeState:
        """One tick of the autoscaler."""
        now_s = function.now_s
        counts = function.history(min(self.stable_window_s, max(1, round(now_s - state.since_s))))
        panic_window_s = max(1, round(self.panic_window * self.stable_window_s))
        target_rps = self.utilization * function.throughput_rps
        want_stable, want_panic = (
            math.ceil(float(np.mean(window)) / target_rps) if len(window) else 0
            for window in (counts, counts[-panic_window_s:])
        )
        ready = max(1, sum(one.ready for one in function.instances))
        fewest, most = math.floor(ready / self.max_down_rate), math.ceil(self.max_up_rate * ready)
        panic_s, panic_most = state.panic_s, state.panic_most
        if want_panic >= self.panic_threshold * ready:
            panic_s = now_s
        elif now_s - panic_s > self.stable_window_s:
            panic_s, panic_most = -INF, 0
        desired = min(max(want_stable, fewest), most)
        if panic_s > -INF:
            panic_most = desired = max(desired, min(max(want_panic, fewest), most), panic_most)
        delayed = self._delayed(state, now_s, desired)
        desired = delayed[0][1] if delayed else desired
        empty_s = INF
        if desired == 0:
            empty_s = min(state.empty_s, max(now_s, state.since_s + self.stable_window_s))
            if function.live and now_s < empty_s + self.to_zero_grace_s:
                desired = 1
        return KnativeState(state.since_s, desired, None, panic_s, panic_most, empty_s, delayed)

    def _delayed(self, state: KnativeState, now_s: float, desired: int) -> tuple[tuple[float, int], ...]:
        """Decisions of the delay window up to now, without those that a later one matches or exceeds."""
        if self.scale_down_delay_s == 0.0:
            return ()
        since_s = now_s - self.scale_down_delay_s
        larger = tuple((at_s, count) for at_s, count in state.delayed if at_s > since_s and count > desired)
        return (*larger, (now_s, desired))

    def _rests_up_to(self, function: FunctionView, state: KnativeState, target: int) -> float | None:
        """Return up to which rate no tick will decide otherwise; `None` if one may without further arrivals.

        A function is at rest when it has its minimum of instances, all ready, no panic or delayed decision
        lingers, and no second of the window had more requests than the minimum is to serve.
        """
        least = function.min_instances
        if not target == function.live == least or not all(one.ready for one in function.instances):
            return None
        if state.panic_s > -INF or any(count > least for _, count in state.delayed):
            return None
        rest_rps = math.nextafter(least * self.utilization * function.throughput_rps, 0.0)
        counts = function.history(self.stable_window_s)
        return rest_rps if len(counts) == 0 or int(counts.max()) <= rest_rps else None
