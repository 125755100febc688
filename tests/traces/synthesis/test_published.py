from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from traces.synthesis.population import timer_share, trigger_chances, without_timers
from traces.synthesis.published import (
    APPLICATION_FUNCTIONS,
    GAP_CV,
    PUBLISHED,
    TIMER_PERIOD_S,
    TIMER_SHARE,
    Population,
)

POPULATIONS = get_args(Population)

# Figure 5b: the share of all requests that the most popular functions make.
MOST_POPULAR: dict[Population, dict[float, float]] = {
    "platform": {
        1e-5: 0.118,
        1e-4: 0.31,
        3e-4: 0.455,
        1e-3: 0.633,
        3e-3: 0.795,
        1e-2: 0.916,
        3e-2: 0.973,
        0.1: 0.997,
    },
    "released": {3e-4: 0.552, 1e-3: 0.704, 3e-3: 0.835},
}


def others_by_rate(population: Population) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rates (a day) on a fine grid and the part of all functions that are no timers at each."""
    curve = without_timers(population)
    edges = np.geomspace(curve.values[0], curve.values[-1], 200_001)
    share = np.diff(curve.share_at(edges), prepend=0.0)
    middle = np.append(edges[0], np.sqrt(edges[1:] * edges[:-1]))
    return middle, share * (1 - timer_share(population))


@pytest.mark.parametrize("population", POPULATIONS)
def test_curves_rise_to_one(population: Population) -> None:
    """Every distribution ascends in value and share; without the timers the one of rates still does."""
    for curve in (PUBLISHED[population].per_day, without_timers(population), GAP_CV, APPLICATION_FUNCTIONS):
        assert (np.diff(curve.values) > 0).all()
        assert (np.diff(curve.shares) > 0).all()
        assert curve.shares[0] >= 0
        assert curve.shares[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("population", POPULATIONS)
def test_the_fitted_top_gives_the_most_popular_functions_their_share(population: Population) -> None:
    """Of figure 5b every point is met within 0.005."""
    curve = PUBLISHED[population].per_day
    above = np.concatenate([np.linspace(1, 0.1, 2_000), np.geomspace(0.1, 1e-9, 20_000)[1:], [0.0]])
    rate = curve.value_at(1 - above)
    load = -np.diff(above) * (rate[1:] + rate[:-1]) / 2
    share = np.append(np.cumsum(load[::-1])[::-1], 0.0) / load.sum()
    for fraction, published in MOST_POPULAR[population].items():
        assert np.interp(fraction, above[::-1], share[::-1]) == pytest.approx(published, abs=0.005)


@pytest.mark.parametrize("population", POPULATIONS)
def test_the_fitted_tilt_meets_functions_and_requests_by_trigger(population: Population) -> None:
    """Functions by trigger are met within 0.3 points, requests within 1, timers included."""
    published = PUBLISHED[population]
    rate, functions = others_by_rate(population)
    names, chances = trigger_chances(population, rate)
    of_functions = dict(zip(names, functions @ chances, strict=True))
    of_requests = dict(zip(names, (functions * rate) @ chances, strict=True))
    of_functions["timer"] = timer_share(population)
    of_requests["timer"] = timer_share(population) * float(
        np.dot(TIMER_SHARE, 86_400 / np.array(TIMER_PERIOD_S))
    )
    requests = sum(of_requests.values())
    for name, percent in published.functions_by_trigger.items():
        assert 100 * of_functions[name] == pytest.approx(percent, abs=0.3)
    for name, percent in published.requests_by_trigger.items():
        assert 100 * of_requests[name] / requests == pytest.approx(percent, abs=1.0)


def test_percentages_are_of_the_whole() -> None:
    """Triggers add up to 100 % within the rounding of their figures; so do the periods of timers."""
    for published in PUBLISHED.values():
        assert sum(published.functions_by_trigger.values()) == pytest.approx(100.0, abs=0.3)
        assert sum(published.requests_by_trigger.values()) == pytest.approx(100.0, abs=0.3)
        assert set(published.functions_by_trigger) == {*published.rate_tilt, "timer"}
    assert sum(TIMER_SHARE) == pytest.approx(1.0)
    # "95 % of timer functions fire at most once a minute"
    at_most_a_minute = np.array(TIMER_PERIOD_S) >= 60
    assert np.array(TIMER_SHARE)[at_most_a_minute].sum() == pytest.approx(0.95)
