from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces.synthesis.published import PUBLISHED, Population
from traces.synthesis.week import WEEK_HOURS, Window, hourly_load

POPULATIONS = get_args(Population)


@pytest.mark.parametrize("population", POPULATIONS)
def test_the_week_has_mean_one_and_the_published_extremes(population: Population) -> None:
    """Lowest and highest hour are those of figure 4, five days are alike, the weekend is lower but swings."""
    load = hourly_load(population)
    days = load.reshape(7, 24)
    low, high = PUBLISHED[population].hourly_load
    assert load.size == WEEK_HOURS
    assert load.mean() == pytest.approx(1.0, abs=1e-9)
    assert (load.min(), load.max()) == (low, high)
    assert (days[:5] == days[0]).all()
    assert low < days[5:].max() < high
    assert days[0].argmax() == 16


def test_the_platform_has_a_base_of_half_its_peak() -> None:
    """The paper's "constant base of about 50 % of the peak"."""
    load = hourly_load("platform")
    assert load.min() / load.max() == pytest.approx(0.5, abs=0.01)


@given(st.floats(0.0, 167.999), st.floats(1 / 3600, 400.0), st.floats(0.0, 2.4), st.sampled_from(POPULATIONS))
def test_load_grows_over_a_window_of_any_place_and_length(
    start_hour: float, hours: float, swing: float, population: Population
) -> None:
    """Edges ascend from 0 to the end, and the load up to them never falls."""
    window = Window.of(population, start_hour, hours)
    load = window.load(2.0, swing)
    assert window.edges_s[0] == load[0] == 0
    assert window.edges_s[-1] == hours * 3600
    assert (np.diff(window.edges_s) > 0).all()
    assert (np.diff(load) > 0).all()


@pytest.mark.parametrize("start_hour", [0.0, 13.25, 167.5])
def test_a_whole_week_has_the_mean_rate_wherever_it_starts(start_hour: float) -> None:
    """Rate times seconds is expected of 168 hours, however strongly a function swings."""
    window = Window.of("platform", start_hour, 168.0)
    assert window.load(0.5, 1.7)[-1] == pytest.approx(0.5 * 168 * 3600)


def test_a_window_sees_the_hours_that_it_covers() -> None:
    """From half past three on Monday, half an hour of the fourth hour comes first; Monday follows Sunday."""
    hour = hourly_load("released")
    window = Window.of("released", 3.5, 1.25)
    assert window.edges_s.tolist() == [0.0, 1800.0, 4500.0]
    assert np.diff(window.load(1.0, 1.0)) == pytest.approx([1800 * hour[3], 2700 * hour[4]])
    turn = Window.of("released", 167.0, 2.0)
    assert np.diff(turn.load(1.0, 1.0)) == pytest.approx([3600 * hour[167], 3600 * hour[0]])
