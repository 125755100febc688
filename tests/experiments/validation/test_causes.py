from __future__ import annotations

import pytest

from analysis.agreement import Agreement, LatencyDifference, ServiceAtBatch, find_measure
from experiments.validation.causes import Evidence, likely_cause
from experiments.validation.punctuality import Punctuality, Spread

LATE = Punctuality(Spread(0.0002, 0.003), Spread(0.0001, 0.0004), 0.0)


def values(measure: str, sim: float, real: float, function: str | None = "vision") -> Agreement:
    """One repeat."""
    return Agreement(function, find_measure(measure), (sim,), (real,))


def evidence(
    *agreements: Agreement,
    service: float = 0.0,
    batching: float = 0.0,
    queueing: float = 0.0,
    handover: float = 0.0,
) -> Evidence:
    """Latencies that differ by these milliseconds, in the tail ten times as much."""
    terms = [value / 1e3 for value in (service, batching, queueing, handover)]
    whole = LatencyDifference(0.02, 0.02 + sum(terms), *terms)
    tail = LatencyDifference(0.02, 0.02 + 10 * sum(terms), *(10 * term for term in terms))
    sizes = (ServiceAtBatch(1, 90, 80, 0.01, 0.012), ServiceAtBatch(4, 1, 0, 0.02, None))
    return Evidence(agreements, {"vision": whole}, {"vision": tail}, {"vision": sizes}, LATE)


def test_handover_is_lateness() -> None:
    """The sentence has the terms, the largest one, and how late batches were sent."""
    found = likely_cause(values("p50", 0.02, 0.03), evidence(handover=1.0, service=0.2))
    assert "requests take 1.20 ms longer in the real world" in found
    assert "handover +1.00" in found
    assert "most of it is handover: send lateness, batches were sent 0.20 ms late (median; p99 3.00)" in found


def test_the_tail_is_asked_about_the_tail() -> None:
    """For p95 it is the slowest requests whose terms count."""
    found = likely_cause(values("p95", 0.02, 0.03), evidence(handover=1.0))
    assert "the slowest requests take 10.00 ms longer" in found


def test_what_is_faster_has_its_cause_too() -> None:
    """The largest term is that which does most in the direction of the whole."""
    found = likely_cause(values("mean", 0.02, 0.01), evidence(service=-4.0, batching=-3.5, handover=5.0))
    assert "2.50 ms less" in found
    assert "most of it is service at the same batch size" in found


def test_longer_service_is_interference_unless_quotas_differ() -> None:
    """Service by batch size is the evidence for the one, mean quotas and ticks for the other."""
    same = evidence(values("quota", 0.3, 0.3), service=2.0)
    assert "interference, or the profile; the commonest batch takes 10.00 / 12.00 ms" in likely_cause(
        values("p50", 0.02, 0.03), same
    )
    other = evidence(values("quota", 0.3, 0.25), service=2.0)
    found = likely_cause(values("p50", 0.02, 0.03), other)
    assert "its quota differs, mean quota 0.300 / 0.250 (sim / real); ticks began 0.10 ms late" in found


def test_a_quota_that_hardly_differs_explains_little() -> None:
    """Service goes with 1 / quota at the most: 4 % of quota are not 17 % of service."""
    found = likely_cause(values("p50", 0.02, 0.03), evidence(values("quota", 0.312, 0.3), service=2.0))
    assert "interference, or the profile" in found


def test_queueing_has_something_behind_it() -> None:
    """Starts that take longer, or whatever makes batches end later."""
    started = evidence(values("start_up", 2.0, 4.0), queueing=5.0, handover=1.0)
    assert "start-up, start-up 2.00 / 4.00 s" in likely_cause(values("p95", 0.02, 0.03), started)
    more = evidence(values("cold_starts", 1.0, 2.0), queueing=5.0)
    assert "start-up, cold starts 1.0 / 2.0" in likely_cause(values("p95", 0.02, 0.03), more)
    found = likely_cause(values("p95", 0.02, 0.03), evidence(queueing=5.0, handover=1.0, batching=0.5))
    assert "wait for batches that end later, above all by handover: send lateness" in found


def test_larger_batches_are_batching() -> None:
    """And so is a mean batch that differs."""
    found = likely_cause(values("p50", 0.02, 0.03), evidence(batching=2.0))
    assert "lets more requests into a batch" in found
    smaller = evidence(values("batch", 1.5, 1.2), batching=-2.0)
    found = likely_cause(values("p50", 0.02, 0.01), smaller)
    assert "most of it is batching: mean batch 1.50 / 1.20 (sim / real)" in found
    assert "other requests were there" in likely_cause(values("batch", 1.0, 1.5), evidence())


def test_training_goes_with_its_quota() -> None:
    """If its mean quota differs, that is it; else interference."""
    other = evidence(values("quota", 0.1, 0.08, "job"), values("training", 1.0, 0.8, "job"))
    for function in ("job", None):
        found = likely_cause(values("training", 1.0, 0.8, function), other)
        assert found.startswith("the quota of job differs, mean quota 0.100 / 0.080")
    same = evidence(values("quota", 0.1, 0.1, "job"), values("training", 1.0, 0.8, "job"))
    assert likely_cause(values("training", 1.0, 0.8, "job"), same).startswith("interference, or the profile")


@pytest.mark.parametrize("measure", ["throughput", "svr", "p99", "mean", "share"])
def test_of_all_together_it_is_whose_requests_differ_most(measure: str) -> None:
    """The function is named."""
    found = likely_cause(values(measure, 1.0, 0.5, None), evidence(handover=1.0))
    assert "vision: " in found
    assert "handover" in found


def test_nothing_served_is_said() -> None:
    """Where a world completed no requests there are no terms."""
    nothing = Evidence((), {}, {}, {}, Punctuality(None, None, None))
    assert likely_cause(values("p50", 1.0, 0.5), nothing) == "one world completed no requests"
    assert likely_cause(values("p50", 1.0, 0.5, None), nothing) == "no requests were completed in both worlds"
    assert "at no known times" in likely_cause(values("quota", 1.0, 0.5), nothing)
