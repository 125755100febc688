"""Fit of a `LatencySurface` to raw points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from profiles.errors import ProfileError
from profiles.surface import ROUND_DIGITS, LatencySurface, Point

Floats = NDArray[np.float64]

COEFFICIENT_DIGITS = 6
"""Significant digits a fitted coefficient is kept with; far finer than the noise of single runs."""

MAX_SHARPNESS = 20.0
"""Upper bound of `g`: beyond it the smooth maximum is a maximum."""

ROBUST_SCALE = 0.01
"""Relative errors well above this weigh linearly, not squared: single runs have outliers above 30 %."""

SHARPNESS_STARTS = (1.5, 3.0, 6.0)
"""The fit is not convex in `g`; it starts from each of these and keeps the best."""


@dataclass(frozen=True, slots=True)
class SurfaceFit:
    """Coefficients of a `LatencySurface`, and its mean and maximum relative error over the points."""

    l0_s: float
    f1_s: float
    w1_s: float
    w0_s: float
    g: float
    mean_error: float
    max_error: float


def fit_surface(points: Sequence[Point]) -> SurfaceFit:
    """Fit the surface to raw points by robust least squares of the relative error.

    Parameters
    ----------
    points
        At least six measurements, at two or more batches and two or more shares.

    Raises
    ------
    ProfileError
        If the points cannot determine five coefficients.
    """
    if len(points) < 6 or len({p.batch for p in points}) < 2 or len({p.share for p in points}) < 2:
        raise ProfileError(f"points: found {len(points)}, a fit needs at least 6 over 2 batches and 2 shares")
    batch, share, seconds = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))

    # Coefficients are fitted in units of the fastest point, so that all are of order one.
    unit_s = float(seconds.min())
    scale = np.array([unit_s, unit_s, unit_s, unit_s, 1.0])

    def relative_error(scaled: Floats) -> Floats:
        error: Floats = _surface(scaled * scale, batch, share) / seconds - 1.0
        return error

    solutions = [
        least_squares(
            relative_error,
            x0=[0.8, 0.05, 0.1, 0.1, sharpness],
            bounds=([0.0, 0.0, 0.0, 0.0, 1.0], [np.inf, np.inf, np.inf, np.inf, MAX_SHARPNESS]),
            loss="soft_l1",
            f_scale=ROBUST_SCALE,
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
            max_nfev=5000,
        )
        for sharpness in SHARPNESS_STARTS
    ]
    best = min(solutions, key=lambda solution: float(solution.cost))
    l0_s, f1_s, w1_s, w0_s, g = (_significant(float(value)) for value in best.x * scale)
    error = np.abs(relative_error(np.array([l0_s, f1_s, w1_s, w0_s, g]) / scale))
    return SurfaceFit(l0_s, f1_s, w1_s, w0_s, g, round(float(error.mean()), 4), round(float(error.max()), 4))


def surface_from_points(points: Sequence[Point]) -> LatencySurface:
    """Fit a surface that carries its points, its errors and the range it was fitted on.

    Raises
    ------
    ProfileError
        As `fit_surface`.
    """
    fit = fit_surface(points)
    batches, shares = [point.batch for point in points], [point.share for point in points]
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
    )


def _surface(coefficients: Floats, batch: Floats, share: Floats) -> Floats:
    l0_s, f1_s, w1_s, w0_s, g = coefficients
    floor_s = l0_s + f1_s * batch
    work_s = (w1_s * batch + w0_s) / share
    larger_s, smaller_s = np.maximum(floor_s, work_s), np.minimum(floor_s, work_s)
    seconds: Floats = larger_s * (1.0 + (smaller_s / np.maximum(larger_s, 1e-300)) ** g) ** (1.0 / g)
    return seconds


def _significant(value: float) -> float:
    """Round to `COEFFICIENT_DIGITS`, and to what seconds are rounded to."""
    return round(float(f"{value:.{COEFFICIENT_DIGITS}g}"), ROUND_DIGITS)
