"""What a trace is like, in numbers, and what a reader of its results should be warned of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from traces.classes import ClassRule, FunctionClass, classify
from traces.errors import TraceError, shown
from traces.trace import Trace

_ROUNDING = 1e-9  # as in Trace.rates: an arrival on the edge of a bin belongs to the later one
_ROWS = 2**20  # arrivals looked at at once, so that 25 million need no further copies
_LEAST_REQUESTS = 3  # two gaps; fewer do not vary
_TOP = (1, 5, 10)
_MINUTE_S, _SECOND_S = 60.0, 1.0
_SPREAD = "spread within the "  # how readers name in the provenance what they did to arrivals

# What is worth a warning; assumed.
_MANY_EQUAL_TIMES = 0.1  # of the gaps are 0
_MOSTLY_TICKS = 0.5  # of the gaps are 0, and
_SAME_TICK = 0.2  # the others differ by no more from their median: the clock ticks
_DOMINANT = 0.5  # of the requests from one function
_TOO_SLOW_RPS = 0.1
_SHORT_SPAN = 0.5  # of the window between the first and last request


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """Quantiles (linear between requests), maximum and mean of the tokens of a request, zeros included."""

    p50: float
    p95: float
    p99: float
    max: int
    mean: float


@dataclass(frozen=True, slots=True)
class TopFunction:
    """One of the most requested functions; `share` is its part of all requests."""

    name: str
    requests: int
    share: float
    function_class: FunctionClass


@dataclass(frozen=True, slots=True)
class TraceStatistics:
    """The statistics of a trace. What a trace is too small to have is `None`.

    All variances are those of the population (divided by their number). Minutes and seconds are counted from
    the start of the trace; one that the end of the window cuts off is left out.

    Attributes
    ----------
    requests, functions, empty_functions
        Numbers; empty functions have no request.
    duration_s
        The window.
    span_s
        From the first request to the last one.
    mean_rps, window_rps
        Requests over the span (over the window if they all come at once), as published tables have it, and
        over the window.
    peak_minute_over_mean, peak_second_over_mean
        Requests of the fullest minute (second) over the mean of all.
    fano_1s, fano_60s
        Variance over mean of the counts of a second and a minute: 1 for a Poisson process.
    iat_cv
        Coefficient of variation of the gaps between all requests in the order of time.
    iat_cv_median, iat_cv_above_one
        Median of the coefficients of functions with at least three requests, and the share of them above 1.
    class_functions, class_requests
        The share of functions, and of requests, of each class.
    top
        The most requested functions; of equals the first.
    top_share
        The share of requests that the first 1, 5 and 10 functions make.
    input_tokens, output_tokens
        `None` where requests have no tokens.
    warnings
        Sentences.
    classes
        The class of each function, in the order of the trace; not in the JSON.
    """

    requests: int
    functions: int
    empty_functions: int
    duration_s: float
    span_s: float
    mean_rps: float
    window_rps: float
    peak_minute_over_mean: float | None
    peak_second_over_mean: float | None
    fano_1s: float | None
    fano_60s: float | None
    iat_cv: float | None
    iat_cv_median: float | None
    iat_cv_above_one: float | None
    class_functions: Mapping[FunctionClass, float]
    class_requests: Mapping[FunctionClass, float]
    top: tuple[TopFunction, ...]
    top_share: Mapping[int, float]
    input_tokens: TokenStatistics | None
    output_tokens: TokenStatistics | None
    warnings: tuple[str, ...]
    classes: tuple[FunctionClass, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the statistics in the types of JSON."""
        report = asdict(replace(self, classes=()))
        del report["classes"]
        return report | {
            "top": [asdict(function) for function in self.top],
            "top_share": {str(functions): share for functions, share in self.top_share.items()},
            "warnings": list(self.warnings),
        }


def describe(trace: Trace, *, top: int = 5, rule: ClassRule | None = None) -> TraceStatistics:
    """Describe a trace.

    Parameters
    ----------
    top
        How many of the most requested functions to name.
    rule
        The thresholds of the classes.

    Raises
    ------
    TraceError
        If `top` is no number from 0, or the classes cannot be told.
    """
    if isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 0:
        raise TraceError(f"found {shown(top)}, allowed are integers from 0", field="top")
    times = trace.arrival_s if len(trace.functions) == 1 else np.sort(trace.arrival_s, kind="stable")
    span_s = float(times[-1] - times[0]) if times.size else 0.0
    gaps = _gaps(times)
    by_minute = _counts_of_bins(times, _MINUTE_S, trace.duration_s)
    by_second = _counts_of_bins(times, _SECOND_S, trace.duration_s)
    iat_cv = _iat_cv_of_functions(trace)
    classes = classify(trace, rule)
    counts = trace.counts
    most_first = np.argsort(-counts, kind="stable")
    shares = counts[most_first] / max(1, len(trace))
    return TraceStatistics(
        requests=len(trace),
        functions=len(trace.functions),
        empty_functions=int(np.count_nonzero(counts == 0)),
        duration_s=trace.duration_s,
        span_s=span_s,
        mean_rps=len(trace) / (span_s or trace.duration_s),
        window_rps=len(trace) / trace.duration_s,
        peak_minute_over_mean=by_minute.peak_over_mean,
        peak_second_over_mean=by_second.peak_over_mean,
        fano_1s=by_second.fano,
        fano_60s=by_minute.fano,
        iat_cv=gaps.cv,
        iat_cv_median=float(np.median(iat_cv)) if iat_cv.size else None,
        iat_cv_above_one=float((iat_cv > 1).mean()) if iat_cv.size else None,
        class_functions=_mix(classes, np.ones(len(classes), dtype=np.int64)),
        class_requests=_mix(classes, counts),
        top=tuple(
            TopFunction(trace.functions[at], int(counts[at]), float(share), classes[at])
            for at, share in zip(most_first[:top].tolist(), shares, strict=False)
        ),
        top_share={first: float(shares[:first].sum()) for first in _TOP},
        input_tokens=_token_statistics(trace.input_tokens),
        output_tokens=_token_statistics(trace.output_tokens),
        warnings=tuple(_warnings(trace, span_s, gaps, most_first)),
        classes=classes,
    )


@dataclass(frozen=True, slots=True)
class _Gaps:
    """Gaps between neighbours in time: their variation, the share of zeros, and what the others all are."""

    cv: float | None
    zero_share: float
    tick_s: float | None


def _gaps(times: NDArray[np.float64]) -> _Gaps:
    if times.size < _LEAST_REQUESTS:
        return _Gaps(None, 0.0, None)
    gaps = times.size - 1
    mean_s = float(times[-1] - times[0]) / gaps
    square, zeros = 0.0, 0
    for start, stop in _blocks(gaps):
        gap_s = np.diff(times[start : stop + 1])
        square += float(np.square(gap_s - mean_s).sum())
        zeros += int(np.count_nonzero(gap_s == 0))
    zero_share = zeros / gaps
    cv = math.sqrt(square / gaps) / mean_s if mean_s > 0 else None
    return _Gaps(cv, zero_share, _tick_s(times) if _MOSTLY_TICKS <= zero_share < 1 else None)


def _tick_s(times: NDArray[np.float64]) -> float | None:
    """Return the distance of the distinct times, `None` if they differ in it."""
    gap_s = np.concatenate(
        [
            gap[gap > 0]
            for gap in (np.diff(times[start : stop + 1]) for start, stop in _blocks(times.size - 1))
        ]
    )
    low, usual, high = np.quantile(gap_s, [0.1, 0.5, 0.9]).tolist()
    return usual if max(usual - low, high - usual) <= _SAME_TICK * usual else None


@dataclass(frozen=True, slots=True)
class _BinCounts:
    """What the counts of equal bins come to; `None` where there is no whole bin or no request in one."""

    peak_over_mean: float | None
    fano: float | None


def _counts_of_bins(times: NDArray[np.float64], width_s: float, duration_s: float) -> _BinCounts:
    bins = math.floor(duration_s / width_s + _ROUNDING)
    if bins > times.size:
        place = np.floor(times / width_s + _ROUNDING)
        counts = np.unique(place[place < bins], return_counts=True)[1]
    else:
        edges = np.searchsorted(times, (np.arange(bins + 1) - _ROUNDING) * width_s)
        counts = edges[1:] - edges[:-1]
    total = int(counts.sum())
    if not total:
        return _BinCounts(None, None)
    mean = total / bins
    variance = float(np.square(counts, dtype=np.float64).sum()) / bins - mean**2  # empty bins included
    return _BinCounts(peak_over_mean=int(counts.max()) / mean, fano=variance / mean)


def _iat_cv_of_functions(trace: Trace) -> NDArray[np.float64]:
    """Return the coefficient of variation of the gaps of each function that has enough of them."""
    starts, ends = trace.offsets[:-1], trace.offsets[1:]
    chosen = trace.counts >= _LEAST_REQUESTS
    gaps = np.maximum(1, trace.counts - 1)
    mean_s = np.zeros(gaps.size)
    mean_s[chosen] = (trace.arrival_s[ends[chosen] - 1] - trace.arrival_s[starts[chosen]]) / gaps[chosen]
    square = np.zeros(gaps.size)
    for start, stop in _blocks(len(trace) - 1):
        rows = np.clip(trace.offsets, start, stop)
        owner = np.repeat(np.arange(gaps.size), rows[1:] - rows[:-1])
        around_mean = np.diff(trace.arrival_s[start : stop + 1]) - mean_s[owner]
        last = ends[(ends > start) & (ends <= stop)] - 1
        around_mean[last - start] = 0.0  # what lies between two functions is no gap
        square += np.bincount(owner, weights=np.square(around_mean), minlength=gaps.size)
    varies = chosen & (mean_s > 0)
    cv: NDArray[np.float64] = np.sqrt(square[varies] / gaps[varies]) / mean_s[varies]
    return cv


def _mix(classes: tuple[FunctionClass, ...], weights: NDArray[np.int64]) -> dict[FunctionClass, float]:
    """Return the share of the weights that each class has."""
    total: Counter[FunctionClass] = Counter()
    for name, weight in zip(classes, weights.tolist(), strict=True):
        total[name] += weight
    return {name: total[name] / max(1, total.total()) for name in get_args(FunctionClass)}


def _token_statistics(tokens: NDArray[np.int32] | None) -> TokenStatistics | None:
    if tokens is None or not tokens.size:
        return None
    p50, p95, p99 = np.quantile(tokens, [0.5, 0.95, 0.99]).tolist()
    return TokenStatistics(p50, p95, p99, int(tokens.max()), float(tokens.mean(dtype=np.float64)))


def _warnings(trace: Trace, span_s: float, gaps: _Gaps, most_first: NDArray[np.intp]) -> Iterator[str]:
    if not len(trace):
        yield "The trace holds no request."
        return
    equal = _percent(gaps.zero_share)
    if gaps.tick_s is not None:
        yield f"{equal} of the gaps are 0: arrivals come in ticks of {_short(gaps.tick_s)} s."
    elif gaps.zero_share >= _MANY_EQUAL_TIMES:
        yield f"{equal} of the gaps are 0: many requests arrive at equal times."
    for moment, spread in _spreads(trace.provenance):
        yield f"Arrivals inside a {moment} are spread {spread}: gaps shorter than that were not observed."
    share = float(trace.counts[most_first[0]]) / len(trace)
    if len(trace.functions) > 1 and share > _DOMINANT:
        yield f"One function ({trace.functions[most_first[0]]}) makes {_percent(share)} of the requests."
    if empty := int(np.count_nonzero(trace.counts == 0)):
        yield f"{empty} of {len(trace.functions)} functions have no request."
    rate_rps = len(trace) / trace.duration_s
    if rate_rps < _TOO_SLOW_RPS:
        yield f"{_short(rate_rps)} requests a second load no GPU: scale the rate or compress the time."
    if span_s < _SHORT_SPAN * trace.duration_s:
        yield f"All requests lie within {_short(span_s)} s of the window of {_short(trace.duration_s)} s."
    yield from _cost_warnings(trace)


def _cost_warnings(trace: Trace) -> Iterator[str]:
    """Warn of what the trace does not know about the work of its requests."""
    execution_s = trace.attributes.get("execution_s")
    unknown = len(trace.functions)
    if execution_s is not None and execution_s.dtype.kind in "fiu":
        unknown = int(np.count_nonzero(np.isnan(execution_s)))
    tokens = [
        (kind, column)
        for kind, column in (("input", trace.input_tokens), ("output", trace.output_tokens))
        if column is not None
    ]
    if unknown == len(trace.functions) and not tokens:
        yield "The trace has neither durations nor tokens: what a request costs must come from elsewhere."
    elif unknown < len(trace.functions) and unknown:
        yield f"The duration of {unknown} of {len(trace.functions)} functions is unknown."
    for kind, column in tokens:
        if zeros := int(np.count_nonzero(column == 0)):
            yield f"{zeros} of {len(trace)} requests have 0 {kind} tokens: failed, or not recorded."


def _spreads(provenance: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Find in which unit of time arrivals were spread, and how, also in the parts of a merged trace."""
    found: dict[tuple[str, str], None] = {}
    waiting: list[object] = [provenance]
    while waiting:
        account = waiting.pop()
        if not isinstance(account, Mapping):
            continue
        for listed in (account.get("parts"), account.get("transforms")):
            waiting += listed if isinstance(listed, list) else []
        name = str(account.get("transform", ""))
        if name.startswith(_SPREAD):
            how = "evenly" if account.get("spread") == "even" else "at random"
            found[name.removeprefix(_SPREAD), how] = None
    yield from sorted(found)


def _percent(share: float) -> str:
    return f"{_short(100 * share)} %"


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _blocks(rows: int) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) of rows that are looked at at once."""
    for start in range(0, rows, _ROWS):
        yield start, min(rows, start + _ROWS)
