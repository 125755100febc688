"""How long requests took, and which missed their objective.

The latency of a request is the end of its batch minus its arrival: queueing, waiting for the batch to
close, cold start and service. The latency of an LLM request divided by its output tokens is held against
the function's SLO (the paper's "LLM latency": mean time per output token, section 6.1), of any other
request the latency itself.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from recording import Run

RESOLUTION_S: Final = 1e-9
"""Times closer than this are equal: profiles round service times to it, sums of times err below it."""

PERCENTILES: Final = (50, 95, 99)


def latencies(run: Run, function: int) -> NDArray[np.float64]:
    """Seconds from arrival to end of each completed request of a function, in the order of arrival."""
    here = run.arrivals.of(function)
    columns = run.request_columns
    return (columns.end_s[here] - run.arrivals.arrival_s[here])[columns.completed(here)]


def all_latencies(run: Run) -> NDArray[np.float64]:
    """Seconds from arrival to end of every completed request."""
    columns = run.request_columns
    return (columns.end_s - run.arrivals.arrival_s)[columns.completed()]


def output_tokens(run: Run, function: int) -> NDArray[np.int32]:
    """Output tokens of each request of a function."""
    here = run.arrivals.of(function)
    own = run.manifest.functions[function].output_tokens
    if run.arrivals.output_tokens is None:
        return np.full(here.stop - here.start, own, np.int32)
    tokens = run.arrivals.output_tokens[here]
    return np.where(tokens > 0, tokens, np.int32(own)).astype(np.int32)


def violations(run: Run, function: int) -> int | None:
    """Count the requests of a function that missed its SLO; `None` if it has none.

    A request misses it when it is late, when it is dropped, and when it is unfinished although at the end
    of the run it has been waiting longer than the SLO allows.
    """
    recorded = run.manifest.functions[function]
    if recorded.slo_s is None:
        return None
    here = run.arrivals.of(function)
    columns = run.request_columns
    end_s = np.where(np.isnan(columns.end_s[here]), run.manifest.simulated_s, columns.end_s[here])
    allowed_s = recorded.slo_s * (output_tokens(run, function) if recorded.kind == "llm" else 1)
    late = end_s - run.arrivals.arrival_s[here] > allowed_s + RESOLUTION_S
    return int(np.count_nonzero(late | columns.dropped[here]))


def distribution(values: NDArray[np.float64]) -> dict[str, float | None]:
    """Mean and percentiles (linear interpolation, as `numpy.percentile` does); `None` of nothing.

    Reorders `values`, so that a run of millions of requests is not copied once more.
    """
    names = [f"p{percentile}" for percentile in PERCENTILES]
    if not len(values):
        return dict.fromkeys(["mean", *names])
    mean = float(values.mean())
    percentiles = np.percentile(values, PERCENTILES, overwrite_input=True)
    return {"mean": mean, **{name: float(value) for name, value in zip(names, percentiles, strict=True)}}
