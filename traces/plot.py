"""One picture of a trace: when requests come, how evenly, from which functions, and with how many tokens."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from numpy.typing import NDArray

from traces.classes import FunctionClass
from traces.errors import TraceError, shown
from traces.statistics import TraceStatistics, describe
from traces.trace import Trace

# M. Okabe and K. Ito, Color Universal Design, 2008: told apart with every kind of colour vision.
_BLUE, _ORANGE, _GREEN, _VERMILLION, _PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
_GREY = "#BBBBBB"
_FUNCTION_COLOURS = (_BLUE, _ORANGE, _GREEN, _PURPLE)
_CLASS_MARKERS: dict[FunctionClass, tuple[str, str]] = {
    "steady": (_BLUE, "o"),
    "periodic": (_GREEN, "s"),
    "bursty": (_VERMILLION, "^"),
    "sporadic": (_ORANGE, "x"),
}

_WIDTH_IN, _HEIGHT_IN, _DPI = 11.0, 7.0, 120
_MOST_BINS = 240
_BIN_WIDTHS_S = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30),
    *(60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400),
)
_TIME_UNITS = (("s", 1, 300), ("min", 60, 3 * 3600), ("h", 3600, 4 * 86400), ("days", 86400, math.inf))
_LENGTHS = (("days", 86400), ("h", 3600), ("min", 60))
_SHORTEST_GAP_S = 1e-6  # times are microseconds
_GAP_BINS = 400
_ROWS = 2**20  # gaps looked at at once
_TOKEN_QUANTILES = 401
_LONGEST_NAME = 16
_ROUNDING = 1e-9  # as in Trace.rates
_LEGEND: dict[str, Any] = {"fontsize": "small", "frameon": False}


def plot_trace(trace: Trace, path: Path | str, *, statistics: TraceStatistics | None = None) -> None:
    """Draw a trace as a PNG; equal traces give equal bytes.

    Panels: requests a second over time, with the most requested functions stacked; how the gaps between
    requests are distributed, beside those of a Poisson process; the rate of each function by rank, with its
    class (for more than one function); how tokens are distributed (where there are tokens).

    Parameters
    ----------
    path
        Ends with `.png`.
    statistics
        What `describe` said of this trace, if it is known.

    Raises
    ------
    TraceError
        If the path is no `.png` or cannot be written, or the statistics are those of another trace.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise TraceError(f"found {shown(path.name)}, allowed is a name ending in .png", field="path")
    statistics = statistics or describe(trace)
    if (statistics.requests, len(statistics.classes)) != (len(trace), len(trace.functions)):
        raise TraceError(
            f"found those of {statistics.requests} requests and {len(statistics.classes)} functions, the "
            f"trace has {len(trace)} and {len(trace.functions)}",
            field="statistics",
        )
    image = BytesIO()
    with mpl.rc_context(mpl.rcParamsDefault):  # whatever the reader's own settings are
        _figure(trace, statistics).savefig(image, format="png", metadata={"Software": None})
    try:
        path.write_bytes(image.getvalue())
    except OSError as error:
        raise TraceError(f"cannot be written: {error.strerror}", path=path) from None


def _figure(trace: Trace, statistics: TraceStatistics) -> Figure:
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = [_draw_gaps]
    if len(trace.functions) > 1:
        panels.append(_draw_ranks)
    if trace.input_tokens is not None or trace.output_tokens is not None:
        panels.append(_draw_tokens)
    grid = figure.add_gridspec(2, len(panels))
    _draw_rates(figure.add_subplot(grid[0, :]), trace, statistics)
    for column, draw in enumerate(panels):
        draw(figure.add_subplot(grid[1, column]), trace, statistics)
    for axes in figure.axes:
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_headline(statistics), fontsize="medium")
    return figure


def _headline(statistics: TraceStatistics) -> str:
    functions = f"{statistics.functions:,} function" + "s" * (statistics.functions != 1)
    requests = f"{statistics.requests:,} request" + "s" * (statistics.requests != 1)
    parts = [f"{requests} of {functions}", f"{statistics.window_rps:.3g} requests/s"]
    if statistics.peak_minute_over_mean is not None:
        parts.append(f"peak minute {statistics.peak_minute_over_mean:.2f} times the mean")
    if statistics.iat_cv is not None:
        parts.append(f"CV of gaps {statistics.iat_cv:.2f}")
    return ", ".join(parts)


def _draw_rates(axes: Axes, trace: Trace, statistics: TraceStatistics) -> None:
    wide_enough = (width for width in _BIN_WIDTHS_S if trace.duration_s <= width * _MOST_BINS)
    bin_s = next(wide_enough, trace.duration_s / _MOST_BINS)
    unit, unit_s = next(
        (name, size) for name, size, longest_s in _TIME_UNITS if trace.duration_s <= longest_s
    )
    bins = max(1, math.floor(trace.duration_s / bin_s + _ROUNDING))
    edges_s = np.arange(bins + 1, dtype=np.float64) * bin_s
    edges_s[-1] = trace.duration_s  # the rest of the window belongs to the last bin: alone it may be a spike
    top = np.argsort(-trace.counts, kind="stable")[: len(_FUNCTION_COLOURS)].tolist()
    rest = _rates(trace.arrival_s, edges_s, bin_s)
    layers = []
    for at, colour in zip(top, _FUNCTION_COLOURS, strict=False):
        rate = _rates(trace.arrivals(at), edges_s, bin_s)
        rest = rest - rate
        share = trace.counts[at] / max(1, len(trace))
        layers.append((f"{share:.0%} {_short_name(trace.functions[at])}", colour, rate))
    if others := len(trace.functions) - len(top):
        layers.append((f"{others:,} other" + "s" * (others > 1), _GREY, np.maximum(0.0, rest)))
    below = np.zeros(edges_s.size - 1)
    for label, colour, rate in layers:
        axes.stairs(below + rate, edges_s / unit_s, baseline=below, fill=True, color=colour, label=label)
        below = below + rate
    axes.set(xlabel=f"time ({unit})", ylabel=f"requests/s, mean of {_length(bin_s)}")
    axes.set_xlim(0, trace.duration_s / unit_s)
    axes.set_ylim(0, 1.05 * below.max() if below.any() else 1)
    if len(layers) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), **_LEGEND)


def _rates(arrival_s: NDArray[np.float64], edges_s: NDArray[np.float64], bin_s: float) -> NDArray[np.float64]:
    """Return the arrivals a second between the edges, which are `bin_s` apart up to the last."""
    counts = np.zeros(edges_s.size - 1)
    for start in range(0, arrival_s.size, _ROWS):
        place = (arrival_s[start : start + _ROWS] / bin_s + _ROUNDING).astype(np.int64)
        counts += np.bincount(np.minimum(place, counts.size - 1), minlength=counts.size)
    rates: NDArray[np.float64] = counts / np.diff(edges_s)
    return rates


def _draw_gaps(axes: Axes, trace: Trace, statistics: TraceStatistics) -> None:
    axes.set(
        xscale="log", xlabel="gap between requests (s)", ylabel="share of gaps up to this", ylim=(0, 1.02)
    )
    if not statistics.span_s > 0:
        axes.text(0.5, 0.5, "no gaps", transform=axes.transAxes, ha="center")
        return
    edges_s = np.geomspace(_SHORTEST_GAP_S, max(1.0, trace.duration_s), _GAP_BINS)
    mean_s = statistics.span_s / (statistics.requests - 1)
    lines = [("all requests", _BLUE, np.sort(trace.arrival_s, kind="stable"), trace.offsets[:0])]
    if len(trace.functions) > 1:
        lines.append(("same function", _VERMILLION, trace.arrival_s, trace.offsets[1:-1]))
    longest_s = mean_s
    for label, colour, times, starts in lines:
        up_to = _gaps_up_to(times, starts, edges_s)
        if up_to is not None:
            axes.step(edges_s, up_to, where="post", color=colour, label=label)
            longest_s = max(longest_s, float(edges_s[np.argmax(up_to >= 1)]))
    poisson = -np.expm1(-edges_s / mean_s)
    axes.plot(edges_s, poisson, color="black", linestyle=":", linewidth=1, label="Poisson of that rate")
    axes.set_xlim(max(_SHORTEST_GAP_S, min(mean_s / 1e3, 1e-3)), 2 * longest_s)
    axes.legend(loc="lower right", **_LEGEND)


def _gaps_up_to(
    times: NDArray[np.float64], starts: NDArray[np.int64], edges_s: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return the share of gaps up to each edge, `None` without gaps; none lies before a row of `starts`."""
    counts = np.zeros(edges_s.size + 1, dtype=np.int64)
    for start in range(0, times.size - 1, _ROWS):
        gap_s = np.diff(times[start : start + _ROWS + 1])
        before = starts[(starts > start) & (starts <= start + gap_s.size)] - start - 1
        inside = np.ones(gap_s.size, dtype=np.bool_)
        inside[before] = False
        counts += np.bincount(np.searchsorted(edges_s, gap_s[inside]), minlength=counts.size)
    return np.cumsum(counts)[:-1] / counts.sum() if counts.any() else None


def _draw_ranks(axes: Axes, trace: Trace, statistics: TraceStatistics) -> None:
    order = np.argsort(-trace.counts, kind="stable")[: np.count_nonzero(trace.counts)]
    left_out = f" ({statistics.empty_functions:,} without requests)" if statistics.empty_functions else ""
    axes.set(xlabel=f"function, by rank{left_out}", ylabel="requests/s of the function")
    if not order.size:
        axes.text(0.5, 0.5, "no requests", transform=axes.transAxes, ha="center")
        return
    rate_rps = trace.counts[order] / trace.duration_s
    classes = np.array(statistics.classes)[order]
    rank = np.arange(1, order.size + 1)
    for name, (colour, marker) in _CLASS_MARKERS.items():
        chosen = classes == name
        shares = f"{_percent(statistics.class_functions[name])} / {_percent(statistics.class_requests[name])}"
        style: dict[str, Any] = {"linestyle": "none", "marker": marker, "markersize": 4, "color": colour}
        axes.plot(rank[chosen], rate_rps[chosen], label=f"{name}: {shares}", **style)
    axes.set(xscale="log", yscale="log", xlim=(0.8, 1.25 * order.size))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(LogFormatter())
        axis.set_minor_formatter(LogFormatter())  # labels within a decade only where there is but one
    axes.legend(loc="lower left", title="of functions / of requests", title_fontsize="small", **_LEGEND)


def _draw_tokens(axes: Axes, trace: Trace, statistics: TraceStatistics) -> None:
    share = np.linspace(0, 1, _TOKEN_QUANTILES)
    longest = 1
    for kind, colour, column in (
        ("input", _BLUE, trace.input_tokens),
        ("output", _ORANGE, trace.output_tokens),
    ):
        if column is None or not column.size:
            continue
        tokens = np.quantile(column, share)
        longest = max(longest, int(column.max()))
        axes.step(tokens, share, where="post", color=colour, label=f"{kind}, mean {column.mean():.0f}")
    axes.set_xscale("symlog", linthresh=1.0)  # zeros have a place
    axes.set(xlabel="tokens of a request", ylabel="share of requests up to this", ylim=(0, 1.02))
    axes.set_xlim(0, 1.1 * longest)
    if axes.lines:
        axes.legend(loc="upper left", **_LEGEND)


def _short_name(name: str) -> str:
    """Return a name that fits in a legend, in letters that the font has and without mathematics."""
    fits = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "..."
    signs = (sign if sign.isascii() and sign.isprintable() else "?" for sign in fits)
    return "".join(signs).replace("$", r"\$")


def _percent(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def _length(time_s: float) -> str:
    unit, unit_s = next(((name, size) for name, size in _LENGTHS if time_s >= size), ("s", 1))
    return f"{time_s / unit_s:.3g} {unit}"
