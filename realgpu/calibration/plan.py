"""Where to measure next: the point of which the points so far say the least.

A surface of five coefficients does not need the whole grid. What is measured first spans the grid; then comes
the point at which the fitted surface is known worst, by the covariance of its coefficients and by how badly
the points nearby were foretold without them. Some points are held out: measured, and never fitted.
Everything here is arithmetic on what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from profiles import LatencySurface, Point, ProfileError
from profiles.uncertainty import prediction_error, relative_gradient, smooth_maxima
from realgpu.calibration.fits import surface_of

Floats = NDArray[np.float64]

SHARES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BATCHES: Final = (1, 2, 4, 8, 16, 32)
"""The grid of Dilu's profiling by traversal (sigserverless/Dilu @1134655, profiling/inference)."""

FEWER_SHARES: Final = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
"""For MPS, where each share needs a worker of its own, which takes seconds to start. Assumed."""

FITTED_A_HELD_OUT: Final = 4
"""Of five points after the first ones, one is held out. Assumed: a score costs a fifth of the effort."""

FEWEST_POINTS: Final = 6
"""Points without which no surface can be fitted (`profiles.fit.fit_surface`)."""

REACH: Final = 0.25
"""How far, on a grid scaled to a unit square of logarithms, a misfit is held against the places around it.
Assumed: a neighbour on the grid, not the one beyond."""

RIDGE: Final = 1e-6
"""Keeps the coefficients that the points do not tell from having infinite leverage."""

MOST_LEVERAGE: Final = 0.9
"""A point that is met because the surface goes where it says foretells nothing of itself; assumed."""


class Spot(NamedTuple):
    """A place of the grid."""

    batch: int
    share: float


class Wanted(NamedTuple):
    """What to measure next, and whether to keep it from fitting."""

    batch: int
    share: float
    held_out: bool

    @property
    def spot(self) -> Spot:
        """Where it is."""
        return Spot(self.batch, self.share)


@dataclass(frozen=True, slots=True)
class Grid:
    """Batches and shares that may be measured, both rising.

    Raises
    ------
    ProfileError
        If there are fewer than two batches, or than three shares: no surface could be fitted.
    """

    batches: tuple[int, ...]
    shares: tuple[float, ...] = SHARES

    def __post_init__(self) -> None:
        for name, least in (("batches", 2), ("shares", 3)):
            found: tuple[float, ...] = getattr(self, name)
            if len(found) < least or list(found) != sorted(set(found)):
                raise ProfileError(f"{name}: found {list(found)}, allowed are {least} and more that rise")

    def spots(self) -> list[Spot]:
        """Return all places, by share and batch."""
        return [Spot(batch, share) for share, batch in product(self.shares, self.batches)]

    def place(self, spots: Sequence[Spot]) -> Floats:
        """Return where places are on a unit square whose sides are the logarithms of batch and share."""
        batch = np.log(np.array([spot.batch for spot in spots], dtype=np.float64))
        share = np.log(np.array([spot.share for spot in spots]))
        return np.column_stack(
            [
                (axis - np.log(low)) / (np.log(high) - np.log(low))
                for axis, low, high in (
                    (batch, self.batches[0], self.batches[-1]),
                    (share, self.shares[0], self.shares[-1]),
                )
            ]
        )


@dataclass(frozen=True, slots=True)
class Goal:
    """When a surface is known well enough, or as well as it can be.

    It is known when both errors are small. It is settled when the latest points have hardly moved it: then
    what is left is the device's noise, or a shape that the surface cannot take, and more points change
    neither.

    Attributes
    ----------
    prediction_error
        Relative standard error of the surface, at the place of the grid where it is largest.
    held_out_error
        Mean relative error at the points that were held out. Both are 5 %, what a simulated latency is
        allowed to be off a device.
    held_out_points
        How many there have to be. 3, assumed.
    settled, settled_points
        The surface is settled if it was the same, to 1 % in the mean over the grid, without the latest six
        points. Assumed.
    """

    prediction_error: float = 0.05
    held_out_error: float = 0.05
    held_out_points: int = 3
    settled: float = 0.01
    settled_points: int = 6


def first_spots(grid: Grid) -> tuple[Spot, ...]:
    """Return the places to begin with: the corners, the middle, and the middle of the largest batch.

    The last is where most surfaces bend: between a floor that no share shortens and work that is all of it.
    """
    batches, shares = grid.batches, grid.shares
    middle_batch, middle_share = batches[len(batches) // 2], shares[len(shares) // 3]
    wanted = [
        Spot(batches[-1], shares[-1]),
        Spot(batches[0], shares[-1]),
        Spot(batches[0], shares[0]),
        Spot(middle_batch, middle_share),
        Spot(batches[-1], middle_share),
        Spot(batches[-1], shares[0]),
    ]
    return tuple(dict.fromkeys(wanted))


def _alike(spot: Spot) -> float:
    return 1.0


def next_point(
    grid: Grid,
    points: Sequence[Point],
    *,
    without: Collection[Spot] = (),
    goal: Goal | None = None,
    effort_s: Callable[[Spot], float] = _alike,
) -> Wanted | None:
    """Return where to measure next; `None` if the goal is reached, or there is nowhere left.

    Parameters
    ----------
    points
        What was measured, the points held out among them.
    without
        Places that cannot be measured.
    effort_s
        Seconds that a place takes: of two that are known alike, the quicker one is wanted, and in general
        what takes away most of the squared error in a second. By default all take the same.
    """
    measured = {Spot(point.batch, round(point.share, 6)) for point in points}
    left = [spot for spot in grid.spots() if spot not in measured and spot not in without]
    for spot in first_spots(grid):
        if spot in left:
            return Wanted(*spot, held_out=False)
    if not left:
        return None
    fitted = [point for point in points if not point.held_out]
    try:
        fit = surface_of(points)
    except ProfileError:  # places of the beginning could not be measured
        return Wanted(*_farthest(grid, left, measured), held_out=False)
    if _is_known(grid, fit, goal or Goal()) or _is_settled(grid, fit, points, goal or Goal()):
        return None
    held_out = len(points) - len(fitted)
    if held_out * FITTED_A_HELD_OUT <= len(fitted) - len(first_spots(grid)):
        return Wanted(*_farthest(grid, left, measured), held_out=True)
    gain = doubt(grid, fit, fitted, left) ** 2 / np.array([effort_s(spot) for spot in left])
    return Wanted(*left[int(np.argmax(gain))], held_out=False)


def doubt(grid: Grid, fit: LatencySurface, fitted: Sequence[Point], spots: Sequence[Spot]) -> Floats:
    """Return how badly the surface is known at places, as a relative error.

    The root of the sum of two squares: the standard error by the covariance of the coefficients, and the
    error with which points nearby would have been foretold without them (`left_out_errors`).
    """
    known = np.array([prediction_error(fit, *spot) for spot in spots])
    there = grid.place([Spot(point.batch, point.share) for point in fitted])
    here = grid.place(spots)
    squares = ((here[:, None, :] - there[None, :, :]) ** 2).sum(axis=2)
    weights = np.exp(-squares / (2.0 * REACH**2))
    misfit = (weights * left_out_errors(fit, fitted) ** 2).sum(axis=1) / weights.sum(axis=1)
    doubts: Floats = np.sqrt(known**2 + misfit)
    return doubts


def left_out_errors(fit: LatencySurface, fitted: Sequence[Point]) -> Floats:
    """Return the relative error at each point of a surface fitted to all others, near enough.

    A residual over one less its leverage, as for linear least squares (Cook & Weisberg, Residuals and
    Influence in Regression, 1982, section 2.2).
    """
    coefficients = _coefficients(fit)
    batch = np.array([float(point.batch) for point in fitted])
    share = np.array([point.share for point in fitted])
    seconds = np.array([point.seconds for point in fitted])
    ratio = smooth_maxima(coefficients, batch, share) / seconds
    slopes = relative_gradient(coefficients, batch, share) * np.append(np.full(4, seconds.min()), 1.0)
    normal = slopes.T @ slopes + RIDGE * np.eye(slopes.shape[1])
    leverage = np.einsum("ij,ij->i", slopes @ np.linalg.inv(normal), slopes)
    errors: Floats = (ratio - 1.0) / (1.0 - np.minimum(leverage, MOST_LEVERAGE))
    return errors


def _is_known(grid: Grid, fit: LatencySurface, goal: Goal) -> bool:
    if fit.held_out is None or fit.held_out.points < goal.held_out_points:
        return False
    if fit.held_out.mean_error > goal.held_out_error:
        return False
    return max(prediction_error(fit, *spot) for spot in grid.spots()) <= goal.prediction_error


def _is_settled(grid: Grid, fit: LatencySurface, points: Sequence[Point], goal: Goal) -> bool:
    earlier = points[: -goal.settled_points]
    if fit.held_out is None or fit.held_out.points < goal.held_out_points:
        return False
    try:
        before = surface_of(earlier)
    except ProfileError:
        return False
    batch, share = (np.array(axis, dtype=np.float64) for axis in zip(*grid.spots(), strict=True))
    then, now = (smooth_maxima(_coefficients(one), batch, share) for one in (before, fit))
    return float(np.abs(now / then - 1.0).mean()) <= goal.settled


def _coefficients(fit: LatencySurface) -> Floats:
    return np.array([fit.l0_s, fit.f1_s, fit.w1_s, fit.w0_s, fit.g])


def _farthest(grid: Grid, left: Sequence[Spot], measured: Collection[Spot]) -> Spot:
    """Return the place that is farthest from all that were measured; the first of several."""
    here, there = grid.place(left), grid.place(sorted(measured) or left[:1])
    squares = ((here[:, None, :] - there[None, :, :]) ** 2).sum(axis=2)
    return left[int(np.argmax(squares.min(axis=1)))]
