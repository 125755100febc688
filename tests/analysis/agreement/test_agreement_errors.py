from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from analysis.agreement import Agreement, agreements, find_measure, half_width


def agreement(measure: str, sim: list[float | None], real: list[float | None]) -> Agreement:
    """Put values of repeats side by side."""
    return Agreement("vision", find_measure(measure), tuple(sim), tuple(real))


def test_a_relative_error_is_a_part_of_the_real_value() -> None:
    """The simulator says 10 % more, then 30 % less: in the mean 10 % less, and 20 % off."""
    found = agreement("p50", [1.1, 1.4], [1.0, 2.0])
    assert found.errors == pytest.approx((0.1, -0.3))
    assert found.mean_error == pytest.approx(-0.1)
    assert found.absolute_error == pytest.approx(0.2)
    assert (found.sim_mean, found.real_mean) == (pytest.approx(1.25), pytest.approx(1.5))


def test_rates_and_counts_differ_in_their_own_unit() -> None:
    """An SLO violation rate of 2 % against 5 % is off by 3 points, cold starts by starts."""
    assert agreement("svr", [0.02], [0.05]).errors == pytest.approx((-0.03,))
    assert agreement("cold_starts", [3.0], [1.0]).errors == (2.0,)


def test_what_one_world_lacks_is_no_error_but_is_counted() -> None:
    """A value of one world alone, or against 0, can be compared with nothing; 0 against 0 agrees."""
    found = agreement("training", [1.0, None, 2.0, 0.0], [None, 1.0, 0.0, 0.0])
    assert found.errors == (0.0,)
    assert found.incomparable == 3
    nothing = agreement("training", [1.0], [None])
    assert (nothing.n, nothing.mean_error, nothing.absolute_error) == (0, None, None)


def test_the_interval_is_student_s() -> None:
    """By hand: errors 1, 2, 3 have s = 1, so half the width is t(0.975, 2) / sqrt(3) = 4.3027 / 1.7321."""
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(2.4841, abs=1e-4)
    assert half_width([1.0]) is None


@given(st.lists(st.floats(-5.0, 5.0), min_size=2, max_size=8))
def test_the_interval_is_that_of_scipy(errors: list[float]) -> None:
    """The same interval as the textbook's, for any repeats."""
    width = t.ppf(0.975, len(errors) - 1) * np.std(errors, ddof=1) / np.sqrt(len(errors))
    assert half_width(errors) == pytest.approx(float(width), abs=1e-9)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Of 2000 validations of three repeats the true error lies in the interval in 95 %, give or take 2 %."""
    draws = np.random.default_rng(7).normal(0.04, 0.02, (2000, 3))
    widths = [half_width(row) for row in draws.tolist()]
    covered = np.mean([abs(row.mean() - 0.04) <= w for row, w in zip(draws, widths, strict=True) if w])
    assert covered == pytest.approx(0.95, abs=0.02)


def test_measures_stand_in_their_order_function_by_function() -> None:
    """All together first, then each function; measures in their order; what no world has is left out."""
    sim = {(None, "throughput"): 2.0, ("a", "svr"): 0.0, ("a", "p50"): 1.0, ("b", "p50"): 1.0}
    real = {(None, "throughput"): 2.0, ("a", "svr"): 0.0, ("a", "p50"): 2.0}
    found = agreements([(sim, real), (sim, real)])
    names = [(one.function, one.measure.name, one.n, one.incomparable) for one in found]
    assert names == [(None, "throughput", 2, 0), ("a", "p50", 2, 0), ("a", "svr", 2, 0), ("b", "p50", 0, 2)]
