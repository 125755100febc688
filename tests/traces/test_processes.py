from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import TraceError
from traces.processes import load_at, placed_on, regular, renewal, spread_evenly, spread_uniformly
from traces.streams import stream

counts_strategy = st.lists(st.integers(0, 50), min_size=1, max_size=30).map(np.array)


@given(counts_strategy, st.integers(100, 60_000_000))
def test_spreading_keeps_the_count_of_every_step(counts: np.ndarray, step_us: int) -> None:
    """Even and uniform spreading put exactly the given number of sorted arrivals in each step."""
    for time_us in (spread_evenly(counts, step_us), spread_uniformly(counts, step_us, stream(1, "test"))):
        assert np.bincount(time_us // step_us, minlength=counts.size).tolist() == counts.tolist()
        assert (np.diff(time_us) >= 0).all()


def test_even_spreading_centres_arrivals_in_their_parts() -> None:
    """Arrival i of k stands at (i + 0.5) / k of its step."""
    assert spread_evenly(np.array([1, 0, 2]), 60_000_000).tolist() == [30_000_000, 135_000_000, 165_000_000]


@given(
    st.lists(st.one_of(st.just(0.0), st.floats(0.01, 1e4)), min_size=1, max_size=20),
    st.floats(0.01, 10.0),
    st.sampled_from([0.3, 1.0, 5.0]),
)
def test_placed_arrivals_are_sorted_inside_the_window_and_only_where_there_is_load(
    rates: list[float], step_s: float, cv: float
) -> None:
    """Rescaling keeps order, never reaches the end and puts nothing inside a step of rate 0."""
    edges_s = np.arange(len(rates) + 1) * step_s
    load = load_at(edges_s, np.array(rates))
    points = renewal(min(float(load[-1]), 2000.0), cv, stream(1, "test"))
    time_s = placed_on(points, edges_s, load) / 1e6
    assert (np.diff(time_s) >= 0).all()
    assert not time_s.size or (time_s[0] >= 0 and time_s[-1] < edges_s[-1])
    for step in np.flatnonzero(np.array(rates) == 0):
        # the last microsecond of the step before may be cut down to it
        inside = (time_s > edges_s[step] + 2e-6) & (time_s < edges_s[step + 1] - 2e-6)
        assert not inside.any()


def test_every_whole_request_of_load_is_placed_once() -> None:
    """One arrival a unit of load, at equal distances inside a step, fractions carried to the next."""
    edges_s = np.array([0.0, 1.0, 2.0, 3.0])
    load = load_at(edges_s, np.array([1.5, 0.5, 4.0]))
    time_us = placed_on(regular(float(load[-1]), 0.5), edges_s, load)
    assert time_us.tolist() == [333_333, 1_000_000, 2_125_000, 2_375_000, 2_625_000, 2_875_000]


@pytest.mark.parametrize("cv", [0.25, 1.0, 4.0])
def test_renewal_gaps_have_the_stated_mean_and_variation(cv: float) -> None:
    """Gaps have mean 1 and coefficient of variation cv, within four standard errors."""
    points = renewal(200_000.0, cv, stream(7, "gaps"))
    gaps = np.diff(points)
    standard_error = cv / math.sqrt(gaps.size)
    assert gaps.mean() == pytest.approx(1.0, abs=4 * standard_error)
    # the standard error of a gamma sample's cv is about cv * sqrt((1 + 2 cv^2) / (2 n)), doubled for skewness
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=8 * math.sqrt((1 + 2 * cv**2) / (2 * gaps.size)))


@pytest.mark.parametrize("cv", [0.2, 1.0, 5.0])
def test_a_renewal_process_starts_in_its_stationary_state(cv: float) -> None:
    """The mean number of points in a short window is its length, which a whole first gap would miss."""
    load, runs = 3.0, 4000
    counts = np.array([renewal(load, cv, stream(seed, "short")).size for seed in range(runs)])
    standard_error = counts.std() / math.sqrt(runs)
    assert counts.mean() == pytest.approx(load, abs=4 * standard_error)
    assert abs((cv**2 - 1) / 2) < 1e-9 or abs((cv**2 - 1) / 2) > 8 * standard_error


@pytest.mark.parametrize("cv", [0.0, -1.0, math.nan, 101.0])
def test_a_variation_out_of_range_is_refused(cv: float) -> None:
    """A gamma gap needs a coefficient of variation above 0 and up to 100."""
    with pytest.raises(TraceError, match="cv: found"):
        renewal(10.0, cv, stream(1, "test"))
