"""When the tokens of LLM requests came out.

Batches are static: a batch ends with its longest request, and all its tokens take equally long.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.latency import latencies, output_tokens
from recording import Run, requests_of_batches


def first_tokens(run: Run) -> NDArray[np.float64]:
    """Time at which each request's first output token was out; NaN where no LLM served the request.

    That is the start of its batch, plus the batch's time divided by the largest number of tokens in it.
    """
    functions = run.manifest.functions
    is_llm = np.array([function.kind == "llm" for function in functions], dtype=np.bool_)
    first_s = np.full(len(run.arrivals), np.nan)
    if not is_llm.any():
        return first_s
    tokens = np.concatenate([output_tokens(run, index) for index in range(len(functions))])
    for rows in run.tables.batch_chunks():
        served = rows[is_llm[rows["function"]] & (rows["instance"] >= 0)]
        if not len(served):
            continue
        index = requests_of_batches(served, run.arrivals)
        count = served["count"].astype(np.int64)
        longest = np.maximum.reduceat(tokens[index], np.cumsum(count) - count)
        token_s = (served["end_s"] - served["start_s"]) / longest
        first_s[index] = np.repeat(served["start_s"] + token_s, count)
    return first_s


def time_to_first_token(run: Run, function: int, first_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds from arrival to the first token (TTFT) of each completed request, given `first_tokens`."""
    here = run.arrivals.of(function)
    since_arrival = first_s[here] - run.arrivals.arrival_s[here]
    return since_arrival[~np.isnan(since_arrival)]


def time_per_output_token(run: Run, function: int) -> NDArray[np.float64]:
    """Latency divided by output tokens (TPOT) of each completed request, in seconds."""
    completed = run.request_columns.completed(run.arrivals.of(function))
    return latencies(run, function) / output_tokens(run, function)[completed]
