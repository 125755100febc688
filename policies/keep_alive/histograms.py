"""Keep-alive by histograms of idle intervals: INFless's two windows, and Azure's hybrid histogram.

Both say from when after a request a function should have a warm instance, and until when. A function that may
go to nothing goes at once where it can be launched again in time for that window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.functions import PolicyError
from policies.slots import FunctionView, WarmWindow


@dataclass(frozen=True, slots=True)
class LongShortHistogram:
    """INFless's LSTH (INFless section 4.3): the tail of idle intervals over a long and a short window, mixed.

    keep-alive = mix * P_tail(long) + (1 - mix) * P_tail(short), where an idle interval is a run of seconds
    without a request; pre-warm is the same mix of P_head. An instance above the minimum stays for the
    keep-alive time. A function that may go to nothing and is idle as a whole goes at once, and is pre-warmed,
    unless a launch would take longer than is left until then: it could not help (a guard of ours).

    Attributes
    ----------
    long_s, short_s, head, tail, mix
        858 s, 200 s, 5th and 90th percentile, 0.5: as sigserverless/Dilu @1134655
        `scheduling/data/calculate_threshold.py` computes it for its rivals; there the windows start at the
        trace's beginning, here they trail the present. Those of a function that may go to nothing trail its
        last request, so that only intervals between requests count, not the present silence. INFless itself,
        as recalled: `long_s=86400`, `short_s=3600`, `tail=99`.
    default_s
        The tail where a window holds no idle interval; the head is 0 then. Assumed.
    """

    long_s: int = 858
    short_s: int = 200
    tail: float = 90.0
    mix: float = 0.5
    default_s: float = 60.0
    head: float = 5.0

    def __post_init__(self) -> None:
        if not 1 <= self.short_s <= self.long_s:
            raise PolicyError(
                f"short_s, long_s: found {self.short_s}, {self.long_s}, allowed is 1 <= short_s <= long_s"
            )
        if not 0.0 <= self.head <= self.tail <= 100.0:
            raise PolicyError(
                f"head, tail: found {self.head}, {self.tail}, allowed is 0 <= head <= tail <= 100"
            )
        if not 0.0 <= self.mix <= 1.0:
            raise PolicyError(f"mix: found {self.mix}, allowed are numbers in [0, 1]")
        if not 0.0 <= self.default_s < math.inf:
            raise PolicyError(f"default_s: found {self.default_s}, allowed are finite seconds from 0")

    def idle_timeout_s(self, function: FunctionView) -> float:
        """Mix the two tails; nothing where the function is launched again for its next request."""
        if function.min_instances == 0:
            window = self.warm_window(function)
            return 0.0 if _goes_at_once(function, window) else window.until_s
        history = function.history(self.long_s)
        return self.window_s(history, history[-self.short_s :]).until_s

    def warm_window(self, function: FunctionView) -> WarmWindow:
        """Mix heads and tails of the windows that end with the last request.

        Requests before and after a run of k silent seconds are k to k + 2 s apart, so it ends 2 s late.
        """
        counts = _between_requests(function, self.long_s)
        # An interval that the short window would cut counts in full, or its head would be that of the cut.
        before = np.flatnonzero(counts[: max(0, len(counts) - self.short_s) + 1])
        from_s, until_s = self.window_s(counts, counts[before[-1] if len(before) else 0 :])
        return WarmWindow(from_s, until_s + 2.0)

    def window_s(self, long_counts: NDArray[np.int64], short_counts: NDArray[np.int64]) -> WarmWindow:
        """Mix the percentiles of the idle intervals in arrivals a second over a long and a short window."""
        (long_head, long_tail), (short_head, short_tail) = map(self._percentiles, (long_counts, short_counts))
        rest = 1.0 - self.mix
        return WarmWindow(self.mix * long_head + rest * short_head, self.mix * long_tail + rest * short_tail)

    def _percentiles(self, counts: NDArray[np.int64]) -> tuple[float, float]:
        intervals = idle_intervals(counts)
        if not len(intervals):
            return 0.0, self.default_s
        rising = np.sort(intervals)
        return _percentile(rising, self.head), _percentile(rising, self.tail)


@dataclass(frozen=True, slots=True)
class HybridHistogram:
    """Azure's hybrid histogram (Shahrad et al., ATC 2020): warm from the 5th to the 99th percentile.

    If the histogram is representative (CV of its bins' counts is at least `least_cv`), the window is from the
    lower edge of the head's bin, a margin earlier, until the upper edge of the tail's bin, a margin later.
    Otherwise an instance stays for the whole range and nothing is pre-warmed. If most idle times lie beyond
    the range, the next one is forecast, and the window lies around the forecast. What goes at once is as in
    `LongShortHistogram`, except that an instance above the minimum stays until the window's end.

    An idle time is a run of seconds without a request, between two requests; the paper's runs from the end
    of an execution. It forecasts by ARIMA, this by an exponentially weighted mean.

    Attributes
    ----------
    bin_s, range_s
        1 min and 4 h (the paper). Functions on GPUs are hotter than Azure's mean: seconds suit them.
    head, tail, head_margin, tail_margin, least_cv
        5th and 99th percentile, 10 % margins, 2 (the paper; rounding to the bins' edges is recalled).
    beyond
        Share of idle times beyond the range from which the next one is forecast: .5 (the published
        re-implementations).
    forecast_from, forecast_for
        Pre-warmed at .85 of the forecast and kept for .30 of it: 15 % on either side (the paper).
    newest_weight
        Weight of the newest idle time in the mean that stands in for ARIMA. Assumed.
    history_s
        How far back idle times are counted; longer than the range, or none could lie beyond it. Assumed.
    """

    bin_s: int = 60
    range_s: int = 14_400
    head: float = 5.0
    tail: float = 99.0
    head_margin: float = 0.1
    tail_margin: float = 0.1
    least_cv: float = 2.0
    beyond: float = 0.5
    forecast_from: float = 0.85
    forecast_for: float = 0.30
    newest_weight: float = 0.5
    history_s: int = 28_800

    def __post_init__(self) -> None:
        if not 1 <= self.bin_s <= self.range_s < self.history_s:
            raise PolicyError(
                f"bin_s, range_s, history_s: found {self.bin_s}, {self.range_s}, {self.history_s},"
                " allowed is 1 <= bin_s <= range_s < history_s"
            )
        if not 0.0 < self.head <= self.tail <= 100.0:
            raise PolicyError(
                f"head, tail: found {self.head}, {self.tail}, allowed is 0 < head <= tail <= 100"
            )
        for name in ("head_margin", "beyond", "newest_weight"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise PolicyError(f"{name}: found {getattr(self, name)}, allowed are numbers in [0, 1]")
        for name in ("tail_margin", "least_cv", "forecast_from", "forecast_for"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise PolicyError(f"{name}: found {getattr(self, name)}, allowed are finite numbers from 0")

    def idle_timeout_s(self, function: FunctionView) -> float:
        """Return the window's end; nothing where the function is launched again for its next request."""
        window = self.warm_window(function)
        return 0.0 if _goes_at_once(function, window) else window.until_s

    def warm_window(self, function: FunctionView) -> WarmWindow:
        """Take the window from the histogram, from a forecast, or the whole range."""
        counts = _between_requests(function, self.history_s)
        intervals = idle_intervals(counts)
        within = intervals[intervals < self.range_s]
        if len(intervals) and len(intervals) - len(within) >= self.beyond * len(intervals):
            forecast_s = self._forecast_s(intervals)
            return WarmWindow(
                self.forecast_from * forecast_s, (self.forecast_from + self.forecast_for) * forecast_s
            )
        bins = np.bincount(within // self.bin_s, minlength=math.ceil(self.range_s / self.bin_s))
        if not len(within) or bins.std() < self.least_cv * bins.mean():
            return WarmWindow(0.0, float(self.range_s))
        reached = np.cumsum(bins) * 100.0 / len(within)
        head_s = float(np.searchsorted(reached, self.head)) * self.bin_s
        tail_s = float(np.searchsorted(reached, self.tail) + 1) * self.bin_s
        return WarmWindow(head_s * (1.0 - self.head_margin), tail_s * (1.0 + self.tail_margin))

    def _forecast_s(self, intervals: NDArray[np.int64]) -> float:
        """Mean of the idle times, each older one weighted by `1 - newest_weight` of the next."""
        weights = (1.0 - self.newest_weight) ** np.arange(len(intervals))[::-1]
        return float(np.average(intervals, weights=weights))


def idle_intervals(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lengths of the runs of zeros, in samples."""
    silent = np.concatenate([[False], counts == 0, [False]])
    edges = np.flatnonzero(silent[1:] != silent[:-1])
    return (edges[1::2] - edges[::2]).astype(np.int64)


def _between_requests(function: FunctionView, seconds: int) -> NDArray[np.int64]:
    """Arrivals in each of the last seconds, from a request to the last one: a silence changes no answer."""
    if function.last_arrival_s == -math.inf:
        return np.zeros(0, dtype=np.int64)
    silent_s = max(0, math.floor(function.now_s) - 1 - math.floor(function.last_arrival_s))
    counts = function.history(seconds + silent_s)
    busy = np.flatnonzero(counts)
    return counts[busy[0] : len(counts) - silent_s] if len(busy) else counts[:0]


def _goes_at_once(function: FunctionView, window: WarmWindow) -> bool:
    """Whether an idle function may go to nothing now and still be launched again by the window's start."""
    if function.min_instances or function.waiting or not all(one.idle for one in function.instances):
        return False
    return function.now_s + function.cold_start_s < function.last_arrival_s + window.from_s


def _percentile(rising: NDArray[np.int64], percent: float) -> float:
    """The percentile by linear interpolation; `np.percentile` takes twenty times as long for so few."""
    place = (len(rising) - 1) * percent / 100.0
    low = int(place)
    high = min(low + 1, len(rising) - 1)
    return float(rising[low] + (rising[high] - rising[low]) * (place - low))
