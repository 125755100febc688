"""Kernel launch cycles (KLC) and the pressure on them: T_cur / T_min (Dilu, ASPLOS 2025, section 3.4).

The paper's T_min is the shortest cycle seen so far. That needs an uncontended cycle to have been seen, and
it confounds contention with batch size and with the resident's own quota: a full batch at the request share
is longer than a single request at the limit, whoever the neighbours are. Hence three baselines, by name:

``uncontended``
    What the profile says this batch takes alone, on the quotas it had. Pressure is contention and nothing
    else. The default.
``batch-minimum``
    The shortest cycle seen for this batch size.
``minimum``
    The shortest cycle seen: the paper's, and the reference code's.

The last two start from the profile rather than from nothing: beside training at full speed from the start, no
uncontended cycle would ever be seen and the ratio would stay near 1.
"""

from __future__ import annotations

from typing import Literal, get_args

CycleBaseline = Literal["uncontended", "batch-minimum", "minimum"]
CYCLE_BASELINES: tuple[str, ...] = get_args(CycleBaseline)


class CycleMeter:
    """Turns the completed cycles of one resident into pressures."""

    __slots__ = ("_baseline", "_shortest_s")

    def __init__(self, baseline: str) -> None:
        if baseline not in CYCLE_BASELINES:
            raise ValueError(f"cycle_baseline: found {baseline!r}, allowed are {', '.join(CYCLE_BASELINES)}")
        self._baseline = baseline
        self._shortest_s: dict[int, float] = {}

    def pressure(self, cycle_s: float, batch: int, uncontended_s: float) -> float:
        """Return T_cur / T_min of a cycle that took `cycle_s` for `batch` requests.

        `uncontended_s` is what the profile says the same batch takes alone, on the quotas it had.
        """
        if self._baseline == "uncontended":
            return cycle_s / uncontended_s
        key = batch if self._baseline == "batch-minimum" else 0
        shortest_s = min(self._shortest_s.get(key, uncontended_s), uncontended_s, cycle_s)
        self._shortest_s[key] = shortest_s
        return cycle_s / shortest_s
