"""Vertical policies without a loop: the quota an instance gets when it arrives is the quota it keeps."""

from __future__ import annotations

from dataclasses import dataclass

from policies.cycles import CycleBaseline
from policies.slots import GpuView, Grant, ResidentView

EVERY_CYCLE_IS_CALM = (float("-inf"), float("inf"))


@dataclass(frozen=True, slots=True)
class StaticQuota:
    """The limit, for as long as the instance lives: an MPS active-thread percentage, or a whole GPU.

    A share that a neighbour leaves idle is not used (NVIDIA MPS documentation: the percentage is set when the
    client starts and cannot be raised while it runs).
    """

    tick_s: float | None = None
    window_s: float = float("inf")
    partitioned: bool = True
    gated: bool = False
    cycle_baseline: CycleBaseline = "uncontended"

    def first_quota(self, resident: ResidentView) -> float:
        """Return the limit."""
        return resident.limit

    def decide(self, gpu: GpuView) -> Grant:
        """Return the limits."""
        quotas = tuple(resident.limit for resident in gpu.residents)
        return Grant(quotas, None, (EVERY_CYCLE_IS_CALM,) * len(quotas), settled=True)
