from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import Trace, TraceError, merge

requests = st.lists(
    st.tuples(st.integers(0, 9_999_999), st.integers(0, 3), st.integers(0, 5000)), max_size=60
).map(sorted)
NAMES = ("a", "b", "c", "d")


def trace_of(rows: list[tuple[int, int, int]], names: tuple[str, ...] = NAMES) -> Trace:
    """Return the trace of (microsecond, function, input tokens) in the order of time."""
    return Trace.from_columns(
        np.array([time for time, _, _ in rows]) / 1e6,
        np.array([owner for _, owner, _ in rows], dtype=np.int64),
        names,
        duration_s=10.0,
        input_tokens=np.array([tokens for _, _, tokens in rows], dtype=np.int64),
        attributes={"execution_s": np.arange(len(names)) / 10},
    )


def two_functions(**changes: object) -> Trace:
    """Return a small valid trace, with some columns changed."""
    columns: dict[str, object] = {
        "functions": ("a", "b"),
        "offsets": np.array([0, 2, 3]),
        "arrival_s": np.array([0.5, 1.5, 0.25]),
        "duration_s": 2.0,
    }
    return Trace(**(columns | changes))  # type: ignore[arg-type]


@given(requests)
def test_grouping_and_merging_in_time_are_inverse(rows: list[tuple[int, int, int]]) -> None:
    """Time-ordered columns come back from the grouped trace, equal times in the order of functions."""
    trace = trace_of(rows)
    arrival_s, function = trace.in_time_order()
    assert arrival_s.tolist() == [time / 1e6 for time, _, _ in rows]
    assert function.tolist() == [owner for _, owner, _ in rows]
    for position in range(len(NAMES)):
        expected = [time / 1e6 for time, owner, _ in rows if owner == position]
        assert trace.arrivals(position).tolist() == expected
        assert trace.arrivals(NAMES[position]).tolist() == expected


@given(requests)
def test_tokens_stay_with_their_request(rows: list[tuple[int, int, int]]) -> None:
    """Grouping moves each request's tokens together with its arrival."""
    trace = trace_of(rows)
    assert trace.input_tokens is not None
    for position in range(len(NAMES)):
        expected = [tokens for _, owner, tokens in rows if owner == position]
        assert trace.input_tokens[trace.span(position)].tolist() == expected


@given(requests, st.floats(0.001, 20.0))
def test_rates_count_every_arrival_once(rows: list[tuple[int, int, int]], bin_s: float) -> None:
    """Rates times bin widths give back the number of arrivals of every function."""
    trace = trace_of(rows)
    rates = trace.rates(bin_s)
    width_s = np.full(rates.shape[1], bin_s)
    width_s[-1] = trace.duration_s - bin_s * (rates.shape[1] - 1)
    assert (width_s > 0).all()
    assert np.allclose(rates @ width_s, trace.counts)


def test_an_arrival_on_the_edge_of_a_bin_belongs_to_the_later_bin() -> None:
    """A quotient that floating point rounds down does not move an arrival to the earlier bin."""
    edges = [count / 10 for count in range(11)]  # 0.3 / 0.1 is below 3
    trace = Trace.from_functions({"a": edges}, duration_s=1.1)
    assert (trace.rates(0.1) * 0.1).round(6).tolist() == [[1.0] * 11]


@given(requests, st.lists(st.integers(0, 3), unique=True))
def test_selecting_keeps_functions_as_they_are(rows: list[tuple[int, int, int]], chosen: list[int]) -> None:
    """A selection holds the chosen functions alone, in the order given, with all their columns."""
    trace = trace_of(rows)
    part = trace.select(chosen)
    assert part.functions == tuple(NAMES[position] for position in chosen)
    for position in chosen:
        assert np.array_equal(part.arrivals(NAMES[position]), trace.arrivals(position))
    assert part.attributes["execution_s"].tolist() == [position / 10 for position in chosen]
    assert part.provenance["transforms"] == [{"transform": "select", "functions": list(part.functions)}]


@given(requests, st.integers(0, 9), st.integers(1, 10))
def test_a_window_holds_what_arrives_in_it(rows: list[tuple[int, int, int]], start: int, length: int) -> None:
    """A window keeps exactly the arrivals in [start, end), with their tokens, counted from its start."""
    end = min(10, start + length)
    part = trace_of(rows).window(float(start), float(end))
    kept = [row for row in rows if start <= row[0] / 1e6 < end]
    arrival_s, function = part.in_time_order()
    assert part.duration_s == end - start
    assert arrival_s.tolist() == pytest.approx([time / 1e6 - start for time, _, _ in kept], abs=1e-9)
    assert function.tolist() == [owner for _, owner, _ in kept]


def test_merging_puts_functions_side_by_side() -> None:
    """A merge keeps every function, takes the longest window and marks what a part does not know."""
    plain = Trace.from_functions({"x": [1.0]}, duration_s=5.0, attributes={"trigger": np.array(["http"])})
    merged = merge([trace_of([(500, 1, 7)]), plain])
    assert merged.functions == (*NAMES, "x")
    assert merged.duration_s == 10.0
    assert merged.arrivals("x").tolist() == [1.0]
    assert merged.input_tokens is not None
    assert merged.input_tokens.tolist() == [7, 0]
    assert merged.output_tokens is None
    assert merged.attributes["trigger"].tolist() == ["", "", "", "", "http"]
    assert math.isnan(merged.attributes["execution_s"][-1])


def test_merging_refuses_one_name_twice() -> None:
    """Two parts with a function of the same name do not merge, and no part at all neither."""
    with pytest.raises(TraceError, match="functions: found 'a' twice"):
        merge([two_functions(), two_functions()])
    with pytest.raises(TraceError, match="traces: found none"):
        merge([])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arrival_s": [0.5, math.nan, 0.25]}, "arrival_s: found nan in function 'a'"),
        ({"arrival_s": [0.5, 1.5, -0.25]}, "arrival_s: found -0.25 in function 'b'"),
        ({"arrival_s": [0.5, 2.0, 0.25]}, "arrival_s: found 2.0 in function 'a', allowed is 0 <= time < 2"),
        ({"arrival_s": [1.5, 0.5, 0.25]}, "arrival_s: found 0.5 after 1.5 in function 'a'"),
        ({"arrival_s": [[0.5, 1.5, 0.25]]}, "arrival_s: allowed is one column of float64"),
        ({"arrival_s": ["0.5", "1.5", "x"]}, "arrival_s: allowed is one column of float64"),
        ({"offsets": [0, 3]}, "offsets: found 2 values for 2 functions"),
        ({"offsets": [0, 4, 3]}, "offsets: allowed is to rise from 0"),
        ({"offsets": [0, 2, 4]}, "offsets: allowed is to rise from 0"),
        ({"offsets": [0.0, 2.0, 3.0]}, "offsets: allowed is one column of int64"),
        ({"functions": ("a", "a")}, "functions: found 'a' twice"),
        ({"functions": ("a", "")}, "functions: found ''"),
        ({"duration_s": math.inf}, "duration_s: found inf"),
        ({"duration_s": 0.0}, "duration_s: found 0.0"),
        ({"input_tokens": [1, 2]}, "input_tokens: found 2 values for 3 arrivals"),
        ({"input_tokens": [1, -2, 3]}, "input_tokens: found -2 to 3"),
        ({"output_tokens": [1, 2, 2**31]}, "output_tokens: found 1 to 2147483648"),
        ({"output_tokens": [1.0, 2.0, 3.0]}, "output_tokens: allowed is one column of int64"),
        ({"attributes": {"trigger": np.array(["http"])}}, r"trigger: found shape \(1,\)"),
        ({"provenance": {"file": object()}}, "provenance: is not JSON-able"),
        ({"provenance": {"rate": math.nan}}, "provenance: is not JSON-able"),
    ],
)
def test_bad_columns_are_refused_in_one_line(changes: dict[str, object], message: str) -> None:
    """Every broken column is named, with what was found."""
    with pytest.raises(TraceError, match=message) as caught:
        two_functions(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arrival_s", "function", "message"),
    [
        ([1.0, 0.5], [0, 1], "arrival_s: found 0.5 after 1.0 at row 1"),
        ([0.5, 1.0], [0, 2], "function: found 0 to 2, allowed is 0 to 1"),
        ([0.5, 1.0], [-1, 0], "function: found -1 to 0"),
        ([0.5, 1.0], [0], "function: found 1 values for 2 arrivals"),
    ],
)
def test_columns_out_of_order_are_refused(arrival_s: list[float], function: list[int], message: str) -> None:
    """Time that goes back and functions without a name are refused, even where grouping would hide it."""
    with pytest.raises(TraceError, match=message):
        Trace.from_columns(arrival_s, function, ["a", "b"], duration_s=2.0)


@pytest.mark.parametrize("function", ["z", 2, -1])
def test_an_unknown_function_is_refused(function: int | str) -> None:
    """Asking for a function that the trace does not hold raises, for a negative position too."""
    with pytest.raises(TraceError, match="function: found"):
        two_functions().arrivals(function)


@pytest.mark.parametrize("bin_s", [0.0, -1.0, math.nan, math.inf])
def test_a_bin_without_width_is_refused(bin_s: float) -> None:
    """Rates need a finite width above 0."""
    with pytest.raises(TraceError, match="bin_s"):
        two_functions().rates(bin_s)


@pytest.mark.parametrize(("start_s", "end_s"), [(1.0, 1.0), (-1.0, 1.0), (0.0, 2.5), (math.nan, 1.0)])
def test_a_window_outside_the_trace_is_refused(start_s: float, end_s: float) -> None:
    """A window must lie inside the trace and hold some time."""
    with pytest.raises(TraceError, match="window: found"):
        two_functions().window(start_s, end_s)


def test_columns_cannot_be_written_to() -> None:
    """A consumer cannot change a trace that others read."""
    trace = two_functions(input_tokens=[1, 2, 3], attributes={"memory_bytes": np.array([1.0, 2.0])})
    for column in (trace.arrival_s, trace.arrivals("a"), trace.offsets, trace.attributes["memory_bytes"]):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0
    assert trace.input_tokens is not None
    assert not trace.input_tokens.flags.writeable


def test_a_trace_survives_pickling_and_copying() -> None:
    """A trace can be handed to another process."""
    for twin in (pickle.loads(pickle.dumps(two_functions())), copy.deepcopy(two_functions())):
        assert twin.functions == ("a", "b")
        assert twin.arrivals("b").tolist() == [0.25]


def test_an_empty_trace_is_a_trace() -> None:
    """A trace without functions, or with a function that gets no request, answers every question."""
    assert len(Trace.from_functions({}, duration_s=1.0)) == 0
    silent = Trace.from_functions({"a": []}, duration_s=1.0)
    assert silent.rates(0.5).tolist() == [[0.0, 0.0]]
    assert silent.select([]).functions == ()
    assert silent.in_time_order()[0].size == 0
    assert repr(silent) == "Trace(1 functions, 0 arrivals, 1 s)"
