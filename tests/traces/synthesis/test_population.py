from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traces.synthesis.curves import Curve
from traces.synthesis.population import Draw, Functions
from traces.synthesis.published import (
    APPLICATION_FUNCTIONS,
    GAP_CV,
    PUBLISHED,
    TIMER_PERIOD_S,
    TIMER_SHARE,
    Population,
)

POPULATIONS = get_args(Population)
DRAWN = 20_000
SAMPLING = 1.63 / math.sqrt(DRAWN)  # the KS distance that one sample in a hundred exceeds

# Figure 7, both populations within 0.02, and figure 8, the middle of its band.
EXECUTION_S = {0.1: 0.145, 0.3: 0.296, 1.0: 0.508, 3.0: 0.70, 10.0: 0.838, 30.0: 0.916, 60.0: 0.949}
MEMORY_MB = {100: 0.075, 120: 0.295, 140: 0.50, 170: 0.62, 200: 0.83, 250: 0.94}


@pytest.fixture(scope="module", params=POPULATIONS)
def population(request: pytest.FixtureRequest) -> Population:
    """Return one population after the other."""
    found: Population = request.param
    return found


@pytest.fixture(scope="module")
def drawn(population: Population) -> Functions:
    """Return functions of the whole population."""
    return Draw(population, seed=11, most_per_day=math.inf).next(DRAWN)


def distance(values: np.ndarray, curve: Curve) -> float:
    """Return the greatest distance between an empirical and a published CDF, at the points of the latter."""
    return max(
        abs(float((values <= value * (1 + 1e-9)).mean()) - share)
        for value, share in zip(curve.values, curve.shares, strict=True)
    )


def test_rates_follow_the_published_curve(population: Population, drawn: Functions) -> None:
    """Timers and the others together have the CDF of figure 5a."""
    assert distance(drawn.per_day, PUBLISHED[population].per_day) < SAMPLING


def test_triggers_have_their_share_of_the_functions(population: Population, drawn: Functions) -> None:
    """Each trigger's part of the functions is within one point of figure 2."""
    for trigger, percent in PUBLISHED[population].functions_by_trigger.items():
        assert 100 * (drawn.trigger == trigger).mean() == pytest.approx(percent, abs=1.0)


def test_frequent_functions_have_the_triggers_of_frequent_functions(drawn: Functions) -> None:
    """Events and queues are over-represented among the busiest, orchestration among the idle."""
    busy = (drawn.per_day > 1e4) & (drawn.trigger != "timer")
    idle = (drawn.per_day < 2) & (drawn.trigger != "timer")
    for trigger, more in (("event", busy), ("queue", busy), ("orchestration", idle)):
        less = idle if more is busy else busy
        assert (drawn.trigger[more] == trigger).mean() > 1.2 * (drawn.trigger[less] == trigger).mean()


def test_timers_have_the_rate_of_their_period(drawn: Functions) -> None:
    """A timer has a listed period, its rate and no variation; nothing else has a period."""
    timers = drawn.trigger == "timer"
    assert (drawn.per_day[timers] * drawn.period_s[timers] == 86_400).all()
    assert not drawn.gap_cv[timers].any()
    assert not drawn.swing[timers].any()
    assert not drawn.period_s[~timers].any()
    assert (drawn.gap_cv[~timers] > 0).all()
    for period_s, share in zip(TIMER_PERIOD_S, TIMER_SHARE, strict=True):
        assert (drawn.period_s[timers] == period_s).mean() == pytest.approx(share, abs=0.035)


def test_gaps_vary_as_published_and_no_more_than_two_weeks_can_hold(drawn: Functions) -> None:
    """Functions with ten requests a day and more follow figure 6; rarer ones stay below sqrt(requests)."""
    others = drawn.trigger != "timer"
    often = others & (drawn.per_day * 14 > 900)  # whose bound is beyond the end of the curve
    assert distance(drawn.gap_cv[often], GAP_CV) < 1.63 / math.sqrt(often.sum())
    assert (drawn.gap_cv[others] <= np.maximum(1, np.sqrt(14 * drawn.per_day[others])) + 1e-9).all()


def test_execution_times_are_near_the_published_curve(drawn: Functions) -> None:
    """The paper's own log-normal fit is up to 0.07 off its curve below a second, 0.04 above."""
    for value, share in EXECUTION_S.items():
        assert (drawn.execution_s <= value).mean() == pytest.approx(share, abs=0.075 if value < 1 else 0.06)
    logarithm = np.log(drawn.execution_s)
    assert logarithm.mean() == pytest.approx(-0.38, abs=4 * 2.36 / math.sqrt(DRAWN))
    assert logarithm.std() == pytest.approx(2.36, rel=4 / math.sqrt(2 * DRAWN))


def test_memory_is_near_the_published_curve_and_shared_in_an_application(drawn: Functions) -> None:
    """Over applications the Burr fit is up to 0.07 off figure 8; nothing exceeds the platform's limit."""
    _, first, place = np.unique(drawn.app, return_index=True, return_inverse=True)
    memory = drawn.memory_bytes[first] / 2**20
    for value, share in MEMORY_MB.items():
        assert (memory <= value).mean() == pytest.approx(share, abs=0.08)
    assert memory.max() <= 1_536
    assert memory.max() > 1_000
    assert (drawn.memory_bytes == drawn.memory_bytes[first][place]).all()


def test_applications_have_the_published_number_of_functions(drawn: Functions) -> None:
    """The CDF of figure 1, of all applications but the last, which is cut."""
    _, functions = np.unique(drawn.app, return_counts=True)
    complete = functions[:-1]
    assert distance(complete, APPLICATION_FUNCTIONS) < 1.63 / math.sqrt(complete.size)


def test_the_swings_of_all_functions_add_up_to_the_week(drawn: Functions) -> None:
    """Weighted by their requests, functions that are no timers swing as much as the whole on average."""
    others = (drawn.trigger != "timer") & (drawn.per_day > 100)  # of rarer ones fewer are steady
    swing = drawn.swing[others]
    assert swing.mean() == pytest.approx(1.0, abs=4 * swing.std() / math.sqrt(swing.size) + 0.02)
    assert (drawn.swing[others & (drawn.gap_cv < 0.25)] == 0).all()


@pytest.mark.parametrize("most_per_day", [1.0, 86_400 / 60, 10_000.0])
def test_a_bound_on_rates_leaves_the_others_their_proportions(
    population: Population, most_per_day: float
) -> None:
    """Below the bound the CDF is the published one over its value at the bound; a timer on it stays."""
    bounded = Draw(population, seed=5, most_per_day=most_per_day).next(DRAWN)
    published = PUBLISHED[population].per_day
    below = [value for value in published.values if value <= most_per_day]
    expected = published.share_at(below) / float(published.share_at(most_per_day))
    found = [(bounded.per_day <= value * (1 + 1e-9)).mean() for value in below]
    assert bounded.per_day.max() <= most_per_day
    assert found == pytest.approx(expected, abs=SAMPLING)
    assert bounded.period_s[bounded.period_s > 0].min() == min(
        period for period in TIMER_PERIOD_S if 86_400 / period <= most_per_day
    )


@given(st.integers(0, 2**40), st.lists(st.integers(1, 40), min_size=1, max_size=6))
@settings(max_examples=25)
def test_functions_do_not_depend_on_how_many_are_drawn_at_a_time(seed: int, parts: list[int]) -> None:
    """Drawn in parts, every function has the columns that it has when all are drawn at once."""
    whole = Draw("platform", seed=seed, most_per_day=math.inf).next(sum(parts))
    draw = Draw("platform", seed=seed, most_per_day=math.inf)
    pieces = [draw.next(count) for count in parts]
    assert sum((piece.names for piece in pieces), ()) == whole.names
    for column in ("app", "trigger", "per_day", "period_s", "gap_cv", "swing", "execution_s", "memory_bytes"):
        assert np.concatenate([getattr(piece, column) for piece in pieces]).tolist() == (
            getattr(whole, column).tolist()
        )
