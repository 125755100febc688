from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traces.errors import TraceError
from traces.synthesis.azure import synthesize_azure
from traces.synthesis.population import Draw
from traces.synthesis.published import GAP_CV
from traces.synthesis.week import hourly_load
from traces.trace import Trace


def same(first: Trace, second: Trace) -> bool:
    """Return whether two traces are equal to the byte."""
    return (
        first.functions == second.functions
        and first.arrival_s.tobytes() == second.arrival_s.tobytes()
        and all(
            first.attributes[name].tobytes() == second.attributes[name].tobytes() for name in first.attributes
        )
        and first.provenance == second.provenance
    )


def test_the_same_parameters_give_the_same_bytes_and_another_seed_others() -> None:
    """A trace is a function of its parameters."""
    first, again, other = (synthesize_azure(80, 6, seed=seed, max_rate_rps=1.0) for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)


@given(
    st.integers(1, 30),
    st.floats(1 / 3600, 60.0),
    st.floats(0.0, 167.9),
    st.integers(0, 2**64),
    st.sampled_from(["platform", "released"]),
)
@settings(max_examples=40)
def test_arrivals_are_whole_microseconds_inside_the_window(
    functions: int, hours: float, start_hour: float, seed: int, population: Any
) -> None:
    """Any size, place and length gives a valid trace of that many functions and a JSON-able provenance."""
    trace = synthesize_azure(
        functions, hours, seed=seed, population=population, start_hour=start_hour, max_rate_rps=0.5
    )
    assert len(trace.functions) == functions
    assert trace.duration_s == hours * 3600
    assert np.array_equal(trace.arrival_s, np.round(trace.arrival_s * 1e6) / 1e6)
    provenance = json.loads(json.dumps(trace.provenance))
    assert provenance["source"] == "synthesized"
    assert provenance["transforms"] == []
    parameters = (
        "population",
        "functions",
        "hours",
        "seed",
        "start_hour",
        "max_rate_rps",
        "invoked_only",
    )
    again = synthesize_azure(**{name: provenance[name] for name in parameters})
    assert same(trace, again)


def test_a_function_keeps_its_arrivals_whatever_the_number_of_others() -> None:
    """The first functions of a large trace are those of a small one; their names say which they are."""
    small = synthesize_azure(40, 12, seed=9, max_rate_rps=1.0)
    large = synthesize_azure(200, 12, seed=9, max_rate_rps=1.0)
    assert large.functions[:40] == small.functions
    for name in small.functions:
        assert np.array_equal(small.arrivals(name), large.arrivals(name))
    for name, column in small.attributes.items():
        assert np.array_equal(column, large.attributes[name][:40])


def test_functions_without_a_request_stay_unless_only_invoked_ones_are_wanted() -> None:
    """Invoked ones are the first of the same sequence that have a request, with the same arrivals."""
    everything = synthesize_azure(400, 8, seed=4, max_rate_rps=1.0)
    invoked = synthesize_azure(150, 8, seed=4, max_rate_rps=1.0, invoked_only=True)
    assert (everything.counts == 0).sum() > 100
    with_request = [everything.functions[place] for place in np.flatnonzero(everything.counts)]
    assert list(invoked.functions) == with_request[:150]
    for name in invoked.functions:
        assert np.array_equal(invoked.arrivals(name), everything.arrivals(name))
        assert (
            invoked.attributes["app"][invoked.index(name)]
            == everything.attributes["app"][everything.index(name)]
        )


def test_timers_fire_like_clockwork() -> None:
    """Every gap of a timer is its period; it first fires anywhere in the first one, each timer on its own."""
    trace = synthesize_azure(600, 30, seed=2, max_rate_rps=1.0)
    period_s = Draw("platform", seed=2, most_per_day=86_400.0).next(600).period_s
    timers = np.flatnonzero(trace.attributes["trigger"] == "timer")
    assert set(period_s[timers]) == {86_400, 3_600, 900, 300, 60, 5}
    first = []
    for place in timers:
        arrivals_us = np.rint(trace.arrivals(int(place)) * 1e6).astype(np.int64)
        assert (np.diff(arrivals_us) == period_s[place] * 10**6).all()
        assert 0 <= arrivals_us[0] < period_s[place] * 10**6
        assert arrivals_us[-1] + period_s[place] * 10**6 >= 30 * 3600 * 10**6
        first.append(arrivals_us[0] / (period_s[place] * 1e6))
    assert len(set(first)) == len(first)
    assert np.mean(first) == pytest.approx(0.5, abs=4 / math.sqrt(12 * len(first)))


@pytest.mark.parametrize("start_hour", [0.0, 110.0])
def test_every_function_has_its_rate_in_expectation(start_hour: float) -> None:
    """Over a whole week, wherever it starts, counts add up to the rates within four standard errors."""
    trace = synthesize_azure(3_000, 168, seed=6, start_hour=start_hour, max_rate_rps=0.02)
    drawn = Draw("platform", seed=6, most_per_day=0.02 * 86_400).next(3_000)
    expected = 7 * drawn.per_day
    # the variance of a renewal count is cv^2 times its mean
    error = np.sqrt((np.maximum(drawn.gap_cv, 0.3) ** 2 * expected).sum())
    assert trace.counts.sum() == pytest.approx(expected.sum(), abs=4 * error)


def test_gaps_of_the_arrivals_vary_as_published() -> None:
    """In two weeks, functions with 300 requests and more have the CVs of figure 6 within 0.05."""
    trace = synthesize_azure(3_000, 14 * 24, seed=3, max_rate_rps=0.01)
    busy = np.flatnonzero((trace.counts >= 300) & (trace.attributes["trigger"] != "timer"))
    gaps = [np.diff(trace.arrivals(int(place))) for place in busy]
    cv = np.array([column.std() / column.mean() for column in gaps])
    assert busy.size > 500
    distance = max(
        abs((cv <= value).mean() - share) for value, share in zip(GAP_CV.values, GAP_CV.shares, strict=True)
    )
    assert distance < 0.05 + 1.36 / math.sqrt(busy.size)


@pytest.mark.parametrize("population", ["platform", "released"])
def test_the_whole_follows_the_week(population: Any) -> None:
    """Hour by hour, the load of many functions is the published shape, with its base and its peak."""
    trace = synthesize_azure(3_000, 168, seed=1, population=population, max_rate_rps=0.3)
    load = trace.rates(3600).sum(axis=0)
    load /= load.mean()
    shape = hourly_load(population)
    assert np.corrcoef(load, shape)[0, 1] > 0.96
    assert load.min() == pytest.approx(shape.min(), abs=0.1)
    assert load.max() == pytest.approx(shape.max(), abs=0.1)


def test_the_window_begins_where_it_is_told_to() -> None:
    """Between Monday's night and its afternoon, functions that are no timers differ as the shape says."""
    night, day = (
        synthesize_azure(3_000, 8, seed=1, start_hour=hour, max_rate_rps=0.3) for hour in (0.0, 12.0)
    )
    others = night.attributes["trigger"] != "timer"
    shape = hourly_load("platform")
    assert day.counts[others].sum() / night.counts[others].sum() == pytest.approx(
        shape[12:20].mean() / shape[:8].mean(), rel=0.1
    )


def test_no_function_is_faster_than_the_bound() -> None:
    """A bound of one request a minute leaves no function that is expected to have more."""
    drawn = Draw("released", seed=8, most_per_day=1_440.0).next(500)
    trace = synthesize_azure(500, 168, seed=8, population="released", max_rate_rps=1 / 60)
    minutely = trace.counts[drawn.period_s == 60]
    assert minutely.size > 5
    assert (minutely == 168 * 60).all()
    assert drawn.per_day.max() == 1_440.0


def test_progress_counts_the_functions() -> None:
    """It is told one function after the other, out of all."""
    told: list[tuple[int, int]] = []
    synthesize_azure(
        20,
        1,
        seed=0,
        max_rate_rps=0.1,
        invoked_only=True,
        progress=lambda done, of: told.append((done, of)),
    )
    assert told == [(done, 20) for done in range(1, 21)]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"functions": 0}, "functions"),
        ({"functions": True}, "functions"),
        ({"functions": 2.0}, "functions"),
        ({"functions": 10**6 + 1}, "functions"),
        ({"hours": 0}, "hours"),
        ({"hours": math.nan}, "hours"),
        ({"hours": 9_000}, "hours"),
        ({"hours": "8"}, "hours"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"population": "plattform"}, "population"),
        ({"start_hour": -1}, "start_hour"),
        ({"start_hour": 168}, "start_hour"),
        ({"max_rate_rps": 1e-6}, "max_rate_rps"),
        ({"max_rate_rps": math.inf}, "max_rate_rps"),
    ],
)
def test_a_parameter_out_of_range_is_named(wrong: dict[str, Any], field: str) -> None:
    """The error says in one line which parameter, what was found and what is allowed."""
    parameters: dict[str, Any] = {"functions": 3, "hours": 1, "seed": 0} | wrong
    with pytest.raises(TraceError, match=f"^{field}: found .*allowed") as caught:
        synthesize_azure(**parameters)
    assert "\n" not in str(caught.value)


def test_a_trace_beyond_memory_is_refused_before_it_is_made() -> None:
    """A billion requests is the most; the error says what to ask for instead."""
    with pytest.raises(TraceError, match="requests, allowed are 1e\\+09: ask for fewer functions or hours"):
        synthesize_azure(20_000, 8_784, seed=0)


def test_a_window_with_too_few_invoked_functions_is_refused() -> None:
    """Where one function a day is hardly ever seen, drawing on for invoked ones has an end."""
    with pytest.raises(TraceError, match=r"hours: found .* functions have a request"):
        synthesize_azure(2, 1 / 3600, seed=0, max_rate_rps=1 / 86_400, invoked_only=True)


def test_more_requests_than_expected_find_room() -> None:
    """A function in bursts may exceed its expectation; what came before it is kept."""
    for seed in range(40):
        trace = synthesize_azure(12, 4, seed=seed, max_rate_rps=0.2, invoked_only=True)
        assert (trace.counts > 0).all()
