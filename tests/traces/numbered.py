"""Traces whose requests are numbered by their tokens, so that each is recognised after a transform."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from traces import Trace

NAMES = ("web-a", "web-b", "timer", "Batch")
TRIGGERS = ("http", "http", "timer", "queue")
DURATION_S = 10.0
# a row is (microsecond, function)
rows = st.lists(st.tuples(st.integers(0, 9_999_999), st.integers(0, 3)), max_size=60).map(sorted)
seeds = st.integers(0, 2**40)


def trace_of(requests: list[tuple[int, int]]) -> Trace:
    """Return a trace of (microsecond, function) in the order of time."""
    number = np.arange(len(requests), dtype=np.int64)
    return Trace.from_columns(
        np.array([time for time, _ in requests]) / 1e6,
        np.array([owner for _, owner in requests], dtype=np.int64),
        NAMES,
        duration_s=DURATION_S,
        input_tokens=number,
        output_tokens=number + 1000,
        attributes={"execution_s": np.arange(4) / 10, "trigger": np.array(TRIGGERS)},
        provenance={"source": "a test"},
    )


def timer(count: int, name: str = "f", duration_s: float | None = None) -> Trace:
    """Return one function with a request a second, the first at 0.5 s, numbered by its input tokens."""
    return Trace.from_columns(
        np.arange(count) + 0.5,
        np.zeros(count, dtype=np.int64),
        [name],
        duration_s=float(count) if duration_s is None else duration_s,
        input_tokens=np.arange(count),
    )


def requests_of(trace: Trace) -> list[tuple[str, float, int, int]]:
    """Return every request as (function, time, input tokens, output tokens), in the order of the columns."""
    assert trace.input_tokens is not None
    assert trace.output_tokens is not None
    owner = np.repeat(np.array(trace.functions, dtype=object), trace.counts)
    return list(
        zip(
            owner.tolist(),
            trace.arrival_s.tolist(),
            trace.input_tokens.tolist(),
            trace.output_tokens.tolist(),
            strict=True,
        )
    )


def same(one: Trace, other: Trace) -> bool:
    """Whether two traces hold the same, to the byte."""
    return (
        one.functions == other.functions
        and one.duration_s == other.duration_s
        and requests_of(one) == requests_of(other)
        and one.provenance == other.provenance
        and {name: repr(column.tolist()) for name, column in one.attributes.items()}
        == {name: repr(column.tolist()) for name, column in other.attributes.items()}
    )
