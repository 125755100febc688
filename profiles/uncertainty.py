"""How well a fit is known: the covariance of its coefficients, and the error this means for a prediction."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from profiles.errors import ProfileError
from profiles.surface import Covariance

Floats = NDArray[np.float64]

PRIOR_WIDTH = 10.0
"""Standard deviation a coefficient has before anything was measured, in the units of the fit, where all are
of order one: assumed, and wide. It only counts for what the points do not tell, which without it would have
no finite variance."""


class FittedSurface(Protocol):
    """A surface with the covariance of its coefficients."""

    @property
    def l0_s(self) -> float: ...  # noqa: D102
    @property
    def f1_s(self) -> float: ...  # noqa: D102
    @property
    def w1_s(self) -> float: ...  # noqa: D102
    @property
    def w0_s(self) -> float: ...  # noqa: D102
    @property
    def g(self) -> float: ...  # noqa: D102
    @property
    def covariance(self) -> Covariance | None: ...  # noqa: D102


class FittedStep(Protocol):
    """A step curve with the covariance of its coefficients."""

    @property
    def floor_s(self) -> float: ...  # noqa: D102
    @property
    def work_s(self) -> float: ...  # noqa: D102
    @property
    def g(self) -> float: ...  # noqa: D102
    @property
    def covariance(self) -> Covariance | None: ...  # noqa: D102


def prediction_error(fit: FittedSurface, batch: int, share: float) -> float:
    """Return the relative standard error of a fitted surface at (batch, share).

    ``sqrt(j C j^T)``, with C the covariance of the coefficients and j the gradient of the logarithm of the
    seconds there. It is the error of the surface, not of a single measurement, and knows nothing of shapes
    that the surface cannot take: held-out points do.

    Raises
    ------
    ProfileError
        If the surface has no covariance.
    """
    coefficients = np.array([fit.l0_s, fit.f1_s, fit.w1_s, fit.w0_s, fit.g])
    gradient = relative_gradient(coefficients, np.array([float(batch)]), np.array([share]))[0]
    return _error(gradient, fit.covariance)


def step_prediction_error(fit: FittedStep, share: float) -> float:
    """Return the relative standard error of a fitted step curve at a share, as `prediction_error`."""
    coefficients = np.array([fit.floor_s, 0.0, 0.0, fit.work_s, fit.g])
    gradient = relative_gradient(coefficients, np.array([1.0]), np.array([share]))[0]
    return _error(gradient[[0, 3, 4]], fit.covariance)


def _error(gradient: Floats, matrix: Covariance | None) -> float:
    if matrix is None:
        raise ProfileError("covariance: found none, only a fit to points knows its error")
    return float(np.sqrt(max(gradient @ np.array(matrix) @ gradient, 0.0)))


def covariance(jacobian: Floats, errors: Floats, robust_scale: float) -> Floats:
    """Return the covariance of coefficients that were fitted with the loss `soft_l1`.

    Huber's for an M-estimator, ``K^2 [sum psi^2 / (n - p)] / mean(psi')^2 (J^T J)^-1`` with ``K = 1 + (p / n)
    var(psi') / mean(psi')^2`` (Huber & Ronchetti, Robust Statistics, 2nd ed., section 7.6), where ``psi(r) =
    r / sqrt(1 + (r / c)^2)``, made finite in two ways. One observation is added whose error is c, so that a
    few points that are met exactly do not claim certainty. And each coefficient has a prior of
    `PRIOR_WIDTH`, so that one that the points do not tell has a wide variance instead of none.

    Bounds are not seen: a coefficient at one has the variance it would have without. That is too much for
    it, as it can err to one side only.

    Parameters
    ----------
    jacobian
        Derivatives of the relative errors by the coefficients, in units in which these are of order one;
        shape (points, coefficients).
    errors
        The relative errors.
    robust_scale
        The scale c of the loss.
    """
    count, coefficients = jacobian.shape
    bend = 1.0 + (errors / robust_scale) ** 2
    slope = bend**-1.5
    correction = 1.0 + coefficients / count * float(slope.var()) / float(slope.mean()) ** 2
    freedom = max(count - coefficients, 0) + 1
    squares = float((errors**2 / bend).sum()) + robust_scale**2
    variance = correction**2 * squares / freedom / float(slope.mean()) ** 2
    precision = jacobian.T @ jacobian / variance + np.eye(coefficients) / PRIOR_WIDTH**2
    inverse: Floats = np.linalg.inv(precision)
    return (inverse + inverse.T) / 2.0


def smooth_maxima(coefficients: Floats, batch: Floats, share: Floats) -> Floats:
    """Evaluate the surface `(l0_s, f1_s, w1_s, w0_s, g)` at many points. Seconds."""
    floor_s, work_s = _parts(coefficients, batch, share)
    g = coefficients[4]
    larger_s, smaller_s = np.maximum(floor_s, work_s), np.minimum(floor_s, work_s)
    seconds: Floats = larger_s * (1.0 + (smaller_s / np.maximum(larger_s, 1e-300)) ** g) ** (1.0 / g)
    return seconds


def relative_gradient(coefficients: Floats, batch: Floats, share: Floats) -> Floats:
    """Return the gradient of the logarithm of the seconds by `(l0_s, f1_s, w1_s, w0_s, g)`, a row a point.

    With F the floor, W the work, L = (F^g + W^g)^(1/g) and p = (F / L)^g, q = (W / L)^g: by F it is
    ``(F / L)^(g - 1) / L``, by W alike, and by g ``(p log p + q log q) / g^2``.
    """
    floor_s, work_s = _parts(coefficients, batch, share)
    seconds, g = smooth_maxima(coefficients, batch, share), coefficients[4]
    by_floor = (floor_s / seconds) ** (g - 1.0) / seconds
    by_work = (work_s / seconds) ** (g - 1.0) / seconds
    part_floor, part_work = (floor_s / seconds) ** g, (work_s / seconds) ** g
    by_sharpness = (xlogy(part_floor, part_floor) + xlogy(part_work, part_work)) / g**2
    return np.column_stack(
        [by_floor, by_floor * batch, by_work * batch / share, by_work / share, by_sharpness]
    )


def _parts(coefficients: Floats, batch: Floats, share: Floats) -> tuple[Floats, Floats]:
    l0_s, f1_s, w1_s, w0_s, _ = coefficients
    return l0_s + f1_s * batch, (w1_s * batch + w0_s) / share
