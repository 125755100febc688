"""Fits of a `LatencySurface` and of a `StepCurve` to raw points, with what they leave uncertain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from profiles.errors import ProfileError
from profiles.surface import ROUND_DIGITS, Covariance, HeldOut, LatencySurface, Point
from profiles.training import StepCurve
from profiles.uncertainty import Floats, covariance, relative_gradient, smooth_maxima

COEFFICIENT_DIGITS = 6
"""Significant digits a fitted coefficient is kept with; far finer than the noise of single runs."""

MAX_SHARPNESS = 20.0
"""Upper bound of `g`: beyond it the smooth maximum is a maximum."""

ROBUST_SCALE = 0.01
"""Relative errors well above this weigh linearly, not squared: single runs have outliers above 30 %."""

SHARPNESS_STARTS = (1.5, 3.0, 6.0)
"""The fit is not convex in `g`; it starts from each of these and keeps the best."""

AT_BOUND = 1e-5
"""How near its bound, in units of the fastest point, a coefficient lies at it: the solver stays inside."""

SURFACE = ("l0_s", "f1_s", "w1_s", "w0_s", "g")
STEP = ("floor_s", "work_s", "g")
STARTS = {"l0_s": 0.8, "f1_s": 0.05, "w1_s": 0.1, "w0_s": 0.1, "floor_s": 0.5, "work_s": 0.5}
"""Where the solver starts, in units of the fastest point."""


@dataclass(frozen=True, slots=True)
class SurfaceFit:
    """Coefficients of a `LatencySurface`, and how far to trust them.

    Attributes
    ----------
    l0_s, f1_s, w1_s, w0_s, g
        The coefficients, as in `LatencySurface`.
    mean_error, max_error
        Relative error over the points it was fitted to.
    covariance
        Covariance of the coefficients, in their order and units (see `profiles.uncertainty.covariance`).
    at_bound
        Names of the coefficients that ended at a bound of the fit: the points would rather have them beyond
        it, or do not tell them at all.
    held_out
        The error over the points that were held out, if any were.
    """

    l0_s: float
    f1_s: float
    w1_s: float
    w0_s: float
    g: float
    mean_error: float
    max_error: float
    covariance: Covariance
    at_bound: tuple[str, ...] = ()
    held_out: HeldOut | None = None


@dataclass(frozen=True, slots=True)
class StepFit:
    """Coefficients of a `StepCurve`, and how far to trust them; the rest as in `SurfaceFit`."""

    floor_s: float
    work_s: float
    g: float
    mean_error: float
    max_error: float
    covariance: Covariance
    at_bound: tuple[str, ...] = ()
    held_out: HeldOut | None = None


def fit_surface(points: Sequence[Point]) -> SurfaceFit:
    """Fit the surface to raw points by robust least squares of the relative error.

    Parameters
    ----------
    points
        At least six measurements, at two or more batches and two or more shares, that are not held out. The
        fit is scored on those that are.

    Raises
    ------
    ProfileError
        If the points cannot determine five coefficients.
    """
    fitted = [point for point in points if not point.held_out]
    if len(fitted) < 6 or len({p.batch for p in fitted}) < 2 or len({p.share for p in fitted}) < 2:
        raise ProfileError(f"points: found {len(fitted)}, a fit needs at least 6 over 2 batches and 2 shares")
    found = _solve(fitted, SURFACE)
    errors = _relative_errors(found.values, fitted)
    l0_s, f1_s, w1_s, w0_s, g = found.values
    return SurfaceFit(
        l0_s,
        f1_s,
        w1_s,
        w0_s,
        g,
        _rounded(errors.mean()),
        _rounded(errors.max()),
        found.covariance,
        found.at_bound,
        _score(found.values, points),
    )


def fit_step_curve(points: Sequence[Point]) -> StepFit:
    """Fit the curve of a training's step over the share, as `fit_surface`.

    Parameters
    ----------
    points
        Measurements of one batch size, not held out at three or more shares.

    Raises
    ------
    ProfileError
        If the points have several batch sizes, or too few shares.
    """
    batches = sorted({point.batch for point in points})
    if len(batches) > 1:
        raise ProfileError(f"points: found batches {batches}, a training is fitted at one batch size")
    fitted = [point for point in points if not point.held_out]
    if len({p.share for p in fitted}) < 3:
        raise ProfileError(f"points: found {len(fitted)}, a fit of a step needs at least 3 shares")
    found = _solve(fitted, STEP)
    floor_s, work_s, g = found.values
    as_surface = (floor_s, 0.0, 0.0, work_s, g)
    errors = _relative_errors(as_surface, fitted)
    return StepFit(
        floor_s,
        work_s,
        g,
        _rounded(errors.mean()),
        _rounded(errors.max()),
        found.covariance,
        found.at_bound,
        _score(as_surface, points),
    )


def surface_from_points(points: Sequence[Point]) -> LatencySurface:
    """Fit a surface that carries its points, its errors and the range it was fitted on.

    Raises
    ------
    ProfileError
        As `fit_surface`.
    """
    fit = fit_surface(points)
    batches = [point.batch for point in points if not point.held_out]
    shares = [point.share for point in points if not point.held_out]
    return LatencySurface(
        fit.l0_s,
        fit.f1_s,
        fit.w1_s,
        fit.w0_s,
        fit.g,
        batches=(min(batches), max(batches)),
        shares=(min(shares), max(shares)),
        fit_mean_error=fit.mean_error,
        fit_max_error=fit.max_error,
        points=tuple(points),
        covariance=fit.covariance,
        held_out=fit.held_out,
    )


def step_curve_from_points(points: Sequence[Point]) -> StepCurve:
    """Fit a step curve that carries its points, its errors and the range it was fitted on.

    Raises
    ------
    ProfileError
        As `fit_step_curve`.
    """
    fit = fit_step_curve(points)
    shares = [point.share for point in points if not point.held_out]
    return StepCurve(
        fit.floor_s,
        fit.work_s,
        fit.g,
        shares=(min(shares), max(shares)),
        fit_mean_error=fit.mean_error,
        fit_max_error=fit.max_error,
        points=tuple(points),
        covariance=fit.covariance,
        held_out=fit.held_out,
    )


@dataclass(frozen=True, slots=True)
class _Solution:
    values: tuple[float, ...]
    covariance: Covariance
    at_bound: tuple[str, ...]


def _solve(points: Sequence[Point], names: tuple[str, ...]) -> _Solution:
    """Fit the coefficients of these names, in units of the fastest point, so that all are of order one."""
    batch, share, seconds = _columns(points)
    unit_s = float(seconds.min())
    scale = np.array([1.0 if name == "g" else unit_s for name in names])
    lower = np.array([_least(name, unit_s) for name in names])
    upper = np.array([MAX_SHARPNESS if name == "g" else np.inf for name in names])

    def relative_error(scaled: Floats) -> Floats:
        error: Floats = smooth_maxima(_as_surface(scaled * scale, names), batch, share) / seconds - 1.0
        return error

    solutions = [
        least_squares(
            relative_error,
            x0=[STARTS.get(name, sharpness) for name in names],
            bounds=(lower, upper),
            loss="soft_l1",
            f_scale=ROBUST_SCALE,
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
            max_nfev=5000,
        )
        for sharpness in SHARPNESS_STARTS
    ]
    scaled = min(solutions, key=lambda solution: float(solution.cost)).x
    at_bound = (scaled < lower + AT_BOUND) | (scaled > upper - AT_BOUND)

    values = tuple(_significant(float(value)) for value in scaled * scale)
    error = relative_error(np.array(values) / scale)
    gradient = relative_gradient(_as_surface(np.array(values), names), batch, share)
    slopes = gradient[:, [_place(name) for name in names]] * scale * (1.0 + error)[:, None]
    matrix = covariance(slopes, error, ROBUST_SCALE)
    return _Solution(
        values,
        tuple(tuple(float(f"{cell:.6g}") for cell in row) for row in matrix * np.outer(scale, scale)),
        tuple(name for name, there in zip(names, at_bound, strict=True) if there),
    )


def _least(name: str, unit_s: float) -> float:
    """Lower bound of a coefficient; a step has some work, at least a nanosecond of it."""
    if name == "g":
        return 1.0
    return max(AT_BOUND / 10.0, 2e-9 / unit_s) if name == "work_s" else 0.0


def _place(name: str) -> int:
    """Where a coefficient stands in a surface; a step is a surface whose batch costs nothing."""
    return {"floor_s": 0, "work_s": 3}.get(name, SURFACE.index(name) if name in SURFACE else -1)


def _as_surface(coefficients: Floats, names: tuple[str, ...]) -> Floats:
    surface = np.zeros(len(SURFACE))
    for name, value in zip(names, coefficients, strict=True):
        surface[_place(name)] = value
    return surface


def _columns(points: Sequence[Point]) -> tuple[Floats, Floats, Floats]:
    table = np.array([(point.batch, point.share, point.seconds) for point in points], dtype=np.float64)
    return table[:, 0], table[:, 1], table[:, 2]


def _relative_errors(surface: Sequence[float], points: Sequence[Point]) -> Floats:
    batch, share, seconds = _columns(points)
    errors: Floats = np.abs(smooth_maxima(np.array(surface), batch, share) / seconds - 1.0)
    return errors


def _score(surface: Sequence[float], points: Sequence[Point]) -> HeldOut | None:
    held_out = [point for point in points if point.held_out]
    if not held_out:
        return None
    errors = _relative_errors(surface, held_out)
    return HeldOut(len(held_out), _rounded(errors.mean()), _rounded(errors.max()))


def _rounded(error: float) -> float:
    return round(float(error), 4)


def _significant(value: float) -> float:
    """Round to `COEFFICIENT_DIGITS`, and to what seconds are rounded to."""
    return round(float(f"{value:.{COEFFICIENT_DIGITS}g}"), ROUND_DIGITS)
