"""Kernel launch cycles (KLC) and the pressure on them: T_cur / T_min (Dilu, ASPLOS 2025, section 3.4).

A cycle gets longer beside busy neighbours. It also gets longer with the batch and on a smaller quota, so what
it is held against decides what pressure means. Three baselines, by name:

``minimum``
    The shortest cycle seen: the paper's, and the reference code's. A full batch on the request share is
    under pressure whoever the neighbours are, so that a burst, which fills batches, calls for the limit at
    once. The default.
``batch-minimum``
    The shortest cycle seen for this batch size.
``uncontended``
    What the profile says this batch takes alone, on the quotas it had. Pressure is contention and nothing
    else; bursts go unnoticed.

The first two start from the profile rather than from nothing: beside training at full speed from the start,
no uncontended cycle would ever be seen and the ratio would stay near 1.
"""

from __future__ import annotations

from typing import Literal, get_args

CycleBaseline = Literal["uncontended", "batch-minimum", "minimum"]
CYCLE_BASELINES: tuple[str, ...] = get_args(CycleBaseline)


class CycleMeter:
    """Turns the completed cycles of one resident into pressures."""

    __slots__ = ("_baseline", "_shortest_of_batch_s", "_shortest_s")

    def __init__(self, baseline: str) -> None:
        if baseline not in CYCLE_BASELINES:
            raise ValueError(f"cycle_baseline: found {baseline!r}, allowed are {', '.join(CYCLE_BASELINES)}")
        self._baseline = baseline
        self._shortest_s = float("inf")
        self._shortest_of_batch_s: dict[int, float] = {}

    def pressure(self, cycle_s: float, batch: int, uncontended_s: float) -> float:
        """Return T_cur / T_min of a cycle that took `cycle_s` for `batch` requests.

        `uncontended_s` is what the profile says the same batch takes alone, on the quotas it had.
        """
        if self._baseline == "minimum":
            if uncontended_s < self._shortest_s or cycle_s < self._shortest_s:
                self._shortest_s = min(uncontended_s, cycle_s)
            return cycle_s / self._shortest_s
        if self._baseline == "uncontended":
            return cycle_s / uncontended_s
        shortest_s = min(self._shortest_of_batch_s.get(batch, uncontended_s), uncontended_s, cycle_s)
        self._shortest_of_batch_s[batch] = shortest_s
        return cycle_s / shortest_s
