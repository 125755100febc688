"""HAS-GPU's vertical scaling: time quotas on rows of SMs, as the autoscaler wants them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from policies.cycles import CycleBaseline
from policies.functions import PolicyError
from policies.slots import ALWAYS_CALM, GpuView, Grant, ResidentView
from profiles.sharing import Sharing, TimeSharing

ROWS = TimeSharing(width="limit", weights="request", caps="all")
"""Everybody is held to a quota of time on the SMs of its row."""


@dataclass(frozen=True, slots=True)
class RowQuotas:
    """HAS-GPU's quotas (Euro-Par 2025): what the autoscaler wants of time on a row of SMs, applied at once.

    A pod's SMs, its limit, are fixed; the pods of a row (`ResidentView.seat`) share them by time quotas, here
    quota / limit, that sum to at most 1. Each gets the share that the horizontal policy wants of it, or its
    request where none was ever wanted; training, which HAS-GPU does not have, wants all of its row. Where a
    row has not the room, those who want more than their request get an equal fraction of what they want above
    it; requests themselves shrink only where even they do not fit.

    Modelled: quotas that hold from the next tick on, for servers and training alike, and stretch a batch even
    while the row's other pods are idle. Not modelled: that a token window lets a batch shorter than its quota
    pass unstretched; the latency predictor (RaPP), which the profile replaces.

    Attributes
    ----------
    least
        Least time quota: 0.1 (10 points; KontonGu/HAS-GPU). Only a row of more than 10 pods has less.
    tick_s
        Quotas are applied at once: 5 ms, assumed.
    window_s
        Not a rule of HAS-GPU and of no effect here; the autoscaler's 2 s.
    """

    least: float = 0.1
    tick_s: float | None = 0.005
    window_s: float = 2.0
    cycle_baseline: CycleBaseline = "uncontended"
    sharing: Sharing = ROWS

    def __post_init__(self) -> None:
        if not self.tick_s or self.tick_s < 0.0:
            raise PolicyError(f"tick_s: found {self.tick_s}, allowed is above 0")
        if not 0.0 < self.least <= 1.0:
            raise PolicyError(f"least: found {self.least}, allowed is above 0, up to 1")

    def first_quota(self, resident: ResidentView) -> float:
        """Return the wanted share; whether its row has the room, the first tick says."""
        return resident.limit * self._wanted_time(resident)

    def decide(self, gpu: GpuView) -> Grant:
        """Grant what is wanted, row by row."""
        rows: dict[Hashable, list[int]] = defaultdict(list)
        for place, resident in enumerate(gpu.residents):
            rows[resident.seat].append(place)
        quotas = [0.0] * len(gpu.residents)
        for places in rows.values():
            row = [gpu.residents[place] for place in places]
            for place, resident, time in zip(places, row, self._times(row), strict=True):
                quotas[place] = resident.limit * time
        return Grant(tuple(quotas), None, (ALWAYS_CALM,) * len(quotas), settled=True)

    def _times(self, row: Sequence[ResidentView]) -> list[float]:
        """Return the time quotas of a row's pods."""
        wanted = [self._wanted_time(resident) for resident in row]
        total = sum(wanted)
        if total <= 1.0:
            return wanted
        kept = [min(time, self._requested_time(r)) for time, r in zip(wanted, row, strict=True)]
        floor = sum(kept)
        if floor >= 1.0:
            return [time / floor for time in kept]
        granted = (1.0 - floor) / (total - floor)
        return [own + (time - own) * granted for own, time in zip(kept, wanted, strict=True)]

    def _wanted_time(self, resident: ResidentView) -> float:
        if not resident.slo_sensitive:
            return 1.0
        if resident.wanted is None:
            return self._requested_time(resident)
        return min(max(resident.wanted / resident.limit, self.least), 1.0)

    def _requested_time(self, resident: ResidentView) -> float:
        return min(max(resident.request / resident.limit, self.least), 1.0)
