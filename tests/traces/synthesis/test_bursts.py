from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces.streams import stream
from traces.synthesis.bursts import bursts


@pytest.mark.parametrize(("cv", "short_gap"), [(1.05, 0.2), (2.0, 0.05), (5.0, 0.01), (10.0, 0.2)])
def test_gaps_have_mean_one_and_the_stated_variation(cv: float, short_gap: float) -> None:
    """The true mean and coefficient of variation are met within four standard errors."""
    gaps = np.diff(bursts(2_000_000.0, cv, short_gap, stream(3, "gaps")))
    assert gaps.mean() == pytest.approx(1.0, abs=4 * cv / math.sqrt(gaps.size))
    squared = (gaps - 1) ** 2
    error = squared.std() / math.sqrt(gaps.size)
    assert squared.mean() == pytest.approx(cv**2, abs=4 * error)


@pytest.mark.parametrize("cv", [1.5, 6.0])
def test_bursts_start_in_their_stationary_state(cv: float) -> None:
    """The mean number of points in a short window is its length, be it in a burst or between two."""
    load, runs = 3.0, 6_000
    counts = np.array([bursts(load, cv, 0.05, stream(seed, "short")).size for seed in range(runs)])
    error = counts.std() / math.sqrt(runs)
    assert counts.mean() == pytest.approx(load, abs=4 * error)


def test_requests_of_a_burst_are_apart_by_the_short_gap() -> None:
    """Most gaps are short ones, of the stated mean, and a burst has the stated number of requests."""
    cv, short_gap = 8.0, 0.02
    gaps = np.diff(bursts(300_000.0, cv, short_gap, stream(1, "apart")))
    # pauses are hundreds of times as long: the cut between them misses few of either
    is_pause = gaps > 20 * short_gap
    expected_size = 1 + (cv**2 - 1) / (2 * (1 - short_gap) ** 2)
    assert gaps[~is_pause].mean() == pytest.approx(short_gap, rel=0.05)
    assert gaps.size / is_pause.sum() == pytest.approx(expected_size, rel=0.08)


@given(st.floats(0.0, 500.0), st.floats(1.0001, 30.0), st.floats(0.01, 0.9), st.integers(0, 1000))
def test_points_ascend_inside_the_load(load: float, cv: float, short_gap: float, seed: int) -> None:
    """Whatever the parameters, points lie in [0, load) in order."""
    points = bursts(load, cv, short_gap, stream(seed, "points"))
    assert (np.diff(points) >= 0).all()
    assert not points.size or (points[0] >= 0 and points[-1] < load)
