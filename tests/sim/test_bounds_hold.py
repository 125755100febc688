"""The bound of vertical scaling is one: at the same sizes and places nobody serves sooner or trains more."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from simulated import NO_ARRIVALS, Ran, run, serves, trains

from policies import Size, System, find_system
from policies.routing import ImmediateBatching
from policies.vertical import ReefPreemption
from profiles import load_catalog

ROBERTA, BERT = load_catalog().model("roberta-large"), load_catalog().model("bert-base")
DURATION_S = 60.0
KEEP_LIMITS = ["dilu", "mps-l", "mps-r", "dilu-vs", "fast-gs", "dilu-reference"]
"""Systems under which nobody ever has more than its limit."""


def named(name: str) -> System:
    """Return a named system that never scales out, packs any limits, and whose batches take what is there."""
    system = dataclasses.replace(find_system(name), routing=ImmediateBatching())
    return system.with_config({"horizontal.out_count": 10**9, "placement.gamma": 2.0})


def beside_training(
    system: System, arrivals: NDArray[np.float64], serving: Size, training: Size | None = None
) -> Ran:
    """Serve one function beside a training job on one GPU."""
    functions = [serves(ROBERTA, serving), trains(BERT, training or Size(1, 0.3, 0.9))]
    ran = run(functions, [arrivals, NO_ARRIVALS], duration_s=DURATION_S, system=system)
    assert ran.instances["function"].tolist() == [0, 1]
    return ran


def bursts(rate_rps: float, cv: float, seed: int) -> NDArray[np.float64]:
    """Poisson arrivals at rates that are gamma-distributed from second to second, then some silence."""
    rng = np.random.default_rng(seed)
    seconds = int(DURATION_S) - 5
    rates = rng.gamma(1 / cv**2, rate_rps * cv**2, seconds) if cv else np.full(seconds, rate_rps)
    counts = rng.poisson(rates)
    return np.concatenate([s + np.sort(rng.uniform(0.0, 1.0, count)) for s, count in enumerate(counts)])


def ends_of_both(bound: Ran, found: Ran) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """When each request was done that was done under both; the bound leaves no more of them undone."""
    (_, bound_s), (_, found_s) = bound.starts_and_ends(), found.starts_and_ends()
    assert len(bound_s) >= len(found_s)
    return bound_s[: len(found_s)], found_s


loads = given(
    rate_rps=st.sampled_from([2.0, 10.0, 20.0, 35.0, 60.0]),
    cv=st.sampled_from([0.0, 1.0, 3.0]),
    request=st.sampled_from([0.2, 0.3, 0.5]),
    growth=st.sampled_from([1.0, 1.5, 2.0]),
    seed=st.integers(0, 2**32 - 1),
)


@pytest.mark.parametrize("name", [*KEEP_LIMITS, "kubeshare"])
@loads
@settings(max_examples=15, deadline=None)
def test_no_request_is_done_sooner_than_under_the_oracle(
    name: str, rate_rps: float, cv: float, request: float, growth: float, seed: int
) -> None:
    """In a queue served one by one, every request is done no later under the oracle than under anybody.

    One by one, because only then a faster server is sooner done with each of them. With batches, the faster
    one may have begun a batch of one just before others came, whom the slower takes along. KubeShare caps no
    SMs, so that the oracle may not either: both have a limit of the whole GPU.
    """
    arrivals = bursts(rate_rps, cv, seed)
    size = Size(1, request, 1.0 if name == "kubeshare" else request * growth)
    bound_s, found_s = ends_of_both(
        beside_training(named("oracle"), arrivals, size), beside_training(named(name), arrivals, size)
    )
    assert (bound_s <= found_s + 1e-9).all()


@pytest.mark.parametrize("name", [*KEEP_LIMITS, "kubeshare"])
@loads
@settings(max_examples=15, deadline=None)
def test_latencies_are_bounded_by_the_oracle(
    name: str, rate_rps: float, cv: float, request: float, growth: float, seed: int
) -> None:
    """In batches of up to four, mean, p50 and p95 are bounded but for 10 %, by which batches that close at
    other times may shift them (1.5 % was the most in a thousand runs, 7 % with a hundred requests in one).
    """
    arrivals = bursts(rate_rps, cv, seed)
    size = Size(4, request, 1.0 if name == "kubeshare" else request * growth)
    bound_s, found_s = ends_of_both(
        beside_training(named("oracle"), arrivals, size), beside_training(named(name), arrivals, size)
    )
    if len(found_s):
        arrived_s = arrivals[: len(found_s)]
        for of in (np.mean, np.median, lambda latencies: np.percentile(latencies, 95)):
            assert of(bound_s - arrived_s) <= 1.1 * of(found_s - arrived_s)


@loads
@settings(max_examples=30, deadline=None)
def test_the_oracle_wastes_nothing_that_preemption_leaves(
    rate_rps: float, cv: float, request: float, growth: float, seed: int
) -> None:
    """At the same sizes training gets no less than under REEF, which does the same with a delay.

    Requests are served one by one: in larger batches, later ones may take less of the GPU's time together.
    """
    arrivals = bursts(rate_rps, cv, seed)
    size = Size(1, request, request * growth)
    oracle = beside_training(named("oracle"), arrivals, size)
    reef = beside_training(dataclasses.replace(named("oracle"), vertical=ReefPreemption()), arrivals, size)
    assert oracle.training["steps"][0] >= reef.training["steps"][0] * (1.0 - 1e-9)


def test_the_oracle_gives_training_just_what_is_left() -> None:
    """Steps are those of the limit while nothing is served, and of what the batches leave of the GPU."""
    serving, training = Size(1, 0.3, 0.6), Size(1, 0.3, 0.9)
    arrivals = np.arange(0.5, DURATION_S, 1.0)
    ran = beside_training(named("oracle"), arrivals, serving, training)
    assert BERT.training is not None
    served = ran.of(0)
    busy_s = float((served["end_s"] - served["start_s"]).sum())
    steps = BERT.training.step.seconds
    expected = (DURATION_S - busy_s) / steps(0.9) + busy_s / steps(1.0 - 0.6)
    assert ran.training["steps"][0] == pytest.approx(expected, rel=1e-6)
