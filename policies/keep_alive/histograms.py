"""Keep-alive by histograms of idle intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.slots import FunctionView


@dataclass(frozen=True, slots=True)
class LongShortHistogram:
    """INFless's LSTH (INFless section 4.3): the tail of idle intervals over a long and a short window, mixed.

    keep-alive = mix * P_tail(long) + (1 - mix) * P_tail(short), where an idle interval is a run of seconds
    without a request. Only the keep-alive half is used here: instances above a function's minimum are never
    unloaded right after use, so there is nothing to pre-warm.

    Attributes
    ----------
    long_s, short_s, tail, mix
        858 s, 200 s, 90th percentile, 0.5: as sigserverless/Dilu @1134655
        `scheduling/data/calculate_threshold.py` computes it for its rivals; there the windows start at the
        trace's beginning, here they trail the present.
    default_s
        Used where a window holds no idle interval. Assumed.
    """

    long_s: int = 858
    short_s: int = 200
    tail: float = 90.0
    mix: float = 0.5
    default_s: float = 60.0

    def idle_timeout_s(self, function: FunctionView) -> float:
        """Mix the two tails."""
        history = function.history(self.long_s)
        long_s = self._tail_s(history)
        short_s = self._tail_s(history[-self.short_s :])
        return self.mix * long_s + (1.0 - self.mix) * short_s

    def _tail_s(self, counts: NDArray[np.int64]) -> float:
        intervals = idle_intervals(counts)
        return float(np.percentile(intervals, self.tail)) if len(intervals) else self.default_s


def idle_intervals(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lengths of the runs of zeros, in samples."""
    silent = np.concatenate([[False], counts == 0, [False]])
    edges = np.flatnonzero(silent[1:] != silent[:-1])
    return (edges[1::2] - edges[::2]).astype(np.int64)
