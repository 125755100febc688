"""A synthesized window beside the real one: eight hours of 500 functions of the released set."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from traces import read_azure_functions
from traces.processes import spread_evenly
from traces.synthesis.azure import synthesize_azure
from traces.trace import Trace


@pytest.fixture(scope="module")
def real(trace_dir: Path) -> Trace:
    """Return the sample of 500 functions."""
    return read_azure_functions(trace_dir / "azure_functions_2019", sample="sample500", seed=0)


@pytest.fixture(scope="module")
def synthesized() -> Trace:
    """Return as many functions that were invoked, in as many hours from Tuesday 08:00."""
    return synthesize_azure(500, 8, seed=0, population="released", start_hour=32, invoked_only=True)


def others(trace: Trace) -> NDArray[np.bool_]:
    """Return which functions are no timers."""
    return trace.attributes["trigger"] != "timer"


def in_minutes(trace: Trace) -> list[NDArray[np.int64]]:
    """Return the counts a minute, all that the file has, of functions with 30 requests that are no timers."""
    busy = np.flatnonzero(others(trace) & (trace.counts >= 30))
    return [
        np.bincount((trace.arrivals(int(place)) / 60).astype(int), minlength=480).astype(np.int64)
        for place in busy
    ]


def gap_cv(counts: NDArray[np.int64]) -> float:
    """Return the coefficient of variation of the gaps, with the requests of a minute spread evenly."""
    gaps = np.diff(spread_evenly(counts, 60_000_000))
    return float(gaps.std() / gaps.mean())


def distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Return the KS distance of two samples, and the one that 5 % of samples of one population exceed."""
    sampling = 1.36 * math.sqrt(1 / first.size + 1 / second.size)
    return float(ks_2samp(first, second).statistic), sampling


def test_counts_of_functions_are_as_in_the_sample(real: Trace, synthesized: Trace) -> None:
    """Of all functions and of those that are no timers, within the distance of two samples and 0.05."""
    for pick in (lambda trace: trace.counts, lambda trace: trace.counts[others(trace)]):
        found, sampling = distance(pick(real), pick(synthesized))
        assert found < sampling + 0.05


def test_execution_times_are_as_in_the_sample(real: Trace, synthesized: Trace) -> None:
    """The log-normal of the whole is near the 500 functions' times, within sampling and 0.03."""
    found, sampling = distance(real.attributes["execution_s"], synthesized.attributes["execution_s"])
    assert found < sampling + 0.03


def test_gaps_and_minutes_vary_as_in_the_sample(real: Trace, synthesized: Trace) -> None:
    """CV of gaps, CV of minute counts and share of empty minutes are within sampling and 0.05."""
    ours, theirs = in_minutes(synthesized), in_minutes(real)
    for measure in (
        gap_cv,
        lambda counts: float(counts.std() / counts.mean()),
        lambda counts: float((counts == 0).mean()),
    ):
        found, sampling = distance(
            np.array([measure(counts) for counts in theirs]), np.array([measure(counts) for counts in ours])
        )
        assert found < sampling + 0.05


def test_triggers_but_timers_are_as_in_the_sample(real: Trace, synthesized: Trace) -> None:
    """Given that a function was invoked and is no timer, its trigger is as likely, within 8 points.

    Timers are a half of the sample and 28.5 % of the set that it was drawn from: it is not an even draw.
    """
    for trigger in ("http", "queue", "event", "orchestration", "storage", "others"):
        share = [
            float((trace.attributes["trigger"][others(trace)] == trigger).mean())
            for trace in (real, synthesized)
        ]
        assert share[1] == pytest.approx(share[0], abs=0.08)
    assert (~others(real)).mean() == pytest.approx(0.494, abs=0.001)
    assert 0.3 < (~others(synthesized)).mean() < 0.5


def test_few_functions_make_most_requests_in_both(real: Trace, synthesized: Trace) -> None:
    """One function in ten makes more than 90 % of the requests."""
    for trace in (real, synthesized):
        assert np.sort(trace.counts)[-50:].sum() / len(trace) > 0.9
