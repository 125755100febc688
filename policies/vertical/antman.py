"""AntMan's performance control: best-effort training sleeps after each mini-batch, longer if it disturbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from policies.cycles import CycleBaseline
from policies.functions import PolicyError
from policies.slots import ALWAYS_CALM, NEVER_CALM, GpuView, Grant, ResidentView
from profiles.sharing import LAUNCH_TOKENS, Sharing

FULL = 100


class DutyMemory(NamedTuple):
    """The duty cycle in percent, and the cycles already judged: (instance, its number of cycles then)."""

    duty: int
    judged: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class AntmanDutyCycle:
    """AntMan's performance control (OSDI 2020): best-effort jobs work a duty cycle that servers do not feel.

    Resource-guarantee jobs, here the SLO-sensitive residents, always have their limit. The others share one
    duty cycle of up to 100 %: after each mini-batch a job sleeps until its active time is that part of the
    whole (the client in alibaba/GPU-scheduler-for-deep-learning). Once a tick, the coordinator looks at the
    latest cycle of each server that completed any since the last one:

    ======================================  ==================================
    when                                    duty cycle
    ======================================  ==================================
    every server is idle, or there is none  full
    a latest cycle is inflated              x `lower`, rounded down to percent
    all latest cycles are healthy           + `raise_percent`
    there is no new cycle                   stays
    ======================================  ==================================

    That the coordinator lowers it on inflated operations and raises it otherwise is recalled from the paper;
    the law and its constants are assumed.

    Modelled: a sleep after each mini-batch as launch tokens, a quota of the duty cycle times the limit, which
    has the same effect on everybody over some mini-batches. Not modelled: that within one mini-batch the job
    runs unthrottled, so that a batch meets either all of it or nothing; that a job is suspended at 0 %;
    memory that shrinks, and tensors that overflow to the host.

    Attributes
    ----------
    tick_s, tolerance, lower, raise_percent
        1 s, 0.1, 0.5 and 5 %: assumed. A cycle is inflated above 1 + tolerance times what it takes alone.
    least_percent
        Where lowering ends: 1 %, assumed.
    window_s
        A server that launched nothing for so long is idle: 1 s, assumed.
    """

    tick_s: float | None = 1.0
    window_s: float = 1.0
    tolerance: float = 0.1
    lower: float = 0.5
    raise_percent: int = 5
    least_percent: int = 1
    cycle_baseline: CycleBaseline = "uncontended"
    sharing: Sharing = LAUNCH_TOKENS

    def __post_init__(self) -> None:
        if not self.tick_s or self.tick_s < 0.0:
            raise PolicyError(f"tick_s: found {self.tick_s}, allowed is above 0")
        if not self.tolerance >= 0.0:
            raise PolicyError(f"tolerance: found {self.tolerance}, allowed is from 0")
        if not 0.0 <= self.lower < 1.0:
            raise PolicyError(f"lower: found {self.lower}, allowed is from 0 to below 1")
        for name in ("raise_percent", "least_percent"):
            if not 0 < (value := getattr(self, name)) <= FULL:
                raise PolicyError(f"{name}: found {value}, allowed is 1 to {FULL}")

    def first_quota(self, resident: ResidentView) -> float:
        """Return the limit: a job works full time until it has disturbed anybody."""
        return resident.limit

    def decide(self, gpu: GpuView) -> Grant:
        """Lower or raise the duty cycle of the best-effort residents."""
        residents = gpu.residents
        if all(r.slo_sensitive for r in residents) or not any(r.slo_sensitive for r in residents):
            return Grant(
                tuple(r.limit for r in residents), None, (ALWAYS_CALM,) * len(residents), settled=True
            )
        memory = self._judged(gpu)
        quotas = tuple(r.limit if r.slo_sensitive else r.limit * memory.duty / FULL for r in residents)
        return Grant(quotas, memory, tuple(NEVER_CALM if r.slo_sensitive else ALWAYS_CALM for r in residents))

    def _judged(self, gpu: GpuView) -> DutyMemory:
        """Judge each server by its latest cycle, and each cycle once."""
        memory = gpu.memory if isinstance(gpu.memory, DutyMemory) else DutyMemory(FULL, ())
        servers = [r for r in gpu.residents if r.slo_sensitive]
        judged = tuple((r.instance, r.cycles) for r in servers)
        fresh = [
            r.pressure
            for r, cycle in zip(servers, judged, strict=True)
            if r.cycles and not r.idle and cycle not in memory.judged
        ]
        duty = memory.duty
        if all(r.idle for r in servers):
            duty = FULL
        elif any(pressure > 1.0 + self.tolerance for pressure in fresh):
            duty = max(int(duty * self.lower), self.least_percent)
        elif fresh:
            duty = min(duty + self.raise_percent, FULL)
        return DutyMemory(duty, judged)
