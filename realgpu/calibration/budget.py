"""The time a calibration may take, and what things take: nothing is begun that cannot be ended."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from profiles import ModelProfile, Point, ProfileError
from realgpu.calibration.fits import step_curve_of, surface_of
from realgpu.workers.protocol import BackendName, Job

ENDING_S: Final = 8.0
"""Ending workers that hang, and writing a catalog. Assumed."""

ENDING_PART: Final = 0.15
"""Of a budget so small that it has no room for `ENDING_S`, so much is kept for the end. Assumed."""

STARTING_S: Final = {"virtual": 2.0, "cpu": 20.0, "cuda": 60.0}
"""What a start is taken to need before any was seen: import of torch, on a device its context as well."""

MARGIN: Final = 1.5
"""What is guessed from other points may take so much longer. Assumed."""


class Budget:
    """Wall-clock seconds from now on; `None`: as many as it takes."""

    def __init__(self, budget_s: float | None) -> None:
        self._begun_s = time.monotonic()
        self._budget_s = budget_s

    @property
    def spent_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._begun_s

    @property
    def left_s(self) -> float:
        """Seconds that are left for measuring."""
        if self._budget_s is None:
            return float("inf")
        return self._budget_s - min(ENDING_S, ENDING_PART * self._budget_s) - self.spent_s

    def allows(self, estimate_s: float) -> bool:
        """Whether something that takes so long can still be ended."""
        return estimate_s <= self.left_s


class StartUps:
    """How long workers take to start up, as seen so far."""

    def __init__(self, backend: BackendName) -> None:
        self._assumed_s = STARTING_S[backend]
        self._seen_s: dict[Job, list[float]] = defaultdict(list)

    def saw(self, job: Job, seconds: float) -> None:
        """Take note of one."""
        self._seen_s[job].append(seconds)

    def expected_s(self, job: Job) -> float:
        """Return the seconds of the next one, with a margin."""
        seen_s = self._seen_s[job] or [second for all_s in self._seen_s.values() for second in all_s]
        return MARGIN * statistics.median(seen_s) if seen_s else self._assumed_s


def expected_s(profile: ModelProfile, job: Job, batch: int, share: float, points: Sequence[Point]) -> float:
    """Return the seconds that a batch or step is taken to need.

    By the curve that fits the points so far; with too few of those, by the profile times how much longer the
    points took than it says, with a margin; without any, by the profile.
    """
    try:
        if job == "train":
            return step_curve_of(points).seconds(share)
        return surface_of(points).seconds(batch, share)
    except ProfileError:
        pass
    measure = profile.measurement("training" if job == "train" else profile.kind)
    if not points:
        return measure(batch, share)
    ratios = [point.seconds / measure(point.batch, point.share) for point in points]
    return MARGIN * statistics.median(ratios) * measure(batch, share)
