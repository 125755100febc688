"""A figure of one profile: what was measured, what was fitted to it, how far they are apart, and whence."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from profiles.beyond import SHARE_SLACK
from profiles.model import ModelProfile
from profiles.surface import LatencySurface, Point
from profiles.training import StepCurve, TrainingProfile
from profiles.uncertainty import Floats, smooth_maxima

Colour = tuple[float, float, float, float]

LEAST_SHARE = 0.03
"""Where curves begin, below most fitted ranges, so that it shows what lies outside."""

DODGE = 0.007
"""How far residuals of neighbouring batches stand apart, in shares: they lie on top of each other else."""

CAPTION_COLUMNS = 84
"""Characters of the caption under one panel."""

CAPTION_LINES = 3
"""Lines of one paragraph of the caption; a longer origin is cut, its file has it all."""

TRAINING_COLOUR: Colour = (0.80, 0.40, 0.0, 1.0)
"""Vermilion of a palette that the colour-blind can tell apart (Okabe & Ito, Color Universal Design)."""


def plot_profile(model: ModelProfile, path: str | Path) -> Path:
    """Draw a profile into an image file, of the kind its name says, and return the path.

    On the left the latency over the share of the SMs, by batch: the surface as lines, dashed outside the
    range it was fitted on, and the points. Beside it, where there are points, by how much the surface misses
    each, with those it did not see hollow. On the right the training's step. Below stands where it all comes
    from.
    """
    path = Path(path)
    panels = ["latency"]
    panels += ["residuals"] if model.latency.points else []
    panels += ["training"] if model.training is not None else []
    figure = Figure(figsize=(4.9 * len(panels), 5.6))
    FigureCanvasAgg(figure)
    axes = dict(zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True))

    colours = _colours(_batches(model.latency))
    _draw_latency(axes["latency"], model, colours)
    if "residuals" in axes:
        _draw_residuals(axes["residuals"], model.latency, colours)
    if model.training is not None:
        _draw_training(axes["training"], model.training)
    for one in axes.values():
        one.set_xlabel("share of the SMs")
        one.set_xlim(0.0, 1.03)
        one.set_xticks([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
        one.grid(alpha=0.25, linewidth=0.6)
        one.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_title(model), fontsize=12, x=0.02, ha="left", parse_math=False)
    caption = _caption(model, CAPTION_COLUMNS * len(panels))
    said: dict[str, Any] = {"fontsize": 7.5, "color": "0.25", "linespacing": 1.35, "parse_math": False}
    figure.text(0.02, 0.02, "\n".join(caption), va="bottom", ha="left", **said)
    figure.tight_layout(rect=(0.0, 0.03 + 0.026 * len(caption), 1.0, 0.99), w_pad=2.5)

    beside = path.with_name(f".{path.stem}.beside{path.suffix}")
    try:
        figure.savefig(beside, dpi=130)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _draw_latency(axes: Axes, model: ModelProfile, colours: dict[int, Colour]) -> None:
    latency = model.latency
    shares = np.geomspace(LEAST_SHARE, 1.0, 160)
    for batch, colour in colours.items():
        seconds = _surface_s(latency, np.full_like(shares, batch), shares)
        inside = _within(shares, latency.shares)
        axes.plot(shares, 1e3 * np.where(inside, seconds, np.nan), color=colour, linewidth=1.5)
        axes.plot(shares, 1e3 * np.where(inside, np.nan, seconds), color=colour, linewidth=1.0, linestyle=":")
        for held_out in (False, True):
            here = [p for p in latency.points if p.batch == batch and p.held_out == held_out]
            _draw_points(axes, here, colour, held_out)
    _shade_outside(axes, latency.shares)
    axes.set_yscale("log")
    _plain_milliseconds(axes)
    axes.set_ylabel("one decode step [ms]" if model.kind == "llm" else "one batch [ms]")
    (least, most), (low, high) = latency.batches, latency.shares
    _head(axes, f"range of the surface: batches {least} to {most}, shares {low:g} to {high:g}")
    _legend(axes, colours, latency)


def _draw_residuals(axes: Axes, latency: LatencySurface, colours: dict[int, Colour]) -> None:
    for place, (batch, colour) in enumerate(colours.items()):
        aside = (place - (len(colours) - 1) / 2.0) * DODGE
        for held_out in (False, True):
            here = sorted(p for p in latency.points if p.batch == batch and p.held_out == held_out)
            share, seconds = (np.array([getattr(p, name) for p in here]) for name in ("share", "seconds"))
            fitted = _surface_s(latency, np.full_like(share, batch), share)
            error = 100.0 * (fitted / seconds - 1.0)
            axes.plot(share + aside, error, linestyle="none", **_marker(colour, held_out))
            if not held_out:
                axes.plot(share + aside, error, color=colour, linewidth=0.7, alpha=0.35)
    axes.axhline(0.0, color="0.4", linewidth=0.8)
    reach = max(1.0, *(abs(number) for number in axes.get_ylim()))
    axes.set_ylim(-reach, reach)
    axes.set_ylabel("surface against measurement [%]")
    _head(axes, _errors(latency))


def _draw_training(axes: Axes, training: TrainingProfile) -> None:
    step = training.step
    shares = np.geomspace(LEAST_SHARE, 1.0, 160)
    milliseconds = 1e3 * _step_s(step, shares)
    if step.shares is None:
        axes.plot(shares, milliseconds, color=TRAINING_COLOUR, linewidth=1.5, linestyle="--")
    else:
        inside = _within(shares, step.shares)
        within, beyond = np.where(inside, milliseconds, np.nan), np.where(inside, np.nan, milliseconds)
        axes.plot(shares, within, color=TRAINING_COLOUR, linewidth=1.5)
        axes.plot(shares, beyond, color=TRAINING_COLOUR, linewidth=1.0, linestyle=":")
        _shade_outside(axes, step.shares)
    for held_out in (False, True):
        _draw_points(axes, [p for p in step.points if p.held_out == held_out], TRAINING_COLOUR, held_out)
    axes.set_yscale("log")
    _plain_milliseconds(axes)
    axes.set_ylabel(f"one step of {training.batch} samples [ms]")
    _head(axes, _errors(step))


def _draw_points(axes: Axes, points: Sequence[Point], colour: Colour, held_out: bool) -> None:
    axes.plot(
        [p.share for p in points],
        [1e3 * p.seconds for p in points],
        linestyle="none",
        **_marker(colour, held_out),
    )


def _marker(colour: Colour, held_out: bool) -> dict[str, Any]:
    return {
        "marker": "D" if held_out else "o",
        "markersize": 5.5 if held_out else 4.0,
        "markerfacecolor": "white" if held_out else colour,
        "markeredgecolor": colour,
        "markeredgewidth": 1.3 if held_out else 0.5,
    }


def _surface_s(latency: LatencySurface, batch: Floats, share: Floats) -> Floats:
    """Evaluate a surface past its memory: what a figure draws was asked by nobody."""
    coefficients = [latency.l0_s, latency.f1_s, latency.w1_s, latency.w0_s, latency.g]
    return smooth_maxima(np.array(coefficients), batch, share)


def _step_s(step: StepCurve, share: Floats) -> Floats:
    return smooth_maxima(np.array([step.floor_s, 0.0, 0.0, step.work_s, step.g]), np.ones_like(share), share)


def _within(shares: Floats, ends: tuple[float, float]) -> NDArray[np.bool_]:
    within: NDArray[np.bool_] = (shares >= ends[0] - SHARE_SLACK) & (shares <= ends[1] + SHARE_SLACK)
    return within


def _shade_outside(axes: Axes, ends: tuple[float, float]) -> None:
    for low, high in ((0.0, ends[0]), (ends[1], 1.03)):
        if high > low and not (low == ends[1] == 1.0):
            axes.axvspan(low, high, color="0.9", alpha=0.6, linewidth=0.0, zorder=0)


def _head(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=9, loc="left", color="0.25")


def _plain_milliseconds(axes: Axes) -> None:
    axes.yaxis.set_major_locator(LogLocator(base=10.0, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes, colours: dict[int, Colour], latency: LatencySurface) -> None:
    handles = [
        Line2D([], [], color=colour, linewidth=1.5, label=f"batch {batch}")
        for batch, colour in reversed(colours.items())
    ]
    grey: Colour = (0.4, 0.4, 0.4, 1.0)
    handles.append(Line2D([], [], color=grey, linestyle=":", label="extrapolated"))
    for held_out, label in ((False, "fitted point"), (True, "held-out point")):
        if any(point.held_out == held_out for point in latency.points):
            handles.append(Line2D([], [], linestyle="none", label=label, **_marker(grey, held_out)))
    axes.legend(handles=handles, fontsize=7.5, frameon=False, loc="upper right", ncols=2, columnspacing=1.2)


def _batches(latency: LatencySurface) -> list[int]:
    """Batches that were measured; without any, powers of two over the range."""
    measured = sorted({point.batch for point in latency.points})
    low, high = latency.batches
    powers = {2**power for power in range(high.bit_length()) if low <= 2**power <= high}
    return measured or sorted({low, high} | powers)


def _colours(batches: Sequence[int]) -> dict[int, Colour]:
    """Give each batch a colour of a scale that the colour-blind, and a grey print, keep in order."""
    places = np.linspace(0.0, 0.85, len(batches))
    return {batch: colormaps["viridis"](place) for batch, place in zip(batches, places, strict=True)}


def _title(model: ModelProfile) -> str:
    of = "seconds of a decode step" if model.kind == "llm" else "seconds of a batch"
    return f"{model.name}: {of} over the share of the SMs" + (
        " and of a training step" * bool(model.training)
    )


def _errors(fit: LatencySurface | StepCurve) -> str:
    """Say how well a fit meets what was measured."""
    if fit.fit_mean_error is None or fit.fit_max_error is None:
        return "not fitted to measurements (dashed)" if isinstance(fit, StepCurve) else "not fitted"
    said = f"error of the fit: mean {fit.fit_mean_error:.1%}, worst {fit.fit_max_error:.1%}"
    if fit.held_out is not None:
        said += f"; held out: {fit.held_out.mean_error:.1%}, {fit.held_out.max_error:.1%}"
    return said


def _caption(model: ModelProfile, columns: int) -> list[str]:
    """Say where the values come from, a paragraph each."""
    paragraphs = []
    named = (("Coefficients", "latency"), ("Points", "latency.points"), ("Training", "training.work_s"))
    for name, path in (*named, ("Training points", "training.points")):
        origin = model.provenance.get(path)
        if path == "training.work_s" and origin is not None and origin.source.startswith("See "):
            origin = model.provenance.get("training.floor_s", origin)
        if origin is not None:
            paragraphs.append(f"{name}: {origin.kind}. {origin.source}")
    if not paragraphs:
        paragraphs.append("The profile does not say where it comes from.")
    lines: list[str] = []
    for paragraph in paragraphs:
        lines += textwrap.wrap(paragraph, columns, max_lines=CAPTION_LINES, placeholder=" ...")
    return lines
