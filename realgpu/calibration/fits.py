"""Fits that are asked for again and again, made once: a fit may take seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from profiles import LatencySurface, Point, StepCurve
from profiles.fit import step_curve_from_points, surface_from_points

REMEMBERED: Final = 256
"""More than one calibration asks for between two that it needs again."""


def surface_of(points: Sequence[Point]) -> LatencySurface:
    """Return the surface that fits points, as `profiles.fit.surface_from_points`; raises as that."""
    return _surface(tuple(points))


def step_curve_of(points: Sequence[Point]) -> StepCurve:
    """Return the curve that fits points, as `profiles.fit.step_curve_from_points`; raises as that."""
    return _step_curve(tuple(points))


@lru_cache(maxsize=REMEMBERED)
def _surface(points: tuple[Point, ...]) -> LatencySurface:
    return surface_from_points(points)


@lru_cache(maxsize=REMEMBERED)
def _step_curve(points: tuple[Point, ...]) -> StepCurve:
    return step_curve_from_points(points)
