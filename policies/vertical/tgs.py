"""TGS's adaptive rate control: an opportunistic job launches as fast as production does not notice."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from policies.cycles import CycleBaseline
from policies.functions import PolicyError
from policies.slots import ALWAYS_CALM, NEVER_CALM, GpuView, Grant, ResidentView
from profiles.sharing import LAUNCH_TOKENS, Sharing

SLOW_START: Literal["slow start"] = "slow start"
AVOIDANCE: Literal["congestion avoidance"] = "congestion avoidance"

BUCKET_S = 0.05
"""A launch limit holds for so long."""
SAMPLES = 5
"""Samples in the window of production's rates, and the fewest from which its maximum is learnt."""
STABLE, KEPT, LOST = 0.05, 0.1, 0.2
"""Relative distance of the window from M: learnt up to the first, followed upwards up to the second, learnt
anew beyond the third."""
CORRECTION = 0.025
"""A new M stays this far on the near side of the window."""
WARM_UP = 15
"""Samples under control from which silence counts."""
FAR_SAMPLES, FAR_FACTOR = 20, 0.8
"""After so many far samples in a row, M is given up by this factor."""
SILENT_RATE = 1e-6
"""Cycles that a sample without any counts as, to keep ratios finite (one block of about 10^6 in the code)."""


class RateControl(NamedTuple):
    """What the controller knows.

    Attributes
    ----------
    window
        Production's latest rates, newest first.
    max_rate
        M, its rate when nobody hinders it; 0 before any is known.
    learning, learnt
        Whether M is being learnt, and from how many samples so far.
    controlled
        Samples under control, as far as they are counted.
    mode, limit
        The state of the limit, and the limit, in blocks a bucket.
    far
        Far samples in a row.
    """

    window: tuple[float, ...] = ()
    max_rate: float = 0.0
    learning: bool = True
    learnt: int = 0
    controlled: int = 0
    mode: Literal["slow start", "congestion avoidance"] = SLOW_START
    limit: float = 0.0
    far: int = 0


class TgsMemory(NamedTuple):
    """Who is production, its completed cycles at the latest sample, and the controller."""

    production: int
    cycles: int
    control: RateControl


@dataclass(frozen=True, slots=True)
class TgsRates:
    """TGS's rate control (NSDI 2023): what production's rate does not notice, opportunistic jobs may launch.

    Every 5 s, production reports how much it launched. From that, its maximum M is learnt, and
    delta = |rate - M| / M drives the limit of the opportunistic side, in thread blocks per 50 ms:

    ====================  ==============  ===============================================================
    state                 delta           limit
    ====================  ==============  ===============================================================
    learning M            any             stays; 0 the first time
    slow start            <= 0.03         x 1.5 + 1
    slow start            above           / 1.5, then congestion avoidance
    congestion avoidance  <= 0.03         + max(0.00025 M, 1000)
    congestion avoidance  above           - max(8 %, 1000)
    congestion avoidance  >= 0.09         / 10 as well, then slow start
    either                >= 0.12, 20 x   / 2 as well, M x 0.8, then slow start
    either                3 of 5 silent   unthrottled, then slow start; 2 of 5 silent: the first limit
    ====================  ==============  ===============================================================

    M is compared with the largest mean of two neighbours among the 5 rates before the present one: learnt
    from at least 5 samples until both are within 5 %; raised to it if within 10 %; learnt anew beyond 20 %,
    for which it first moves to 2.5 % short of it. Silence counts from the 15th sample under control; after it
    M is learnt anew, under whatever interference there is. This is pkusys/TGS @e1c6a31,
    `hijack/src/low_priority_hijack_call.c`.

    Production is the oldest SLO-sensitive resident, or the oldest where none is; it always has its limit. All
    others share the limit by request: a quota is the resident's own limit times its part of the launch limit
    over `full_rate`.

    Modelled: the controller, sample by sample. Not modelled: blocks (a sample's rate is the kernel launch
    cycles, here batches, that production completed in it; a production job that trains completes none that
    are visible and counts as steady); the unified memory through which TGS swaps opportunistic jobs out.
    Different from the code: limits are no integers; M is learnt from the first samples, while the code starts
    from one that production measured before; a rate that repeats exactly ends the learning, which in the
    code never ends it; one `cap` for both states, where slow start goes on to 2^40.

    Attributes
    ----------
    tick_s, first_limit, tolerance, growth, increase, decrease, least_step
        5 s, 20000 blocks, 0.03, 1.5, 0.00025, 0.08, 1000 blocks, all as in the code.
    collapse, far
        The deltas 0.09 and 0.12 of the code.
    cap
        2^32 blocks a bucket, the code's notion of unthrottled. It is far above what anybody launches, so
        that several samples pass before a falling limit is felt.
    full_rate
        Blocks that a resident launches in 50 ms on its limit: 10^6, assumed. The increase takes M for 100
        such buckets, as if production filled the GPU.
    trickle
        Blocks that pass whatever the limit is: the code lets the kernel through that exceeds it, one each
        bucket, whose size of 1000 blocks is assumed.
    window_s
        Not a rule of TGS and of no effect here; one sample.
    """

    tick_s: float | None = 5.0
    first_limit: float = 20_000.0
    tolerance: float = 0.03
    collapse: float = 0.09
    far: float = 0.12
    growth: float = 1.5
    increase: float = 0.00025
    decrease: float = 0.08
    least_step: float = 1000.0
    cap: float = 2.0**32
    full_rate: float = 1e6
    trickle: float = 1000.0
    window_s: float = 5.0
    cycle_baseline: CycleBaseline = "uncontended"
    sharing: Sharing = LAUNCH_TOKENS

    def __post_init__(self) -> None:
        for name in ("tick_s", "full_rate", "trickle", "cap"):
            if not (value := getattr(self, name)) or value < 0.0:
                raise PolicyError(f"{name}: found {value}, allowed is above 0")
        if not self.growth > 1.0:
            raise PolicyError(f"growth: found {self.growth}, allowed is above 1")
        if not 0.0 <= self.decrease < 1.0:
            raise PolicyError(f"decrease: found {self.decrease}, allowed is from 0 to below 1")

    def first_quota(self, resident: ResidentView) -> float:
        """Return the limit of a server, which may be production; training waits for the first sample."""
        return resident.limit * (1.0 if resident.slo_sensitive else self._part(0.0))

    def decide(self, gpu: GpuView) -> Grant:
        """Take a sample of production's rate and move the limit of the others."""
        residents = gpu.residents
        if len(residents) == 1:
            return Grant((residents[0].limit,), None, (ALWAYS_CALM,), settled=True)
        production = next((r for r in residents if r.slo_sensitive), residents[0])
        memory = gpu.memory
        if isinstance(memory, TgsMemory) and memory.production == production.instance:
            rate = production.cycles - memory.cycles if production.slo_sensitive else 1
            control = self.step(memory.control, float(rate))
        else:
            control = RateControl()
        requested = sum(r.request for r in residents if r is not production)
        quotas = tuple(
            r.limit if r is production else r.limit * self._part(control.limit * r.request / requested)
            for r in residents
        )
        calm = tuple(NEVER_CALM if r is production else ALWAYS_CALM for r in residents)
        return Grant(quotas, TgsMemory(production.instance, production.cycles, control), calm)

    def step(self, control: RateControl, rate: float) -> RateControl:
        """Return what the controller knows after one more sample of production's rate."""
        peak = max((sum(pair) / 2.0 for pair in pairwise(control.window)), default=0.0)
        rate = max(rate, SILENT_RATE)
        control = control._replace(window=(rate, *control.window[: SAMPLES - 1]))
        if control.learning:
            return _learn(control, peak)
        distance = _distance(peak, control.max_rate)
        if distance > LOST:
            return control._replace(max_rate=_corrected(control.max_rate, peak), learning=True, learnt=0)
        if distance <= KEPT:
            control = control._replace(max_rate=max(control.max_rate, peak))
        controlled = min(control.controlled + 1, WARM_UP + 1)
        control = control._replace(controlled=controlled)
        silent = sum(sample < 1.0 for sample in control.window)
        if controlled == 1 or (controlled > WARM_UP and silent == 2):
            return control._replace(limit=self.first_limit, mode=SLOW_START)
        if controlled >= WARM_UP and silent > 2:
            return control._replace(limit=self.cap, mode=SLOW_START)
        return self._moved(control, _distance(rate, control.max_rate))

    def _moved(self, control: RateControl, delta: float) -> RateControl:
        """Move the limit by the state and by how far production is from its maximum."""
        limit, mode, max_rate = control.limit, control.mode, control.max_rate
        if mode == SLOW_START:
            if delta <= self.tolerance:
                limit = limit * self.growth + 1.0
            else:
                limit, mode = limit / self.growth, AVOIDANCE
        else:
            if delta <= self.tolerance:
                buckets = (self.tick_s or 0.0) / BUCKET_S
                limit += max(self.increase * self.full_rate * buckets, self.least_step)
            else:
                limit -= max(self.decrease * limit, self.least_step)
            if delta >= self.collapse:
                limit, mode = limit / 10.0, SLOW_START
        far = control.far + 1 if delta >= self.far else 0
        if far == FAR_SAMPLES:
            limit, mode, max_rate, far = limit / 2.0, SLOW_START, max_rate * FAR_FACTOR, 0
        limit = min(max(limit, 0.0), self.cap)
        return control._replace(limit=limit, mode=mode, max_rate=max_rate, far=far)

    def _part(self, limit: float) -> float:
        """Which part of its full rate may be launched by whoever has this launch limit."""
        return min(1.0, max(limit, self.trickle) / self.full_rate)


def _learn(control: RateControl, peak: float) -> RateControl:
    """Follow the window's peak until M is near it; the window needs two samples to have one."""
    learnt = control.learnt + 1
    if not peak:
        return control._replace(learnt=learnt)
    max_rate = control.max_rate or peak
    stable = _distance(peak, max_rate) <= STABLE
    max_rate = max(max_rate, peak) if stable else _corrected(max_rate, peak)
    return control._replace(max_rate=max_rate, learnt=learnt, learning=learnt < SAMPLES or not stable)


def _corrected(max_rate: float, peak: float) -> float:
    if peak > max_rate:
        return max(max_rate, peak * (1.0 - CORRECTION))
    return min(max_rate, peak * (1.0 + CORRECTION))


def _distance(rate: float, max_rate: float) -> float:
    return abs(rate - max_rate) / max_rate
