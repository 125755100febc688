"""Dilu's vertical scaling: the real-time CUDA kernel manager (paper section 3.4, Algorithm 2).

Every 5 ms, each GPU on which an SLO-sensitive instance shares with others is in one of four states, and its
residents get tokens, here as shares of the GPU.

==========  ==============================  ==========================  ===========================
state       when                            SLO-sensitive gets          best-effort (training) gets
==========  ==============================  ==========================  ===========================
NONE        nothing SLO-sensitive here      limit                       limit
EMERGENCY   pressure > 1 + eta_violation    limit                       min(request, last)/pressure
RECOVERY    it is idle, or all others are   request; last*eta_increase  last * eta_increase
CONTENTION  otherwise                       request                     last
==========  ==============================  ==========================  ===========================

Where the paper is silent or not sound, this module does what follows.

* Values of the thresholds are those of the reference code (sigserverless/Dilu @1134655,
  `adaptive_2D_scaling/vertical_scaling/server/RCKM.c`); the paper gives none.
* Algorithm 2 divides by dT = T_cur / T_min - 1, which *raises* the quota when dT < 1. The reference code
  divides by the ratio; so does this.
* T_cur is a measurement made once a cycle. Dividing by it every 5 ms would divide by the same one several
  times, so a cycle is charged once (`charge="cycle"`); `charge="tick"` repeats the division as written.
* In CONTENTION training keeps its last quota. One EMERGENCY would then throttle it for as long as requests
  keep coming, which is not what the paper measures (97 % of exclusive training throughput, Fig. 7). The
  reference code lets it recover at healthy cycles; so does this (`recover="healthy"`; the paper's rule alone
  is `"idle"`).
* The scale-up line of an SLO-sensitive instance has no cap in the paper; it is capped at its limit.
* Only the instance that raised EMERGENCY may end it. With several SLO-sensitive residents the gravest of
  their states holds, which says the same and does not depend on the order in which they are visited.
* `floor` keeps training alive; the reference code's floor is 1 %, the paper has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nextafter
from typing import Literal, NamedTuple

from policies.cycles import CycleBaseline
from policies.slots import ALWAYS_CALM, NEVER_CALM, GpuView, Grant, ResidentView
from profiles.sharing import LAUNCH_TOKENS, Sharing

INF = float("inf")

NONE, RECOVERY, CONTENTION, EMERGENCY = range(4)
"""States of a GPU, in order of gravity."""
STATES = ("none", "recovery", "contention", "emergency")


class News(NamedTuple):
    """What completed cycles mean for training: the cycles, what to divide by, and whether it may grow."""

    cycles: tuple[tuple[int, int], ...]
    divisor: float
    heals: bool


NO_NEWS = News((), 1.0, False)


@dataclass(frozen=True, slots=True)
class Rckm:
    """The kernel manager as in the paper, with the reference code's constants.

    Its memory are the cycles that already moved training, as pairs (instance, its number of cycles then).

    Attributes
    ----------
    tick_s
        Token period: 5 ms (paper section 3.4).
    window_s
        Rate window; a resident that launched nothing for so long is idle. 100 ticks (WINDOW_SIZE, RCKM.c).
    eta_violation, eta_violation_llm
        EMERGENCY above pressure 1 + eta: 0.6 and 0.3 (OVERFLOW_RATE_D 1.6 and _DLLM 1.3, RCKM.c).
    eta_increase
        Growth a tick in RECOVERY: 1.3 (INCREASE_FACTOR, RCKM.c).
    recover, healthy, healthy_every
        Throttled training grows again once everybody else is `idle` (paper), or also by eta_increase at every
        5th cycle with a pressure below 1.2 (`healthy`; OVERFLOW_RATE_A, RCKM.c).
    floor
        Least quota of training: 0.01 (CONTROL_FACTOR, RCKM.c).
    charge
        Divide once a `cycle` or every `tick` of an EMERGENCY; see above.
    cycle_baseline
        What T_min is; see `policies.cycles`.
    """

    tick_s: float | None = 0.005
    window_s: float = 0.5
    eta_violation: float = 0.6
    eta_violation_llm: float = 0.3
    eta_increase: float = 1.3
    floor: float = 0.01
    recover: Literal["idle", "healthy"] = "healthy"
    healthy: float = 1.2
    healthy_every: int = 5
    charge: Literal["cycle", "tick"] = "cycle"
    cycle_baseline: CycleBaseline = "minimum"
    sharing: Sharing = LAUNCH_TOKENS

    def first_quota(self, resident: ResidentView) -> float:
        """Return the request: what is promised, whoever else is there."""
        return resident.request

    def decide(self, gpu: GpuView) -> Grant:
        """One period of Algorithm 2 over the residents of a GPU."""
        residents = gpu.residents
        if len(residents) == 1:
            return Grant((residents[0].limit,), (), (ALWAYS_CALM,), settled=True)
        states = self._states(residents)
        state = max(states)
        best_effort = NONE in states
        news = self._news(gpu, states) if best_effort else NO_NEWS
        quotas, settled = [], not (self.charge == "tick" and news.divisor > 1.0)
        for resident, own in zip(residents, states, strict=True):
            limit = resident.limit
            if not resident.slo_sensitive:
                quota = self._best_effort_quota(resident, state, news)
                settled = settled and (state != RECOVERY or quota == limit)
            elif own == EMERGENCY:
                quota = limit
            elif own == RECOVERY and not resident.idle:
                quota = min(resident.quota * self.eta_increase, limit)
                settled = settled and quota == limit
            else:
                quota = resident.request
            quotas.append(quota)
        calm = tuple([self._calm(r, own, best_effort) for r, own in zip(residents, states, strict=True)])
        return Grant(tuple(quotas), news.cycles, calm, settled)

    def _news(self, gpu: GpuView, states: Sequence[int]) -> News:
        """What the latest cycles say about training; each is charged, or heals, once."""
        counted = gpu.memory if isinstance(gpu.memory, tuple) else ()
        cycles: list[tuple[int, int]] = []
        divisor, heals = 1.0, False
        for resident, own in zip(gpu.residents, states, strict=True):
            cycle = (resident.instance, resident.cycles)
            if own == EMERGENCY:
                cycles.append(cycle)
                if self.charge == "tick" or cycle not in counted:
                    divisor = max(divisor, resident.pressure)
            elif own == CONTENTION and self._heals(resident):
                cycles.append(cycle)
                heals = heals or cycle not in counted
        return News(tuple(cycles), divisor, heals)

    def _best_effort_quota(self, resident: ResidentView, state: int, news: News) -> float:
        if state == NONE:
            return resident.limit
        if state == EMERGENCY and news.divisor > 1.0:
            return max(min(resident.request, resident.quota) / news.divisor, self.floor)
        if state == RECOVERY or (state == CONTENTION and news.heals):
            return min(resident.quota * self.eta_increase, resident.limit)
        return resident.quota

    def _calm(self, resident: ResidentView, own: int, best_effort: bool) -> tuple[float, float]:
        """Band of pressures of cycles that move nothing: neither the resident's state nor any training."""
        if not resident.slo_sensitive:
            return ALWAYS_CALM
        threshold = self._violates_above(resident)
        if own == EMERGENCY:
            return NEVER_CALM if best_effort else (nextafter(threshold, INF), INF)
        return (self.healthy if best_effort and self.recover == "healthy" else -INF, threshold)

    def _heals(self, resident: ResidentView) -> bool:
        """Whether the latest cycle lets throttled training recover."""
        return (
            self.recover == "healthy"
            and resident.pressure < self.healthy
            and resident.cycles > 0
            and resident.cycles % self.healthy_every == 0
        )

    def _states(self, residents: Sequence[ResidentView]) -> list[int]:
        """Each resident's own state; NONE for the best-effort ones."""
        busy = 0
        for resident in residents:
            if not resident.idle:
                busy += 1
        states = []
        for resident in residents:
            if not resident.slo_sensitive:
                states.append(NONE)
            elif resident.idle:
                states.append(RECOVERY)
            elif resident.pressure > self._violates_above(resident):
                states.append(EMERGENCY)
            else:
                states.append(RECOVERY if busy == 1 else CONTENTION)
        return states

    def _violates_above(self, resident: ResidentView) -> float:
        return 1.0 + (self.eta_violation_llm if resident.is_llm else self.eta_violation)
