"""What the controller keeps of its ticks and of the quotas it set."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

TICK: Final = np.dtype([("time_ns", "<i8"), ("lateness_ns", "<i8"), ("duration_ns", "<i8")])
"""A tick: when it began (CLOCK_MONOTONIC), how long after it was due, and how long it took."""

CHANGE: Final = np.dtype([("time_ns", "<i8"), ("gpu", "<i8"), ("instance", "<i8"), ("quota", "<f8")])
"""A quota that was set, and when (CLOCK_MONOTONIC)."""

KEPT_TICKS: Final = 1 << 18
"""Ticks of 5 ms in 21 minutes, in 6 MiB."""


class TickRing:
    """The latest ticks, in memory that is there from the beginning."""

    def __init__(self, capacity: int = KEPT_TICKS) -> None:
        self._rows = np.zeros(capacity, TICK)
        self.done = 0

    def add(self, time_ns: int, lateness_ns: int, duration_ns: int) -> None:
        """Take a tick, in place of the oldest once there is no room."""
        self._rows[self.done % len(self._rows)] = (time_ns, lateness_ns, duration_ns)
        self.done += 1

    def rows(self) -> NDArray[np.void]:
        """Return the ticks that are still here, oldest first."""
        capacity = len(self._rows)
        if self.done <= capacity:
            return self._rows[: self.done].copy()
        return np.roll(self._rows, -(self.done % capacity))


class ChangeLog:
    """Every quota that was set."""

    def __init__(self) -> None:
        self._rows = np.zeros(1024, CHANGE)
        self._count = 0

    def add(self, time_ns: int, gpu: int, instance: int, quota: float) -> None:
        """Take a change; times never go back."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[self._count] = (time_ns, gpu, instance, quota)
        self._count += 1

    def rows(self) -> NDArray[np.void]:
        """Return them in the order of time."""
        return self._rows[: self._count].copy()
