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

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from policies.cycles import CycleBaseline
from policies.slots import GpuView, Grant, ResidentView

INF = float("inf")
NEVER_CALM = (INF, -INF)


class State(IntEnum):
    """States of a GPU, in order of gravity."""

    NONE = 0
    RECOVERY = 1
    CONTENTION = 2
    EMERGENCY = 3


@dataclass(frozen=True, slots=True)
class RckmMemory:
    """State of the GPU, and the cycles already charged: (instance, its number of cycles then)."""

    state: State
    charged: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Rckm:
    """The kernel manager as in the paper, with the reference code's constants.

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
            return Grant((residents[0].limit,), RckmMemory(State.NONE), ((-INF, INF),))
        charged = gpu.memory.charged if isinstance(gpu.memory, RckmMemory) else ()
        busy = sum(not resident.idle for resident in residents)
        state = State.NONE
        divisor = 1.0
        violations: list[tuple[int, int]] = []
        for resident in residents:
            if not resident.slo_sensitive:
                continue
            own = self._state_of(resident, busy)
            state = max(state, own)
            if own is State.EMERGENCY:
                cycle = (resident.instance, resident.cycles)
                violations.append(cycle)
                if self.charge == "tick" or cycle not in charged:
                    divisor = max(divisor, resident.pressure)
        quotas = tuple(
            self._protected_quota(resident, busy)
            if resident.slo_sensitive
            else self._best_effort_quota(resident, state, divisor)
            for resident in residents
        )
        return Grant(quotas, RckmMemory(state, tuple(violations)), tuple(map(self._calm, residents)))

    def _violates_above(self, resident: ResidentView) -> float:
        return 1.0 + (self.eta_violation_llm if resident.is_llm else self.eta_violation)

    def _state_of(self, resident: ResidentView, busy: int) -> State:
        if resident.idle:
            return State.RECOVERY
        if resident.pressure > self._violates_above(resident):
            return State.EMERGENCY
        return State.RECOVERY if busy == 1 else State.CONTENTION

    def _protected_quota(self, resident: ResidentView, busy: int) -> float:
        if resident.idle:
            return resident.request
        if resident.pressure > self._violates_above(resident):
            return resident.limit
        if busy == 1:
            return min(resident.quota * self.eta_increase, resident.limit)
        return resident.request

    def _best_effort_quota(self, resident: ResidentView, state: State, divisor: float) -> float:
        if state is State.NONE:
            return resident.limit
        if state is State.RECOVERY:
            return min(resident.quota * self.eta_increase, resident.limit)
        if state is State.EMERGENCY and divisor > 1.0:
            return max(min(resident.request, resident.quota) / divisor, self.floor)
        return resident.quota

    def _calm(self, resident: ResidentView) -> tuple[float, float]:
        if not resident.slo_sensitive:
            return (-INF, INF)
        threshold = self._violates_above(resident)
        if resident.pressure > threshold and not resident.idle:
            return NEVER_CALM
        return (-INF, threshold)
