"""One picture of a validation: errors, intervals and tolerances; latencies and quotas of both worlds."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.agreement import MEASURES, Measure, quota_paths
from analysis.latency import latencies
from experiments.validation.document import put
from experiments.validation.judged import JudgedSystem, Row, Validation

# M. Okabe and K. Ito, Color Universal Design, 2008: told apart with every kind of colour vision.
COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
MARKERS: Final = ("o", "s", "^", "D", "v", "P")
BAND: Final = "#D9D9D9"
ALL: Final = ("all", "black", "*")

DPI: Final = 130
WIDTH_IN: Final = 12.0
ROW_IN: Final = 2.7
MOST_PATHS: Final = 8
QUOTA_BINS: Final = 120
"""Quotas may change with every batch: what is drawn is their mean over this part of the run."""
MOST_ERROR: Final = 1.0
"""Errors beyond it, in either direction, stand at the edge of their panel: the rest stays readable."""

_LEGEND: Final[dict[str, Any]] = {"fontsize": "x-small", "frameon": False}


def draw_validation(validation: Validation, path: Path) -> None:
    """Draw a validation as a PNG: its errors above, and below a row a system with latencies and quotas."""
    image = BytesIO()
    with mpl.rc_context(mpl.rcParamsDefault):  # whatever the reader's own settings are
        _figure(validation).savefig(image, format="png", dpi=DPI, metadata={"Software": None})
    put(path, image.getvalue())


def _figure(validation: Validation) -> Figure:
    systems = validation.systems
    colours = _colours(systems)
    names = [name for name in colours if any(name in system.latency for system in systems)]
    figure = Figure(figsize=(WIDTH_IN, 4.2 + ROW_IN * len(systems)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(_headline(validation), fontsize="medium")
    top, *rows = figure.subfigures(
        1 + len(systems), 1, height_ratios=[4.0, *(ROW_IN for _ in systems)], squeeze=False
    )[:, 0]
    _draw_errors(top, validation, colours)
    for row, system in zip(rows, systems, strict=True):
        panels = row.subplots(
            1, len(names) + 1, squeeze=False, width_ratios=[*(1.0 for _ in names), max(1.6, 0.8 * len(names))]
        )[0]
        for axes, name in zip(panels, names, strict=False):
            _draw_latencies(axes, system, name, colours[name])
        _draw_quotas(panels[-1], system, colours)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize="small")
    return figure


def _colours(systems: Sequence[JudgedSystem]) -> dict[str, str]:
    functions = [one.name for one in systems[0].pairs[0][0].manifest.functions]
    return {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(functions)}


def _headline(validation: Validation) -> str:
    judged = [row for system in validation.systems for row in system.rows if row.verdict is not None]
    within = sum(row.verdict == "within" for row in judged)
    repeats = max(len(system.pairs) for system in validation.systems)
    part = "" if validation.complete else " (incomplete)"
    return (
        f"{validation.experiment}{part}: simulated against {validation.backend} workers, "
        f"{repeats} repeat{'s' * (repeats > 1)}; {within} of {len(judged)} within tolerance"
    )


def _draw_errors(figure: Any, validation: Validation, colours: dict[str, str]) -> None:
    """Draw a panel a system: a line a measure, a marker a function, grey what is allowed."""
    shown = [
        measure
        for measure in MEASURES
        if measure.error_scale == 100.0
        and any(row.agreement.measure is measure for system in validation.systems for row in system.rows)
    ]
    styles = {name: (colour, MARKERS[at % len(MARKERS)]) for at, (name, colour) in enumerate(colours.items())}
    panels = figure.subplots(1, len(validation.systems), squeeze=False, sharex=True, sharey=True)[0]
    for axes, system in zip(panels, validation.systems, strict=True):
        for line, measure in enumerate(shown):
            tolerance = validation.tolerances.get(measure.name)
            if tolerance is not None:
                axes.barh(line, 200.0 * tolerance, height=0.9, left=-100.0 * tolerance, color=BAND, zorder=0)
            rows = [row for row in system.rows if row.agreement.measure is measure]
            _draw_line(axes, line, rows, styles)
        axes.axvline(0.0, color="black", linewidth=0.6, zorder=1)
        axes.set_title(system.system, fontsize="medium")
        axes.set_xlabel("error of the simulator (%; SVR: points)", fontsize="small")
        axes.grid(axis="x", alpha=0.3, linewidth=0.5)
    panels[0].set_yticks(range(len(shown)), [measure.label for measure in shown])
    panels[0].set_ylim(len(shown) - 0.4, -0.6)
    panels[0].set_xlim(*_limits(validation, shown))
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=5, label=name)
        for name, (colour, marker) in [(ALL[0], ALL[1:]), *styles.items()]
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(8, len(handles)), **_LEGEND)


def _limits(validation: Validation, shown: Sequence[Measure]) -> tuple[float, float]:
    """Return how far errors reach to both sides, in percent, tolerances included."""
    reach = [100.0 * validation.tolerances.get(measure.name, 0.0) for measure in shown] + [1.0]
    for system in validation.systems:
        for row in system.rows:
            error = row.agreement.mean_error
            if row.agreement.measure in shown and error is not None:
                reach.append(100.0 * min(MOST_ERROR, abs(error) + (row.agreement.half_width or 0.0)))
    return -1.08 * max(reach), 1.08 * max(reach)


def _draw_line(axes: Axes, line: int, rows: Sequence[Row], styles: dict[str, tuple[str, str]]) -> None:
    offsets = np.linspace(-0.28, 0.28, len(rows)) if len(rows) > 1 else [0.0]
    for row, offset in zip(rows, offsets, strict=True):
        agreement = row.agreement
        if agreement.mean_error is None:
            continue
        colour, marker = ALL[1:] if agreement.function is None else styles[agreement.function]
        axes.errorbar(
            100.0 * float(np.clip(agreement.mean_error, -MOST_ERROR, MOST_ERROR)),
            line + offset,
            xerr=None if agreement.half_width is None else 100.0 * agreement.half_width,
            color=colour,
            marker=marker,
            markersize=4.5,
            linewidth=1.0,
            capsize=2.0,
        )


def _draw_latencies(axes: Axes, system: JudgedSystem, name: str, colour: str) -> None:
    """Draw which part of requests takes up to how long, over all repeats."""
    index = [one.name for one in system.pairs[0][0].manifest.functions].index(name)
    longest_s = 0.0
    for world, style in ((0, "-"), (1, "--")):
        taken_s = np.sort(np.concatenate([latencies(pair[world], index) for pair in system.pairs]))
        if not len(taken_s):
            continue
        longest_s = max(longest_s, float(np.quantile(taken_s, 0.995)))
        part = np.arange(1, len(taken_s) + 1) / len(taken_s)
        axes.step(
            taken_s * 1e3,
            part,
            where="post",
            linestyle=style,
            color=colour if world == 0 else "black",
            linewidth=1.8 if world == 0 else 1.0,
            label=("sim", "real")[world],
        )
    slo_s = system.pairs[0][0].manifest.functions[index].slo_s
    if slo_s is not None and slo_s <= 1.4 * longest_s:
        axes.axvline(slo_s * 1e3, color="black", linestyle=":", linewidth=0.8)
        axes.annotate(
            "SLO", (slo_s * 1e3, 0.45), xytext=(3, 0), textcoords="offset points", fontsize="x-small"
        )
    axes.set_title(f"{system.system}: {name}", fontsize="small")
    axes.set_xlabel("latency (ms)", fontsize="small")
    axes.set_ylabel("requests up to this", fontsize="small")
    axes.set(ylim=(0, 1.02))
    axes.set_xlim(0, max(1.05 * longest_s * 1e3, 1e-3))
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.legend(loc="lower right", **_LEGEND)


def _draw_quotas(axes: Axes, system: JudgedSystem, colours: dict[str, str]) -> None:
    """Draw the quotas of instances in both worlds, in the repeat in which they are furthest apart."""
    apart = [sum(path.absolute for path in paths) for paths in system.paths_by_repeat]
    pair = system.pairs[apart.index(max(apart))]
    sim, real = (quota_paths(run) for run in pair)
    others = {(path.function, path.order): path for path in real}
    names = list(colours)
    edges_s = np.linspace(0.0, pair[0].manifest.simulated_s, QUOTA_BINS + 1)
    highest = 0.0
    for path in sim[:MOST_PATHS]:
        means = path.means(edges_s)
        axes.stairs(means, edges_s, baseline=None, color=colours[names[path.function]], linewidth=1.8)
        highest = max(highest, float(np.nanmax(means, initial=0.0)))
        other = others.get((path.function, path.order))
        if other is not None:
            means = other.means(edges_s)
            axes.stairs(means, edges_s, baseline=None, color="black", linewidth=0.8, linestyle="--")
            highest = max(highest, float(np.nanmax(means, initial=0.0)))
    left_out = f", {MOST_PATHS} of {len(sim)} instances" if len(sim) > MOST_PATHS else ""
    axes.set_title(f"{system.system}: quotas, seed {pair[0].manifest.seed}{left_out}", fontsize="small")
    axes.set_xlabel("time (s)", fontsize="small")
    axes.set_ylabel(f"quota, mean of {edges_s[1]:.2g} s", fontsize="small")
    axes.set_xlim(0, pair[0].manifest.simulated_s)
    axes.set_ylim(0, 1.05 * (highest or 1.0))
    axes.grid(alpha=0.3, linewidth=0.5)
    drawn = dict.fromkeys(names[path.function] for path in sim[:MOST_PATHS])
    handles = [Line2D([], [], color=colours[name], linewidth=1.8, label=name) for name in drawn]
    handles.append(Line2D([], [], color="black", linewidth=0.8, linestyle="--", label="real"))
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), **_LEGEND)
