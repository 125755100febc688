"""Which kind of load a function brings: steady, periodic, bursty or sporadic.

INFless (ASPLOS 2022) and Dilu (ASPLOS 2025, section 5) evaluate on three typical Azure functions, named
bursty, periodic and sporadic, and give no rule. The rule here is ours, fitted to the three arrays of INFless.
It looks at the counts of a function in bins of equal length, and says only what chance does not explain:

* a *period* is a lag at which the counts return, again at its multiples, more often than random counts of
  the same spread would; or arrivals that keep to a clock. A drift, however strong, is not a period.
* a *burst* is a climb from the mean to a multiple of it that a Poisson process of that mean does not show.

The class is a statement about a bin: a cycle shorter than a bin is noise inside it, and a timer that fires
many times a bin is a steady load.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import scipy  # its parts are loaded when they are used: they take long
from numpy.typing import NDArray

from traces.errors import TraceError, shown
from traces.trace import Trace

FunctionClass = Literal["steady", "periodic", "bursty", "sporadic"]

_MINUTE_S = 60.0
_ROUNDING = 1e-9  # as in Trace.rates: an arrival on the edge of a bin belongs to the later one
_CELLS = 2**20  # counts held at once; the transforms of them take some ten times their memory
_ROWS = 2**20  # arrivals counted at once
_MOST_BINS = 2**21  # four years of minutes
_CONSTANT = 1e-20  # of the energy of the counts; what varies less is rounding

_WIDTHS = (1, 10, 60)  # bins taken as one: a day's cycle of rare requests does not show by the minute
_FEWEST_WIDE_BINS = 48
_MULTIPLES = 4  # of a period at which the counts are looked at, as far as they lie inside the window
_SEEN_CYCLES = 3  # a period must fit in the window so many times
_PROMINENCE = 0.2  # an autocorrelation that has not fallen and risen again by so much is a drift
_MEMORY = 0.2  # below this autocorrelation, bins count as independent
_SAME_PEAK = 0.9  # multiples of a period peak about as high as itself: the first of them is the period
_HARMONIC_SHARE = 0.25  # of the strongest harmonic's power; weaker ones do not shape the period

_FEWEST_BURSTS = 2
_LEAST_WITHOUT_TREND = 0.5  # of the spread of counts
_FEWEST_FIRINGS = 4
_FASTEST_TIMER = 0.9  # of a bin: a timer of one bin that is a little early is still one
_JITTER = 0.05  # of the period, where that is more than the resolution of a bin
_ON_TIME_SHARE = 0.9  # of the gaps; the others are pauses and missed firings


@dataclass(frozen=True, slots=True)
class ClassRule:
    """The thresholds of the classes, all of them ours: fitted to the arrays of INFless, but for the last.

    Attributes
    ----------
    bin_s
        Width of a bin in seconds. The public traces of functions count by the minute.
    periodic_autocorrelation
        Autocorrelation of the counts at a period, and its mean over the period's multiples, from which a
        function is periodic. INFless's periodic array has 0.66 and 0.47.
    sporadic_empty_share
        Share of empty bins from which a function without a period is sporadic, unless its bursts last.
        INFless's sporadic array has 0.67, its bursty one 0.38.
    lasting_autocorrelation
        Autocorrelation of neighbouring bins from which bursts last. INFless's sporadic array has 0.33, its
        bursty one 0.95.
    lasting_empty_share
        Share of empty bins from which a function is sporadic even if its bursts last. Taking
        `sporadic_empty_share` here makes every mostly silent function sporadic.
    bursty_cv
        Coefficient of variation of the rate (of the counts, without the noise of Poisson counts) from which a
        function is bursty. INFless's bursty array has 0.95, with its noise.
    bursty_peak_to_mean
        How far above the mean bin a burst climbs at least. INFless's bursty array has 3.5.
    significance
        Probability that random arrivals pass for a period or a burst, up to which it is believed. Assumed.

    Raises
    ------
    TraceError
        If a value is out of range.
    """

    bin_s: float = _MINUTE_S
    periodic_autocorrelation: float = 0.35
    sporadic_empty_share: float = 0.6
    lasting_autocorrelation: float = 0.5
    lasting_empty_share: float = 0.8
    bursty_cv: float = 0.5
    bursty_peak_to_mean: float = 2.5
    significance: float = 1e-3

    def __post_init__(self) -> None:
        for column in fields(self):
            value = getattr(self, column.name)
            highest = math.inf if column.name in ("bin_s", "bursty_cv", "bursty_peak_to_mean") else 1.0
            if not (math.isfinite(value) and 0 < value <= highest):
                allowed = "a finite number above 0" if highest > 1 else "above 0 and up to 1"
                raise TraceError(f"found {shown(value)}, allowed is {allowed}", field=column.name)


@dataclass(frozen=True, slots=True, eq=False)
class ClassAccount:
    """The class of each function and what it was told from, in the order of the trace.

    Attributes
    ----------
    classes
        F classes.
    period_s
        float64[F]; NaN where the function is not periodic.
    count_cv
        float64[F]: coefficient of variation of the counts of a bin; NaN for a function without requests.
    empty_share
        float64[F]: share of bins without a request.
    peak_to_mean
        float64[F]: the fullest bin over the mean bin; NaN for a function without requests.
    bins
        How many bins were looked at: the whole ones of the window, or its only one.
    """

    classes: tuple[FunctionClass, ...]
    period_s: NDArray[np.float64]
    count_cv: NDArray[np.float64]
    empty_share: NDArray[np.float64]
    peak_to_mean: NDArray[np.float64]
    bins: int


def classify(trace: Trace, rule: ClassRule | None = None) -> tuple[FunctionClass, ...]:
    """Return the class of each function, in the order of the trace (see `class_account`)."""
    return class_account(trace, rule).classes


def class_account(trace: Trace, rule: ClassRule | None = None) -> ClassAccount:
    """Tell the class of each function.

    In this order: a function with a period is `periodic`; one with mostly empty bins is `sporadic`, unless
    its bursts last; one with at least two bursts is `bursty`; the rest is `steady`. A bin that the end of the
    window cuts off is left out. Without a rule, bins are minutes, or longer in a window of years.

    Raises
    ------
    TraceError
        If the window holds too many bins.
    """
    rule = rule or ClassRule(bin_s=max(_MINUTE_S, trace.duration_s / _MOST_BINS))
    bins = max(1, math.floor(trace.duration_s / rule.bin_s + _ROUNDING))
    if bins > _MOST_BINS:
        raise TraceError(
            f"found {rule.bin_s:g}, which cuts {trace.duration_s:g} s into {bins} bins, allowed are "
            f"{_MOST_BINS}",
            field="bin_s",
        )
    classes: list[FunctionClass] = []
    measured: list[NDArray[np.float64]] = []
    for first, last in _portions(len(trace.functions), bins):
        load = _Load(_counts(trace, first, last, bins, rule.bin_s))
        period_s = np.full(last - first, math.nan)
        for width, coarse in load.coarser():
            period_s = np.where(np.isnan(period_s), _periods(coarse, rule) * width * rule.bin_s, period_s)
        for position in range(first, last):
            timer_s = _timer_period_s(trace.arrivals(position), bins, rule)
            if timer_s is not None:
                period_s[position - first] = timer_s
        bursty = _has_bursts(load, rule)
        lasting = bursty & (load.autocorrelation[:, 1] >= rule.lasting_autocorrelation)
        silent = load.empty_share >= np.where(lasting, rule.lasting_empty_share, rule.sporadic_empty_share)
        named = np.select([period_s > 0, silent, bursty], ["periodic", "sporadic", "bursty"], "steady")
        classes += named.tolist()
        measured.append(np.stack([period_s, load.cv, load.empty_share, load.peak_to_mean]))
    period_s, count_cv, empty_share, peak_to_mean = np.concatenate([np.empty((4, 0)), *measured], axis=1)
    return ClassAccount(tuple(classes), period_s, count_cv, empty_share, peak_to_mean, bins)


class _Load:
    """Counts of some functions, float64[F, B], and what is told from them."""

    def __init__(self, counts: NDArray[np.float64]) -> None:
        self.counts = counts
        self.bins = bins = counts.shape[1]
        self.mean = counts.mean(axis=1)
        with np.errstate(invalid="ignore"):  # a function without requests has neither
            self.cv = counts.std(axis=1) / self.mean
            self.peak_to_mean = counts.max(axis=1) / self.mean
        self.empty_share = (counts == 0).mean(axis=1)
        since_middle = np.arange(bins) - (bins - 1) / 2
        around_mean = counts - self.mean[:, np.newaxis]
        slope = around_mean @ since_middle / max(1.0, since_middle @ since_middle)
        self.residual = around_mean - slope[:, np.newaxis] * since_middle
        self.energy = np.square(self.residual).sum(axis=1)
        self.varies = self.energy > _CONSTANT * np.square(counts).sum(axis=1)
        self.autocorrelation = self._autocorrelation()

    def coarser(self) -> Iterator[tuple[int, _Load]]:
        """Yield how many bins are taken as one, and the load in such bins."""
        for width in _WIDTHS:
            bins = self.bins // width
            if width == 1:
                yield width, self
            elif bins >= _FEWEST_WIDE_BINS:
                whole = self.counts[:, : bins * width]
                yield width, _Load(whole.reshape(len(whole), bins, width).sum(axis=2))

    def _autocorrelation(self) -> NDArray[np.float64]:
        """Return the autocorrelation of the counts, their linear trend taken out, up to 2/3 of the window.

        Products are averaged over the pairs of bins that a lag has: a period gives 1 at every multiple.
        """
        lags = max(2, 2 * self.bins // 3 + 1)
        size = scipy.fft.next_fast_len(self.bins + lags, real=True)
        spectrum = scipy.fft.rfft(self.residual, size, axis=1)
        products: NDArray[np.float64] = scipy.fft.irfft(np.square(np.abs(spectrum)), size, axis=1)[:, :lags]
        pairs = np.maximum(1, self.bins - np.arange(lags))
        products *= np.where(self.varies, self.bins / np.where(self.varies, self.energy, 1.0), 0.0)[
            :, np.newaxis
        ]
        products /= pairs
        return products


def _periods(load: _Load, rule: ClassRule) -> NDArray[np.float64]:
    """Return the period of each function in bins, NaN where its counts do not return.

    A period is a peak of the autocorrelation that stands out of the trough before it, and again at its
    multiples. Whether chance explains it is asked as for coincidences: m independent events in n bins meet
    m^2 / n times at a lag if they fall at random, and m times if they return. Counts other than 0 and 1 have
    m = (sum x^2)^2 / sum x^4 (n over their kurtosis), and bins that resemble their neighbours count for
    fewer, by the sum of squared autocorrelations (M. S. Bartlett, J. R. Stat. Soc. Suppl. 8, 1946).
    """
    longest = load.bins // _SEEN_CYCLES
    if longest < 2:
        return np.full(len(load.counts), math.nan)
    near = load.autocorrelation[:, : longest + 2]
    memory_lost = np.maximum.accumulate(near < _MEMORY, axis=1)
    alike = 1 + 2 * np.where(memory_lost, 0.0, np.square(near))[:, 1:].sum(axis=1, keepdims=True)
    fourth_power = np.square(np.square(load.residual)).sum(axis=1)
    events = np.where(load.varies, load.energy**2 / np.where(load.varies, fourth_power, 1.0), 0.0)
    events_alone = events[:, np.newaxis] / alike

    lag = np.arange(longest + 1)
    returns, by_chance, total = (np.zeros((len(load.counts), lag.size)) for _ in range(3))
    multiples = np.zeros(lag.size)
    for multiple in range(1, _MULTIPLES + 1):
        reach = min(longest, (load.autocorrelation.shape[1] - 1) // multiple) + 1
        at_multiple = load.autocorrelation[:, : multiple * reach : multiple][:, :reach]
        overlap = 1 - multiple * lag[:reach] / load.bins
        returns[:, :reach] += events_alone * overlap * at_multiple
        by_chance[:, :reach] += events_alone**2 * alike / load.bins * overlap
        total[:, :reach] += at_multiple
        multiples[:reach] += 1

    here, before, after = near[:, 2:-1], near[:, 1:-2], near[:, 3:]
    trough = np.minimum.accumulate(near, axis=1)[:, 2:-1]
    least = rule.periodic_autocorrelation
    is_peak = (here > before) & (here >= after) & (here > least) & (here - trough > _PROMINENCE)
    is_peak &= ((total / multiples)[:, 2:] > least) & (events_alone > _FEWEST_FIRINGS - 0.5)
    expected, found = by_chance[:, 2:], (by_chance + returns)[:, 2:]
    chance = np.ones_like(here)
    chance[is_peak] = scipy.special.gammainc(
        found[is_peak], expected[is_peak]
    )  # that a Poisson count reaches `found`
    looked_at = len(_WIDTHS) * np.maximum(1.0, longest / alike)
    height = np.where(chance * looked_at < rule.significance, here, 0.0)
    highest = height.max(axis=1, initial=0.0)
    periods = np.full(len(load.counts), math.nan)
    for function in np.flatnonzero(highest):
        first = int(np.argmax(height[function] >= _SAME_PEAK * highest[function]))
        beside = height[function, first : first + (first + 2) // 2]  # a broad peak has more than one top
        periods[function] = _fundamental(load.residual[function], 2 + first + int(np.argmax(beside)))
    return periods


def _fundamental(residual: NDArray[np.float64], lag: int) -> float:
    """Return the period of counts that return after `lag` bins, which may hold several periods.

    A period that is no whole number of bins is first seen at a multiple that is one. Folded at that lag, the
    counts have power only in multiples of the harmonic that the period is.
    """
    cycles = len(residual) // lag
    profile = residual[: cycles * lag].reshape(cycles, lag).mean(axis=0)
    power = np.square(np.abs(np.fft.rfft(profile)))[1:]
    strong = 1 + np.flatnonzero(power >= _HARMONIC_SHARE * power.max())
    return lag / math.gcd(*strong.tolist())


def _timer_period_s(arrival_s: NDArray[np.float64], bins: int, rule: ClassRule) -> float | None:
    """Return the period of arrivals that come one by one at equal distances, `None` if they do not.

    Distances are told to the resolution of a bin or a twentieth of the period, whichever is more.
    """
    firings = arrival_s.size
    fastest_s = _FASTEST_TIMER * rule.bin_s
    if not _FEWEST_FIRINGS <= firings <= bins / _FASTEST_TIMER / _ON_TIME_SHARE + 1:
        return None
    gap_s = np.diff(arrival_s)
    usual_s = float(np.median(gap_s))
    if usual_s >= fastest_s and _gaps_are_equal(gap_s, usual_s, rule):
        return usual_s
    mean_s = float(arrival_s[-1] - arrival_s[0]) / (firings - 1)
    if mean_s >= fastest_s and _keeps_to_a_clock(arrival_s, mean_s, rule):
        return mean_s
    return None


def _gaps_are_equal(gap_s: NDArray[np.float64], usual_s: float, rule: ClassRule) -> bool:
    """Whether nearly all gaps are near their median, against gaps of a Poisson process of that median."""
    tolerance = max(rule.bin_s / 2 / usual_s, _JITTER)
    near = int(np.count_nonzero(np.abs(gap_s / usual_s - 1) <= tolerance))
    if near < _ON_TIME_SHARE * gap_s.size:
        return False
    is_near = 2 ** -(1 - min(1.0, tolerance)) - 2 ** -(1 + tolerance)
    # one gap is the median itself
    return bool(scipy.special.bdtrc(near - 2, gap_s.size - 1, is_near) < rule.significance)


def _keeps_to_a_clock(arrival_s: NDArray[np.float64], mean_s: float, rule: ClassRule) -> bool:
    """Whether no arrival is far from its tick, against arrivals that are uniform between the first and last.

    This finds timers whose firings are counted a little early or late, where the gaps alone look irregular.
    """
    inner = arrival_s.size - 2
    late_s = arrival_s - arrival_s[0] - mean_s * np.arange(arrival_s.size)
    furthest_s = float(np.abs(late_s).max())
    if furthest_s > max(rule.bin_s, _JITTER * mean_s):
        return False
    reach = max(furthest_s, rule.bin_s / 2) / mean_s
    if reach <= 0.5:  # each of the inner arrivals in an interval of its own, in any order
        chance = math.exp(scipy.special.gammaln(inner + 1) + inner * math.log(2 * reach / (inner + 1)))
    else:  # so near, also one step of their distribution further, by the test of Kolmogorov and Smirnov
        distance, root = (reach + 1) / (inner + 1), math.sqrt(inner)
        chance = 1 - float(
            scipy.special.kolmogorov(distance * (root + 0.12 + 0.11 / root))
        )  # for few: Stephens, 1970
    return chance < rule.significance


def _has_bursts(load: _Load, rule: ClassRule) -> NDArray[np.bool_]:
    """Return which functions climb from their mean to a multiple of it, more than once and not by chance.

    Noise on a steep trend may climb so as well: a trend must not explain most of the spread.
    """
    mean = load.mean[:, np.newaxis]
    high = (load.counts >= rule.bursty_peak_to_mean * mean) & (mean > 0)
    is_known = high | (load.counts <= mean)
    known_at = np.maximum.accumulate(np.where(is_known, np.arange(load.bins), 0), axis=1)
    in_burst = np.take_along_axis(high, known_at, axis=1)  # from reaching the height to the mean
    bursts = in_burst[:, 0] + np.count_nonzero(in_burst[:, 1:] & ~in_burst[:, :-1], axis=1)
    spread = load.bins * np.square(load.counts - mean).mean(axis=1)
    is_requested = load.mean > 0
    dispersion = spread / np.where(is_requested, load.mean, 1.0)  # chi-square for Poisson counts
    freedom = load.bins - 1
    chance = scipy.special.gammaincc(freedom / 2, dispersion / 2) if freedom else np.ones_like(dispersion)
    rate_cv_square = (spread / load.bins - load.mean) / np.where(is_requested, np.square(load.mean), 1.0)
    found: NDArray[np.bool_] = (
        (bursts >= _FEWEST_BURSTS)
        & (chance < rule.significance)
        & (rate_cv_square >= rule.bursty_cv**2)
        & (load.energy > _LEAST_WITHOUT_TREND * spread)
    )
    return found


def _portions(functions: int, bins: int) -> Iterator[tuple[int, int]]:
    """Yield [first, last) of the functions whose counts are held at once."""
    step = max(1, _CELLS // bins)
    for first in range(0, functions, step):
        yield first, min(functions, first + step)


def _counts(trace: Trace, first: int, last: int, bins: int, bin_s: float) -> NDArray[np.float64]:
    """Return float64[last - first, bins]: arrivals of some functions in each bin."""
    counts = np.zeros((last - first) * bins)
    rows = trace.offsets[first : last + 1]
    for start in range(int(rows[0]), int(rows[-1]), _ROWS):
        stop = min(start + _ROWS, int(rows[-1]))
        place = (trace.arrival_s[start:stop] / bin_s + _ROUNDING).astype(np.int64)
        ends = np.clip(rows, start, stop)
        owner = np.repeat(np.arange(last - first), ends[1:] - ends[:-1])
        cell = (owner * bins + place)[place < bins]
        counts += np.bincount(cell, minlength=counts.size)
    return counts.reshape(last - first, bins)
