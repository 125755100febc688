"""Kubernetes' horizontal scaling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from policies.functions import PolicyError
from policies.slots import FunctionView, Scaling

INF = math.inf


class KubernetesState(NamedTuple):
    """What the autoscaler remembers of a function.

    Attributes
    ----------
    desired
        Instances it decided on last.
    due_s
        When it decides next; `None` at rest: at the next sync of the clock, whenever that is asked for.
    recommended
        The times and sizes of recommendations that hold back scaling in, largest first.
    """

    desired: int
    due_s: float | None = None
    recommended: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True)
class KubernetesScaling:
    """Kubernetes' Horizontal Pod Autoscaler (HPA): instances in proportion to load over target, slowly in.

    At each sync, recommended = ceil(instances * metric / target), unless the ratio is within `tolerance` of
    1. Out by at most the larger of `max_up` times the instances and `max_up_instances` a sync; in to the
    largest recommendation of the last `down_stabilization_s`. Never fewer than one instance. Instances that
    are not ready count as unused when there is too much load, and not at all when there is too little; if
    that turns the recommendation around, it is dropped.

    The metric is the mean rate of requests of an instance, a custom metric of type `Pods`; its target is
    `utilization` of what an instance is profiled to serve. An HPA on CPU use sees nothing of a GPU.

    Attributes
    ----------
    sync_s, tolerance, down_stabilization_s, max_up, max_up_instances
        15 s, 0.1, 300 s, 100 %, 4 (kubernetes.io, "Horizontal Pod Autoscaling", algorithm details and default
        behavior). The default scale-down policy, 100 % in 15 s, never binds.
    utilization
        80 %, the default target for CPU use. Recalled.
    metric_window_s
        Seconds over which the rate is averaged: 15. Assumed; a metrics pipeline decides.
    """

    sync_s: float = 15.0
    tolerance: float = 0.1
    down_stabilization_s: float = 300.0
    max_up: float = 1.0
    max_up_instances: int = 4
    utilization: float = 0.8
    metric_window_s: int = 15

    def __post_init__(self) -> None:
        allowed = (
            ("sync_s", self.sync_s > 0.0, "seconds above 0"),
            ("tolerance", 0.0 <= self.tolerance < 1.0, "fractions from 0 below 1"),
            ("down_stabilization_s", self.down_stabilization_s >= 0.0, "seconds from 0"),
            ("max_up", self.max_up >= 0.0, "multiples from 0"),
            ("max_up_instances", self.max_up_instances >= 1, "integers from 1"),
            ("utilization", 0.0 < self.utilization <= 1.0, "fractions above 0 up to 1"),
            ("metric_window_s", self.metric_window_s >= 1, "whole seconds from 1"),
        )
        for name, holds, which in allowed:
            if not holds:
                raise PolicyError(f"{name}: found {getattr(self, name)}, allowed are {which}")

    def scale(self, function: FunctionView) -> Scaling:
        """Decide at a sync of the clock, and stand by it in between."""
        now_s, sync_s = function.now_s, self.sync_s
        least = max(function.min_instances, 1)
        state = function.memory
        if not isinstance(state, KubernetesState):
            state = KubernetesState(function.live, recommended=((now_s, function.live),))
        due_s = math.ceil(now_s / sync_s) * sync_s if state.due_s is None else state.due_s
        if now_s >= due_s:
            state = self._decided(function, state, least)
            due_s = (math.floor(now_s / sync_s) + 1) * sync_s
        target = max(state.desired, least)
        rest_rps = self._rests_up_to(function, state, target, least)
        if rest_rps is not None:
            rested = KubernetesState(target)
            return Scaling(target, above=rest_rps, below=-INF, memory=rested)
        return Scaling(target, above=INF, below=-INF, until_s=due_s, memory=state._replace(due_s=due_s))

    def _decided(self, function: FunctionView, state: KubernetesState, least: int) -> KubernetesState:
        """One sync of the autoscaler."""
        live, now_s = function.live, function.now_s
        wanted = max(self._recommended(function), least)
        since_s = now_s - self.down_stabilization_s
        larger = tuple(
            (at_s, count) for at_s, count in state.recommended if at_s > since_s and count > wanted
        )
        recommended = (*larger, (now_s, wanted))
        if wanted > live:
            most = max(live + math.floor(live * self.max_up), live + self.max_up_instances)
            return KubernetesState(min(wanted, most), None, recommended)
        return KubernetesState(min(live, recommended[0][1]), None, recommended)

    def _recommended(self, function: FunctionView) -> int:
        """Instances in proportion to the load, as many as there are where that says nothing sure."""
        live = function.live
        ready = sum(one.ready for one in function.instances)
        counts = function.history(self.metric_window_s)
        if ready == 0 or len(counts) == 0:
            return live
        needed = float(np.mean(counts)) / (self.utilization * function.throughput_rps)
        ratio = needed / ready
        if ratio > 1.0:
            ratio = max(needed / live, 1.0)
        return live if abs(ratio - 1.0) <= self.tolerance else math.ceil(needed)

    def _rests_up_to(
        self, function: FunctionView, state: KubernetesState, target: int, least: int
    ) -> float | None:
        """Return up to which rate no sync will decide otherwise; `None` if one may without further arrivals.

        A function is at rest when it has its minimum of instances, no larger recommendation lingers, and no
        second of the window had more requests than the minimum is to serve.
        """
        if not target == function.live == least or any(count > least for _, count in state.recommended):
            return None
        rest_rps = math.nextafter(least * self.utilization * function.throughput_rps, 0.0)
        counts = function.history(self.metric_window_s)
        return rest_rps if len(counts) == 0 or int(counts.max()) <= rest_rps else None
