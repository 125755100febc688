from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numbered import DURATION_S, NAMES, requests_of, rows, seeds, timer, trace_of

from traces import (
    ModelChoice,
    Trace,
    TraceError,
    map_functions,
)
from traces.transforms import (
    compress_time,
    drop_idle,
    only,
    pool,
    thin,
    top,
    window,
)


@given(rows, st.integers(0, 9), st.integers(1, 10))
def test_a_window_is_the_part_between_its_ends(
    requests: list[tuple[int, int]], start_s: int, length_s: int
) -> None:
    """Requests in [start, end) stay with their tokens, counted from the start."""
    end_s = min(10, start_s + length_s)
    part = window(trace_of(requests), start_s, end_s)
    assert part.duration_s == end_s - start_s
    kept = {number for number, (time, _) in enumerate(requests) if start_s <= time / 1e6 < end_s}
    assert {tokens for _, _, tokens, _ in requests_of(part)} == kept
    for name, time_s, tokens, output in requests_of(part):
        assert time_s + start_s == pytest.approx(requests[tokens][0] / 1e6)
        assert name == NAMES[requests[tokens][1]]
        assert output == tokens + 1000


@given(rows, st.integers(0, 4), st.integers(1, 5), st.sampled_from([0.25, 0.5, 2, 8]))
def test_a_window_of_compressed_time_is_the_compressed_window(
    requests: list[tuple[int, int]], start_s: int, length_s: int, factor: float
) -> None:
    """Window and compression change places, where the division is exact."""
    trace = trace_of(requests)
    end_s = start_s + length_s
    first = compress_time(window(trace, start_s, end_s), factor)
    second = window(compress_time(trace, factor), start_s / factor, end_s / factor)
    assert first.duration_s == second.duration_s
    assert requests_of(first) == requests_of(second)


@given(rows, st.floats(1e-6, 1e6))
def test_compression_divides_every_time(requests: list[tuple[int, int]], factor: float) -> None:
    """Times and the duration are divided; requests, their order and attributes stay."""
    trace = trace_of(requests)
    faster = compress_time(trace, factor)
    assert faster.duration_s == DURATION_S / factor
    assert faster.arrival_s == pytest.approx(trace.arrival_s / factor, rel=1e-15)
    assert [row[2:] for row in requests_of(faster)] == [row[2:] for row in requests_of(trace)]
    assert faster.attributes["execution_s"].tolist() == trace.attributes["execution_s"].tolist()


def test_a_request_just_before_the_end_stays_before_the_end() -> None:
    """A quotient that rounds up to the end is put below it."""
    duration_s = 1.0
    last_s = float(np.nextafter(duration_s, 0))
    assert last_s / 3 == duration_s / 3
    faster = compress_time(Trace.from_functions({"f": [last_s]}, duration_s=duration_s), 3)
    assert faster.arrival_s[0] == np.nextafter(faster.duration_s, 0)


@pytest.mark.parametrize(("duration_s", "factor"), [(1e-300, 1e300), (1e300, 1e-300)])
def test_a_compression_to_nothing_or_for_ever_is_refused(duration_s: float, factor: float) -> None:
    """A duration of 0 or infinity is no trace."""
    with pytest.raises(TraceError, match=r"^factor: found .*, which makes a duration of (0\.0|inf) s"):
        compress_time(Trace.from_functions({"f": [0.0]}, duration_s=duration_s), factor)


@given(seeds, st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_thinned_functions_nest(seed: int, one: float, other: float) -> None:
    """The functions of a lower fraction are among those of a higher one, and all are of fraction 1."""
    trace = Trace.from_functions({f"f{i}": [] for i in range(60)}, duration_s=1.0)
    few, many = (set(thin(trace, fraction, seed=seed).functions) for fraction in sorted([one, other]))
    assert few <= many
    assert thin(trace, 1, seed=seed).functions == trace.functions
    again = thin(thin(trace, max(one, other), seed=seed), min(one, other), seed=seed)
    assert set(again.functions) == few


@given(rows, seeds, st.floats(0.2, 1.0))
def test_a_thinned_function_stays_whole_whatever_stands_beside_it(
    requests: list[tuple[int, int]], seed: int, fraction: float
) -> None:
    """Kept functions keep their requests, and the choice is each function's own."""
    trace = trace_of(requests)
    kept = thin(trace, fraction, seed=seed)
    assert requests_of(kept) == requests_of(trace.select(kept.functions))
    alone = [name for name in NAMES if thin(trace.select([name]), fraction, seed=seed).functions == (name,)]
    assert kept.functions == tuple(alone)


def test_a_fraction_of_the_functions_stays_whatever_model_they_would_get() -> None:
    """Of 3,000 functions three in ten stay, as many of each model: the hashes of thin and by-hash differ."""
    trace = Trace.from_functions({f"f{i}": [] for i in range(3000)}, duration_s=1.0)
    kept = thin(trace, 0.3, seed=4)
    assert len(kept.functions) == pytest.approx(900, abs=4 * math.sqrt(3000 * 0.21))
    models = [ModelChoice("one"), ModelChoice("two")]
    of_one = list(map_functions(kept, models, rule="by-hash", seed=4).model_of.values()).count("one")
    assert of_one == pytest.approx(len(kept.functions) / 2, abs=4 * math.sqrt(len(kept.functions)) / 2)
    assert thin(trace, 0.3, seed=5).functions != kept.functions


def test_thinned_functions_are_the_same_on_every_machine() -> None:
    """The choice is pinned."""
    chosen = [thin(trace_of([]), 0.5, seed=seed).functions for seed in range(3)]
    assert chosen == [("web-a", "timer"), ("web-a",), ("web-b", "timer")]


@given(rows, st.integers(1, 6))
def test_the_top_functions_have_no_fewer_requests_than_the_rest(
    requests: list[tuple[int, int]], k: int
) -> None:
    """They stand in the order of the trace, whole, and of equal counts the first stays."""
    trace = trace_of(requests)
    kept = top(trace, k)
    ranked = sorted(range(4), key=lambda position: (-int(trace.counts[position]), position))
    assert kept.functions == tuple(NAMES[position] for position in sorted(ranked[:k]))
    assert requests_of(kept) == requests_of(trace.select(kept.functions))


@given(rows)
def test_idle_functions_are_dropped_and_no_others(requests: list[tuple[int, int]]) -> None:
    """All requests stay, and every function left has one."""
    trace = trace_of(requests)
    kept = drop_idle(trace)
    assert requests_of(kept) == requests_of(trace)
    assert (kept.counts > 0).all()
    assert kept.functions == tuple(name for name, count in zip(NAMES, trace.counts, strict=True) if count)


@pytest.mark.parametrize(
    ("names", "trigger", "expected"),
    [
        ("web-*", None, ("web-a", "web-b")),
        (["timer", "web-?"], None, ("web-a", "web-b", "timer")),
        (None, "http", ("web-a", "web-b")),
        (None, ["queue", "timer"], ("timer", "Batch")),
        ("*a*", "http", ("web-a",)),
        ("B*", None, ("Batch",)),
        ("web-a", "timer", ()),
    ],
)
def test_patterns_choose_functions(names: Any, trigger: Any, expected: tuple[str, ...]) -> None:
    """A function stays if a pattern of each kind that is asked for matches."""
    kept = only(trace_of([(5, 0), (6, 3)]), names, trigger=trigger)
    assert kept.functions == expected
    asked = {
        field: [patterns] if isinstance(patterns, str) else patterns
        for field, patterns in (("names", names), ("trigger", trigger))
        if patterns
    }
    assert kept.provenance["transforms"] == [{"transform": "only", **asked}]


def test_a_trigger_is_not_asked_of_a_trace_that_knows_none() -> None:
    """Patterns of triggers need triggers."""
    with pytest.raises(TraceError, match=r"^trigger: found 'http', but the trace knows no triggers"):
        only(timer(1), trigger="http")


@given(rows)
def test_a_pool_holds_every_request_in_the_order_of_time(requests: list[tuple[int, int]]) -> None:
    """Requests keep their time and tokens; of equal times the first function's is first."""
    pooled = pool(trace_of(requests), "all")
    assert pooled.functions == ("all",)
    assert requests_of(pooled) == [
        ("all", time / 1e6, number, number + 1000) for number, (time, _) in enumerate(requests)
    ]


def test_a_pool_knows_what_all_functions_share() -> None:
    """An attribute that differs, or that one function does not know, is unknown of the whole."""
    trace = Trace.from_functions(
        {"a": [1.0], "b": [0.5]},
        duration_s=2.0,
        attributes={
            "execution_s": np.array([0.2, 0.3]),
            "memory_bytes": np.array([1e9, math.nan]),
            "gpus": np.array([2, 2]),
            "trigger": np.array(["http", "http"]),
            "owner": np.array(["x", "y"]),
        },
    )
    pooled = {name: column.tolist() for name, column in pool(trace, "all").attributes.items()}
    assert pooled["gpus"] == [2]
    assert pooled["trigger"] == ["http"]
    assert pooled["owner"] == [""]
    assert math.isnan(pooled["execution_s"][0])
    assert math.isnan(pooled["memory_bytes"][0])
