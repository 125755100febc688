"""HAS-GPU's scaling: first the share of the instances, then their number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from policies.functions import PolicyError
from policies.slots import FunctionView, InstanceView, Scaling

INF = math.inf

SETTLED = 0.01
"""An estimate (requests per second) and a variance so close to their fixed points have reached them."""

DIGITS = 9
"""Decimals of quotas, and of numbers of steps and instances before they are rounded to whole ones."""


class Estimate(NamedTuple):
    """A Kalman filter's estimate of the rate, and its variance."""

    rps: float
    variance: float


class HasGpuState(NamedTuple):
    """What the autoscaler remembers of a function.

    Attributes
    ----------
    quota
        The wanted share of time of every instance's partition.
    target
        Instances it decided on last.
    due_s
        When it decides next; `None` at rest: at the next tick of the clock, whenever that is asked for.
    lowered_s
        When it last scaled down.
    """

    estimate: Estimate
    quota: float
    target: int
    due_s: float | None = None
    lowered_s: float = -INF


@dataclass(frozen=True, slots=True)
class HasGpuScaling:
    """HAS-GPU's hybrid auto-scaling (Euro-Par 2025): quotas of instances first, then their number.

    At each tick a Kalman filter predicts the rate from the mean of the last `window_s`. A quota is the share
    of time of an instance's partition, which is its limit; its throughput is linear in the quota, and
    profiled at its limit. Capacity counts the quotas that instances have, which a full row keeps below what
    is wanted.

    * Up, if the prediction exceeds `up` of the capacity, by what exceeds it: quotas rise step by step, up to
      1, until that is covered; then instances are added. Where rows are full, they are added at once.
    * Down, if it is below `down` of the capacity and the last time is `cool_down_s` ago, to what leaves it at
      `up`: quotas fall step by step, as long as a full batch meets its part of the SLO; then instances go.
      The last one stays.

    Here all instances of a function have the same quota, and it falls by whole steps that fit; there each has
    its own, and the last step may overshoot. The room on their GPUs is for the vertical policy to see.

    Attributes
    ----------
    tick_s, window_s, up, down, step, cool_down_s
        2 s, 10 s, 0.9, 0.3, 0.1, 10 s (KontonGu/HAS-GPU @b06e31b `internal/controller/has_autoscaling.go`,
        `persistentReconcile.go`). The step is also the least quota.
    slo_fraction
        Part of the SLO for execution, which bounds how far quotas may fall: one half, assumed. In HAS-GPU the
        predictor RaPP says which quotas meet the SLO.
    process_variance, measurement_variance, first_variance, spread, buffer_rps
        Q = 1, R = 10, P0 = 1; the estimate is raised by 1 standard deviation and to 5 requests per second
        above the measurement, and so remembered (`request_predictor_kalman.go` and its caller there). Here
        each function has a filter of its own; there all share one.
    """

    tick_s: float = 2.0
    window_s: int = 10
    up: float = 0.9
    down: float = 0.3
    step: float = 0.1
    cool_down_s: float = 10.0
    process_variance: float = 1.0
    measurement_variance: float = 10.0
    first_variance: float = 1.0
    spread: float = 1.0
    buffer_rps: float = 5.0
    slo_fraction: float = 0.5

    def __post_init__(self) -> None:
        allowed = (
            ("tick_s", self.tick_s > 0.0, "seconds above 0"),
            ("window_s", self.window_s >= 1, "whole seconds from 1"),
            ("up", 0.0 < self.up <= 1.0, "fractions above 0 up to 1"),
            ("down", 0.0 <= self.down < self.up, f"fractions from 0 below `up`, {self.up}"),
            ("step", 0.0 < self.step <= 1.0, "fractions above 0 up to 1"),
            ("cool_down_s", self.cool_down_s >= 0.0, "seconds from 0"),
            ("process_variance", self.process_variance > 0.0, "numbers above 0"),
            ("measurement_variance", self.measurement_variance > 0.0, "numbers above 0"),
            ("first_variance", self.first_variance >= 0.0, "numbers from 0"),
            ("spread", self.spread >= 0.0, "numbers from 0"),
            ("buffer_rps", self.buffer_rps >= 0.0, "requests per second from 0"),
            ("slo_fraction", 0.0 < self.slo_fraction <= 1.0, "fractions above 0 up to 1"),
        )
        for name, holds, which in allowed:
            if not holds:
                raise PolicyError(f"{name}: found {getattr(self, name)}, allowed are {which}")

    def scale(self, function: FunctionView) -> Scaling:
        """Decide at a tick of the clock, and stand by it in between."""
        now_s, tick_s = function.now_s, self.tick_s
        least = max(function.min_instances, 1)
        instances = function.instances
        if not instances:
            return Scaling(least, until_s=now_s, memory=function.memory)
        state = function.memory
        if not isinstance(state, HasGpuState):
            first = round(instances[0].quota / instances[0].limit, DIGITS)
            quota = min(max(first, self._least_quota(function)), 1.0)
            state = HasGpuState(Estimate(0.0, self.first_variance), quota, len(instances))
        may_rest = state.due_s is None
        due_s = math.ceil(now_s / tick_s) * tick_s if state.due_s is None else state.due_s
        if now_s >= due_s:
            state, may_rest = self._decided(function, state, least), True
            due_s = (math.floor(now_s / tick_s) + 1) * tick_s
        target = max(state.target, least)
        share = state.quota * max(one.limit for one in instances)
        may_rest = may_rest and target == len(instances) and not function.history(self.window_s).any()
        if may_rest and self._is_at_rest(function, state, least):
            rested = state._replace(estimate=self._silent_estimate(), due_s=None)
            return Scaling(target, above=0.0, below=-INF, share=share, memory=rested)
        standing = state._replace(due_s=due_s)
        return Scaling(target, above=INF, below=-INF, until_s=due_s, share=share, memory=standing)

    def _decided(self, function: FunctionView, state: HasGpuState, least: int) -> HasGpuState:
        """One tick of the autoscaler."""
        instances, now_s = function.instances, function.now_s
        counts = function.history(self.window_s)
        estimate = self._predicted(state.estimate, float(np.mean(counts)) if len(counts) else 0.0)
        quota, target = state.quota, len(instances)
        if any(one.ready for one in instances):
            quota, target = self._wanted(function, quota, estimate.rps, least)
        lowers = quota < state.quota or target < len(instances)
        if lowers and now_s - state.lowered_s < self.cool_down_s:
            return HasGpuState(estimate, state.quota, len(instances), None, state.lowered_s)
        return HasGpuState(estimate, quota, target, None, now_s if lowers else state.lowered_s)

    def _predicted(self, last: Estimate, measured_rps: float) -> Estimate:
        """One step of the filter of a constant rate seen through noise, then kept on the safe side."""
        variance = last.variance + self.process_variance
        gain = variance / (variance + self.measurement_variance)
        variance *= 1.0 - gain
        rps = last.rps + gain * (measured_rps - last.rps) + self.spread * math.sqrt(variance)
        return Estimate(max(rps, measured_rps + self.buffer_rps), variance)

    def _silent_estimate(self) -> Estimate:
        """Where the filter comes to rest when nothing arrives: the fixed point of `_predicted`."""
        process, noise = self.process_variance, self.measurement_variance
        prior = (process + math.sqrt(process * process + 4.0 * process * noise)) / 2.0
        gain = prior / (prior + noise)
        variance = prior * (1.0 - gain)
        return Estimate(max(self.spread * math.sqrt(variance) / gain, self.buffer_rps), variance)

    def _least_quota(self, function: FunctionView) -> float:
        """The lowest step of the quota at which a full batch takes no more than its part of the SLO."""
        slowest_s = max(one.fastest_s for one in function.instances)
        needed = slowest_s / (self.slo_fraction * function.slo_s)
        return min(round(max(math.ceil(round(needed / self.step, DIGITS)), 1) * self.step, DIGITS), 1.0)

    def _is_at_rest(self, function: FunctionView, state: HasGpuState, least: int) -> bool:
        """Whether the filter has settled on silence, and no tick will decide otherwise before it ends."""
        instances = function.instances
        silence = self._silent_estimate()
        if any(abs(value - end) > SETTLED for value, end in zip(state.estimate, silence, strict=True)):
            return False
        # Neighbours in its rows may come and go meanwhile: it must hold for any quota that they leave, which
        # is what is wanted, at least a step, or in a full row the request.
        full_rps = _full_rps(instances)
        left = min(self.step, *(one.request / one.limit for one in instances))
        enough = silence.rps <= self.up * full_rps * left
        lowest = state.quota <= self._least_quota(function) and len(instances) <= least
        stays = lowest or silence.rps >= self.down * full_rps * state.quota
        return enough and stays and all(one.ready for one in instances)

    def _wanted(
        self, function: FunctionView, quota: float, predicted_rps: float, least: int
    ) -> tuple[float, int]:
        """Return the quota and the number of instances for a rate, whenever the last change was."""
        instances, lowest = function.instances, self._least_quota(function)
        full_rps = _full_rps(instances)
        granted = _granted(instances, quota)
        capacity_rps = full_rps * granted
        if predicted_rps > self.up * capacity_rps:
            missing_rps = predicted_rps - self.up * capacity_rps
            if granted < quota - 0.5 * self.step:  # the rows are full
                each_rps = capacity_rps / len(instances)
                return quota, len(instances) + math.ceil(round(missing_rps / each_rps, DIGITS))
            return self._raised(instances, quota, full_rps, missing_rps)
        if predicted_rps < self.down * capacity_rps:
            spare_rps = self.up * capacity_rps - predicted_rps
            return self._lowered(instances, quota, full_rps, spare_rps, least, lowest)
        return max(quota, lowest), len(instances)

    def _raised(
        self, instances: Sequence[InstanceView], quota: float, full_rps: float, missing_rps: float
    ) -> tuple[float, int]:
        steps = math.ceil(round(missing_rps / (full_rps * self.step), DIGITS))
        raised = min(round(quota + steps * self.step, DIGITS), 1.0)
        each_rps = full_rps * raised / len(instances)
        still_rps = missing_rps - full_rps * (raised - quota)
        return raised, len(instances) + max(math.ceil(round(still_rps / each_rps, DIGITS)), 0)

    def _lowered(
        self,
        instances: Sequence[InstanceView],
        quota: float,
        full_rps: float,
        spare_rps: float,
        least: int,
        lowest: float,
    ) -> tuple[float, int]:
        steps = math.floor(round(spare_rps / (full_rps * self.step), DIGITS))
        lowered = max(round(quota - steps * self.step, DIGITS), lowest)
        if lowered > lowest:
            return lowered, len(instances)
        each_rps = full_rps * lowered / len(instances)
        still_rps = spare_rps - full_rps * (quota - lowered)
        spare = max(math.floor(round(still_rps / each_rps, DIGITS)), 0)
        return lowered, max(len(instances) - spare, min(least, len(instances)))


def _full_rps(instances: Sequence[InstanceView]) -> float:
    """Throughput of all instances if each had all the time of its partition."""
    return sum(one.batch / one.fastest_s for one in instances)


def _granted(instances: Sequence[InstanceView], quota: float) -> float:
    """Mean share of time that instances have, by throughput; one that starts up is to have what is wanted."""
    granted_rps = sum(
        one.batch / one.fastest_s * (one.quota / one.limit if one.ready else quota) for one in instances
    )
    return granted_rps / _full_rps(instances)
