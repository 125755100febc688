"""Dilu's vertical scaling as its public code does it, which differs from the paper's Algorithm 2.

Re-told from sigserverless/Dilu @1134655, `adaptive_2D_scaling/vertical_scaling/server/RCKM.c`: there are no
states. A GPU has one budget C in [floor, 1] for training. A cycle of an SLO-sensitive resident under
pressure divides C, every fifth healthy cycle multiplies it, and nothing else moves it while anybody
SLO-sensitive is active. Training gets C * request; when all SLO-sensitive residents are idle, its part of the
sum of limits, split by request, and here never more than its own limit. An SLO-sensitive resident gets its
limit when nobody is busy and its request otherwise; no EMERGENCY ever raises it. Whoever is alone on a GPU
gets the limit.

Left out because they are faults of the code rather than its design: one budget shared by all four GPUs of a
node, the hole in the all-idle test with several SLO-sensitive residents, cycles that merge when batches run
back to back.
"""

from __future__ import annotations

from dataclasses import dataclass

from policies.cycles import CycleBaseline
from policies.slots import GpuView, Grant, ResidentView
from profiles.sharing import LAUNCH_TOKENS, Sharing

INF = float("inf")


@dataclass(frozen=True, slots=True)
class BudgetMemory:
    """The training budget C, and the cycles already counted: (instance, its number of cycles then)."""

    budget: float
    counted: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class RckmReference:
    """The public code's throttle. All constants are RCKM.c's, by the names in brackets.

    Attributes
    ----------
    emergency, emergency_llm, ignore
        C is divided by pressures in [1.6, 4) [OVERFLOW_RATE_D, _U], for an LLM in [1.3, 4) [_DLLM].
    healthy, healthy_every, increase
        Every 5th cycle with a pressure below 1.2 [OVERFLOW_RATE_A] multiplies C by 1.3 [INCREASE_FACTOR].
    floor
        C is at least this times the sum of training requests: .01 [CONTROL_FACTOR].
    first_budget
        C when the first SLO-sensitive resident meets training: 0.1 [CONSERVATIVE_LIMIT / UPPER_LIMIT].
    window_s
        Idle after 120 ticks.
    """

    tick_s: float | None = 0.005
    window_s: float = 0.6
    emergency: float = 1.6
    emergency_llm: float = 1.3
    ignore: float = 4.0
    healthy: float = 1.2
    healthy_every: int = 5
    increase: float = 1.3
    floor: float = 0.01
    first_budget: float = 0.1
    cycle_baseline: CycleBaseline = "minimum"
    sharing: Sharing = LAUNCH_TOKENS

    def first_quota(self, resident: ResidentView) -> float:
        """Return the request."""
        return resident.request

    def decide(self, gpu: GpuView) -> Grant:
        """One 5 ms period of the token server."""
        residents = gpu.residents
        protected = [r for r in residents if r.slo_sensitive]
        trainings = [r for r in residents if not r.slo_sensitive]
        calm = tuple(map(self._calm, residents))
        if not protected or len(residents) == 1:
            return Grant(tuple(r.limit for r in residents), None, calm)
        requested = sum(r.request for r in trainings)
        memory = gpu.memory if isinstance(gpu.memory, BudgetMemory) else BudgetMemory(self.first_budget, ())
        budget = memory.budget
        for resident in protected:
            cycle = (resident.instance, resident.cycles)
            if resident.cycles and not resident.idle and cycle not in memory.counted:
                budget = self._after_cycle(budget, resident, requested)
        all_idle = all(r.idle for r in protected)
        if all_idle:
            budget = 1.0
        pool = sum(r.limit for r in trainings) if all_idle else budget * requested
        nobody_busy = all(r.idle for r in residents)
        quotas = tuple(
            (r.limit if nobody_busy else r.request)
            if r.slo_sensitive
            else min(pool * r.request / requested, r.limit)
            for r in residents
        )
        return Grant(quotas, BudgetMemory(budget, tuple((r.instance, r.cycles) for r in protected)), calm)

    def _emergency_of(self, resident: ResidentView) -> float:
        return self.emergency_llm if resident.is_llm else self.emergency

    def _after_cycle(self, budget: float, resident: ResidentView, requested: float) -> float:
        if self._emergency_of(resident) <= resident.pressure < self.ignore:
            return max(self.floor * requested, budget / resident.pressure)
        if resident.pressure < self.healthy and resident.cycles % self.healthy_every == 0:
            return min(1.0, budget * self.increase)
        return budget

    def _calm(self, resident: ResidentView) -> tuple[float, float]:
        """Only cycles between healthy and emergency are calm; each of the others may move the budget."""
        if not resident.slo_sensitive:
            return (-INF, INF)
        return (self.healthy, self._emergency_of(resident))
