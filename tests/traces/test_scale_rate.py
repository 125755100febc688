from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numbered import DURATION_S, NAMES, requests_of, rows, seeds, timer, trace_of

from traces import (
    ArrivalKind,
    ArrivalSpec,
    Trace,
    TraceError,
    generate,
    read_azure_functions,
)
from traces.streams import stream
from traces.transforms import (
    pool,
    scale_rate,
)

PINNED_S = [
    *(0.5, 1.3427020291255354),
    *(1.5, 2.2611298701869824),
    *(2.5, 2.5045233080245817, 2.721873169458268),
]

factors = st.floats(0.05, 6.0)


@given(rows, factors, seeds)
def test_scaling_keeps_what_a_request_is(requests: list[tuple[int, int]], factor: float, seed: int) -> None:
    """Each request stands floor or ceil of the factor times, between its time and the function's next."""
    trace = trace_of(requests)
    scaled = scale_rate(trace, factor, seed=seed)
    assert scaled.functions == trace.functions
    assert scaled.duration_s == trace.duration_s
    for position in range(len(NAMES)):
        numbers = [number for number, (_, owner) in enumerate(requests) if owner == position]
        times_s = [*(requests[number][0] / 1e6 for number in numbers), DURATION_S]
        span = scaled.span(position)
        assert scaled.input_tokens is not None
        assert scaled.output_tokens is not None
        tokens = scaled.input_tokens[span]
        assert (scaled.output_tokens[span] == tokens + 1000).all()
        assert set(tokens.tolist()) <= set(numbers)
        for index, number in enumerate(numbers):
            copies_s = scaled.arrivals(position)[tokens == number]
            assert math.floor(factor) <= copies_s.size <= math.ceil(factor)
            assert ((copies_s >= times_s[index]) & (copies_s <= times_s[index + 1])).all()
            if factor >= 1:
                assert copies_s[0] == times_s[index]


@given(rows, st.integers(1, 5), seeds)
def test_a_whole_factor_is_met_exactly(requests: list[tuple[int, int]], factor: int, seed: int) -> None:
    """Every function has exactly `factor` times its requests."""
    trace = trace_of(requests)
    assert (scale_rate(trace, factor, seed=seed).counts == factor * trace.counts).all()


@given(rows, seeds)
def test_a_factor_of_one_changes_nothing_but_the_provenance(
    requests: list[tuple[int, int]], seed: int
) -> None:
    """Factor 1 gives the same requests and says that it was asked for."""
    trace = trace_of(requests)
    scaled = scale_rate(trace, 1, seed=seed)
    assert requests_of(scaled) == requests_of(trace)
    assert scaled.provenance["transforms"] == [{"transform": "scale_rate", "factor": 1.0, "seed": seed}]


@pytest.mark.parametrize("factor", [0.1, 0.5, 0.9, 1.25, 2.7])
def test_the_mean_is_met_in_expectation(factor: float) -> None:
    """Over 200 seeds the mean count is within 4 standard errors of the factor, and the spread is binomial."""
    trace = timer(100)
    counts = np.array([len(scale_rate(trace, factor, seed=seed)) for seed in range(200)])
    part = factor % 1
    deviation = math.sqrt(100 * part * (1 - part))
    assert counts.mean() == pytest.approx(100 * factor, abs=4 * deviation / math.sqrt(200))
    assert counts.std() == pytest.approx(deviation, rel=0.25)


def test_thinning_is_independent_of_neighbours() -> None:
    """Whether a request stays says nothing about the next one."""
    kept = scale_rate(timer(20_000), 0.5, seed=3).input_tokens
    assert kept is not None
    stays = np.isin(np.arange(20_000), kept)
    assert abs(np.corrcoef(stays[1:], stays[:-1])[0, 1]) < 4 / math.sqrt(20_000)


def test_copies_are_uniform_between_a_request_and_the_next() -> None:
    """The place of a copy in its gap has the quantiles of a uniform variable, in the last gap as well."""
    scaled = scale_rate(timer(5000), 4, seed=1)
    place = np.sort((scaled.arrival_s - 0.5) % 1.0)[5000:]
    assert place.size == 15_000
    uniform = (np.arange(place.size) + 0.5) / place.size
    assert np.abs(place - uniform).max() < 1.63 / math.sqrt(place.size)  # Kolmogorov-Smirnov, 1 %
    last_s = np.array(
        [scale_rate(timer(1, duration_s=8.5), 2, seed=seed).arrival_s[1] for seed in range(500)]
    )
    assert last_s.mean() == pytest.approx(4.5, abs=4 * 8 / math.sqrt(12 * 500))


def test_a_burst_stays_a_burst() -> None:
    """Tripled, a burst of 1 s in an hour has three times its rate; two copies may leave it."""
    burst_s = 1800 + np.arange(100) / 100
    trace = Trace.from_functions({"f": burst_s}, duration_s=3600.0)
    scaled = scale_rate(trace, 3, seed=0).arrival_s
    assert ((scaled >= 1800) & (scaled < 1801)).sum() >= 298
    assert scaled.min() == 1800.0


def test_equal_times_are_copied_to_equal_times() -> None:
    """A tick of several requests stays a tick; only the last one's copies leave it."""
    trace = Trace.from_functions({"f": [2.0] * 10}, duration_s=4.0)
    assert (scale_rate(trace, 3, seed=5).arrival_s == 2.0).sum() == 28


def test_copies_of_a_request_just_before_the_end_stay_in_the_trace() -> None:
    """There may be no number between the last request and the end."""
    last_s = float(np.nextafter(4.0, 0))
    scaled = scale_rate(Trace.from_functions({"f": [1.0, last_s]}, duration_s=4.0), 20, seed=0)
    assert len(scaled) == 40
    assert scaled.arrival_s.max() == last_s


@given(st.lists(st.floats(0, 1e6, exclude_max=True), max_size=20).map(sorted), seeds)
def test_copies_pass_no_request_however_close_it_is(times_s: list[float], seed: int) -> None:
    """Neighbours may be next to each other in floating point, or 300 orders of magnitude apart."""
    trace = Trace.from_columns(
        times_s, [0] * len(times_s), ["f"], duration_s=1e6, input_tokens=list(range(len(times_s)))
    )
    scaled = scale_rate(trace, 30, seed=seed)
    assert scaled.input_tokens is not None
    next_s = np.array([*times_s[1:], 1e6])
    number = scaled.input_tokens
    assert (np.diff(number) >= 0).all()
    assert ((scaled.arrival_s >= trace.arrival_s[number]) & (scaled.arrival_s <= next_s[number])).all()


def test_a_million_requests_of_one_function_are_scaled_as_one() -> None:
    """Where a long function is worked on in parts, order and place in the gap are as in a short one."""
    trace = timer((1 << 20) + 1000)
    scaled = scale_rate(trace, 2.5, seed=0)
    assert scaled.input_tokens is not None
    assert (np.diff(scaled.input_tokens) >= 0).all()
    gap = scaled.arrival_s - 0.5 - scaled.input_tokens
    assert ((gap >= 0) & (gap <= 1)).all()
    short = scale_rate(timer(1 << 20, duration_s=trace.duration_s), 2.5, seed=0).arrival_s
    before_last = short[: -(1 + 2)]
    assert np.array_equal(scaled.arrival_s[: before_last.size], before_last)


@given(rows, factors, seeds, st.sets(st.integers(0, 3), min_size=1))
def test_a_function_is_scaled_alike_whatever_stands_beside_it(
    requests: list[tuple[int, int]], factor: float, seed: int, chosen: set[int]
) -> None:
    """Selecting and scaling change places."""
    trace = trace_of(requests)
    scaled_part = scale_rate(trace.select(sorted(chosen)), factor, seed=seed)
    part_scaled = scale_rate(trace, factor, seed=seed).select(sorted(chosen))
    assert requests_of(scaled_part) == requests_of(part_scaled)


@given(rows, st.floats(0.01, 1.0), st.floats(0.01, 1.0), seeds)
def test_thinned_requests_nest(requests: list[tuple[int, int]], one: float, other: float, seed: int) -> None:
    """What a lower factor keeps, a higher one keeps too."""
    few, many = sorted([one, other])
    trace = trace_of(requests)
    assert set(requests_of(scale_rate(trace, few, seed=seed))) <= set(
        requests_of(scale_rate(trace, many, seed=seed))
    )


def test_halved_twice_is_a_quarter_even_of_single_requests() -> None:
    """A second scaling with the same seed draws anew; with the first one's draws it would keep everything."""
    trace = Trace.from_functions({f"f{i}": [0.5] for i in range(4000)}, duration_s=1.0)
    once = scale_rate(trace, 0.5, seed=0)
    assert len(once) == pytest.approx(2000, abs=4 * math.sqrt(1000))
    assert len(scale_rate(once, 0.5, seed=0)) == pytest.approx(1000, abs=4 * math.sqrt(750))


def test_functions_and_seeds_draw_apart() -> None:
    """Two functions of the same arrivals are scaled differently, and so is one under two seeds."""
    one = scale_rate(timer(50, "one"), 1.5, seed=0).arrival_s
    assert not np.array_equal(one, scale_rate(timer(50, "two"), 1.5, seed=0).arrival_s)
    assert not np.array_equal(one, scale_rate(timer(50, "one"), 1.5, seed=1).arrival_s)


def test_scaled_times_are_the_same_on_every_machine() -> None:
    """Each copy's place follows from the function's stream, request by request, and is pinned to the bit."""
    scaled = scale_rate(timer(3), 2.5, seed=11)
    has_three = stream(11, "scale_rate 0: which", "f").random(3) < 0.5
    draws = stream(11, "scale_rate 0: where", "f")
    expected: list[float] = []
    for request, end_s in enumerate((1.5, 2.5, float(np.nextafter(3.0, 0)))):
        start_s = request + 0.5
        share = draws.random(3 if has_three[request] else 2)[1:]
        expected += [start_s, *sorted((start_s + share * (end_s - start_s)).tolist())]
    assert scaled.arrival_s.tolist() == expected
    assert expected == PINNED_S


def test_more_than_a_billion_requests_are_refused() -> None:
    """The limit is told before memory runs out."""
    with pytest.raises(TraceError, match=r"^factor: found 1e\+15 for 2 requests, allowed are 1e\+09"):
        scale_rate(timer(2), 1e15, seed=0)


@pytest.mark.parametrize(
    ("kind", "cv", "factor"), [("poisson", 1.0, 2), ("poisson", 1.0, 5), ("even", 0.0, 2), ("even", 0.0, 4)]
)
def test_the_gaps_of_a_scaled_process_vary_as_documented(kind: ArrivalKind, cv: float, factor: int) -> None:
    """Uniform copies cut a gap into uniform spacings, of which the second moment is 2 / (k (k + 1))."""
    trace = generate([ArrivalSpec("f", kind, 20.0)], duration_s=2000.0, seed=0)
    gaps_s = np.diff(scale_rate(trace, factor, seed=0).arrival_s)
    expected = math.sqrt(2 * factor * (1 + cv**2) / (factor + 1) - 1)
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(expected, rel=0.02)


def test_a_thinned_poisson_process_is_still_one() -> None:
    """Its gaps keep the variation of 1."""
    trace = generate([ArrivalSpec("f", "poisson", 100.0)], duration_s=2000.0, seed=0)
    gaps_s = np.diff(scale_rate(trace, 0.2, seed=0).arrival_s)
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(1.0, abs=0.03)


def test_a_recorded_day_is_scaled_thinned_and_pooled(trace_dir: Path) -> None:
    """Transforms of a public trace meet their counts, function by function."""
    trace = read_azure_functions(trace_dir / "azure_functions_2019", sample="sample500", seed=0)
    doubled = scale_rate(trace, 2, seed=0)
    assert (doubled.counts == 2 * trace.counts).all()
    halved = scale_rate(trace, 0.5, seed=0)
    error = 4 * np.sqrt(trace.counts * 0.25) + 1
    assert (np.abs(halved.counts - trace.counts / 2) <= error).all()
    hourly, hourly_doubled = (each.rates(3600.0) * 3600 for each in (trace, doubled))
    assert np.abs(hourly_doubled - 2 * hourly).max() <= 2  # a copy or two cross the edge of an hour
    pooled = pool(trace, "all")
    assert len(pooled) == len(trace)
    assert pooled.duration_s == trace.duration_s
