"""Vertical policies without a loop: the quota an instance gets when it arrives is the quota it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from policies.cycles import CycleBaseline
from policies.slots import ALWAYS_CALM, GpuView, Grant, ResidentView
from profiles.sharing import MPS_CAPS, Sharing


@dataclass(frozen=True, slots=True)
class StaticQuota:
    """The limit, or the request, for as long as the instance lives: an MPS percentage, or a whole GPU.

    A share that a neighbour leaves idle is not used (NVIDIA MPS documentation: the percentage is set when the
    client starts and cannot be raised while it runs).
    """

    quota: Literal["limit", "request"] = "limit"
    sharing: Sharing = MPS_CAPS
    tick_s: float | None = None
    window_s: float = float("inf")
    cycle_baseline: CycleBaseline = "uncontended"

    def first_quota(self, resident: ResidentView) -> float:
        """Return the limit, or the request."""
        return resident.limit if self.quota == "limit" else resident.request

    def decide(self, gpu: GpuView) -> Grant:
        """Return the limits, or the requests."""
        quotas = tuple(self.first_quota(resident) for resident in gpu.residents)
        return Grant(quotas, None, (ALWAYS_CALM,) * len(quotas), settled=True)


@dataclass(frozen=True, slots=True)
class LimitForLife:
    """What policies have in common whose quota is the limit for as long as the instance lives."""

    tick_s: ClassVar[float | None] = None
    window_s: ClassVar[float] = float("inf")
    cycle_baseline: ClassVar[CycleBaseline] = "uncontended"

    def first_quota(self, resident: ResidentView) -> float:
        """Return the limit."""
        return resident.limit

    def decide(self, gpu: GpuView) -> Grant:
        """Return what each resident had at first."""
        quotas = tuple(self.first_quota(resident) for resident in gpu.residents)
        return Grant(quotas, None, (ALWAYS_CALM,) * len(quotas), settled=True)
