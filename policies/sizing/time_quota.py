"""Sizing for systems whose instances run on a partition of the SMs for a share of the time."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from policies.functions import Function, PolicyError, Size
from policies.sizing.growth import SHARE_DIGITS, DiluSizing, target_s
from profiles import Measure


@dataclass(frozen=True)
class TimeQuotaSizing(DiluSizing):
    """Dilu's batch and limit, and the least time quota on that limit with which a batch is in time (HAS-GPU).

    In HAS-GPU (Euro-Par 2025) the predictor RaPP says which SMs and quota meet the SLO; the measurement
    stands in for it. The request is limit x quota. A pinned size is left as it is.

    Attributes
    ----------
    quota_step
        Step of the time quota: 10 % (KontonGu/HAS-GPU).
    """

    quota_step: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.quota_step <= 1.0:
            raise PolicyError(f"quota_step: found {self.quota_step}, allowed are numbers in (0, 1]")

    def size_serving(self, function: Function, measure: Measure) -> Size:
        """Search as Dilu does, and measure once more, on the limit. Raises `SizingError` as Dilu's does."""
        size = super().size_serving(function, measure)
        part = measure(size.batch, size.limit) / (target_s(function) * self.slo_fraction)
        quota = min(1.0, math.ceil(round(part / self.quota_step, SHARE_DIGITS)) * self.quota_step)
        request = min(size.limit, round(size.limit * quota, SHARE_DIGITS))
        return dataclasses.replace(size, request=request, trials=size.trials + 1)
