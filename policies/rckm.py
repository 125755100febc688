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
* The scale-up line of an SLO-sensitive instance has no cap in the paper; it is capped at its limit.
* Only the instance that raised EMERGENCY may end it. With several SLO-sensitive residents the gravest of
  their states holds, which says the same and does not depend on the order in which they are visited.
* `floor` keeps training alive; the reference code's floor is 1 %, the paper has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from policies.cycles import CycleBaseline
from policies.slots import GpuView, Grant, ResidentView

INF = float("inf")
ALWAYS_CALM = (-INF, INF)
NEVER_CALM = (INF, -INF)

NONE, RECOVERY, CONTENTION, EMERGENCY = range(4)
"""States of a GPU, in order of gravity."""
STATES = ("none", "recovery", "contention", "emergency")


@dataclass(frozen=True, slots=True)
class Rckm:
    """The kernel manager as in the paper, with the reference code's constants.

    Its memory are the cycles already charged, as pairs (instance, its number of cycles then).

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
    charge: Literal["cycle", "tick"] = "cycle"
    cycle_baseline: CycleBaseline = "uncontended"
    partitioned: bool = False
    gated: bool = True

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
        charged = gpu.memory if isinstance(gpu.memory, tuple) else ()
        violations: tuple[tuple[int, int], ...] = ()
        divisor = 1.0
        if state == EMERGENCY:
            for resident, own in zip(residents, states, strict=True):
                if own == EMERGENCY:
                    cycle = (resident.instance, resident.cycles)
                    violations = (*violations, cycle)
                    if self.charge == "tick" or cycle not in charged:
                        divisor = max(divisor, resident.pressure)
        quotas, calm, settled = [], [], True
        for resident, own in zip(residents, states, strict=True):
            limit = resident.limit
            if resident.slo_sensitive:
                calm.append(NEVER_CALM if own == EMERGENCY else (-INF, self._violates_above(resident)))
                if own == EMERGENCY:
                    quota = limit
                elif own == RECOVERY and not resident.idle:
                    quota = min(resident.quota * self.eta_increase, limit)
                    settled = settled and quota == limit
                else:
                    quota = resident.request
            else:
                calm.append(ALWAYS_CALM)
                if state == NONE:
                    quota = limit
                elif state == RECOVERY:
                    quota = min(resident.quota * self.eta_increase, limit)
                    settled = settled and quota == limit
                elif divisor > 1.0:
                    quota = max(min(resident.request, resident.quota) / divisor, self.floor)
                    settled = settled and self.charge == "cycle"
                else:
                    quota = resident.quota
            quotas.append(quota)
        return Grant(tuple(quotas), violations, tuple(calm), settled)

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
