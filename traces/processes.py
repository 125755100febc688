"""Arrival processes on a rate that changes in steps.

Times are whole microseconds until the very end, and random gaps are put on a grid before they are summed: a
last bit that differs between two machines' mathematical libraries then has nothing to add up to.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from traces.errors import TraceError, shown

MICROSECONDS = 1_000_000
_GRAIN = 2.0**-24  # of a mean gap
_LARGEST_CV = 100.0  # beyond it nearly every gap is 0 and a burst holds more than cv^2 requests


def seconds(time_us: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return whole microseconds as seconds."""
    return np.divide(time_us, MICROSECONDS, dtype=np.float64)


def spread_evenly(counts: NDArray[np.integer], step_us: int) -> NDArray[np.int64]:
    """Place `counts[j]` arrivals in step j, arrival i of k at (i + 0.5) / k of the step."""
    per_step = counts.astype(np.int64)
    ends = np.cumsum(per_step)
    step = np.repeat(np.arange(per_step.size), per_step)
    time_us = np.arange(step.size)
    time_us -= (ends - per_step)[step]
    time_us *= 2
    time_us += 1
    time_us *= step_us
    time_us //= 2 * per_step[step]
    time_us += step * step_us
    return time_us


def spread_uniformly(
    counts: NDArray[np.integer], step_us: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Place `counts[j]` arrivals in step j, independent and uniform: a Poisson process given its counts."""
    time_us = np.repeat(np.arange(counts.size) * step_us, counts)
    time_us += rng.integers(0, step_us, time_us.size)
    time_us.sort()
    return time_us


def regular(load: float, phase: float) -> NDArray[np.float64]:
    """Return the points `phase`, `phase + 1`, ... below `load`: one arrival a unit of load."""
    return np.arange(max(0, math.ceil(load - phase)), dtype=np.float64) + phase


def renewal(load: float, cv: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the points in [0, load) of a stationary renewal process of rate 1 with gamma gaps.

    Gaps have mean 1 and coefficient of variation `cv`; `cv=1` is the Poisson process. The first gap has the
    equilibrium distribution of the residual (a uniform part of a length-biased gap), so that the expected
    number of points is exactly `load`: starting with a whole gap would add (cv^2 - 1) / 2 (D. R. Cox, Renewal
    Theory, 1962, chapters 4 and 5).

    Raises
    ------
    TraceError
        If `cv` is not in (0, 100].
    """
    if not 0 < cv <= _LARGEST_CV:
        raise TraceError(f"found {shown(cv)}, allowed is above 0 and up to {_LARGEST_CV:g}", field="cv")
    shape, scale = 1 / cv**2, cv**2
    first = rng.random() * rng.standard_gamma(shape + 1) * scale
    end = math.ceil(load / _GRAIN)
    reached = round(first / _GRAIN)
    points = [np.array([reached], dtype=np.int64)]
    while reached < end:
        missing = (end - reached) * _GRAIN
        gaps = rng.standard_gamma(shape, size=int(missing + 4 * cv * math.sqrt(missing)) + 16) * scale
        points.append(np.cumsum(np.rint(gaps / _GRAIN).astype(np.int64)) + reached)
        reached = int(points[-1][-1])
    placed: NDArray[np.float64] = np.concatenate(points) * np.float64(_GRAIN)
    return placed[: np.searchsorted(placed, load)]


def load_at(edges_s: NDArray[np.float64], rate_rps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the expected arrivals up to each of K + 1 edges, with K rates between them."""
    return np.concatenate([[0.0], np.cumsum(rate_rps * np.diff(edges_s))])


def placed_on(
    points: NDArray[np.float64], edges_s: NDArray[np.float64], load: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Move points on the axis of load to microseconds, through the inverse of the cumulative load.

    The time-rescaling theorem: a process of rate 1 on the axis of load has the wanted rate on that of time.
    """
    time_us = np.floor(np.interp(points, load, edges_s) * MICROSECONDS).astype(np.int64)
    # below the end, even if the product is rounded up; interpolation may pass a knot by a last bit
    last_us = max(0, math.ceil(round(edges_s[-1] * MICROSECONDS, 3)) - 1)
    placed_us: NDArray[np.int64] = np.minimum(np.maximum.accumulate(time_us), last_us)
    return placed_us
