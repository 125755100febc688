from __future__ import annotations

import numpy as np
import pytest
from agreement_runs import launched, recorder, run_of
from hypothesis import given
from hypothesis import strategies as st

from analysis.agreement import latency_difference, mean_difference, service_by_batch
from recording import Run

Batch = tuple[int, float, float]
"""Requests, start and end."""


def served(batches: list[Batch], arrivals: list[float], ready_s: float = 0.0) -> Run:
    """Make a run in which one instance serves these batches one after the other."""
    rows, first = [], 0
    for count, start_s, end_s in batches:
        rows.append((0, 0, first, count, start_s, end_s))
        first += count
    tables = recorder(*rows)
    launched(tables, 0, ready_s=ready_s)
    return run_of(tables, [arrivals])


ARRIVALS = [1.0, 2.0]


def test_a_batch_that_begins_late_is_handover() -> None:
    """The same service, 0.1 s later each: nothing but handover."""
    sim = served([(1, 1.0, 1.5), (1, 2.0, 2.5)], ARRIVALS)
    real = served([(1, 1.1, 1.6), (1, 2.1, 2.6)], ARRIVALS)
    found = latency_difference(sim, real, 0)
    assert found is not None
    assert (found.sim_s, found.real_s) == (pytest.approx(0.5), pytest.approx(0.6))
    assert found.handover_s == pytest.approx(0.1)
    assert (found.service_s, found.batching_s, found.queueing_s) == pytest.approx((0, 0, 0), abs=1e-12)


def test_longer_service_of_the_same_batch_also_lets_others_wait() -> None:
    """The first takes 0.6 s longer and ends 0.1 s after the second came: that one waits."""
    sim = served([(1, 1.0, 1.5), (1, 2.0, 2.5)], ARRIVALS)
    real = served([(1, 1.0, 2.1), (1, 2.1, 2.6)], ARRIVALS)
    found = latency_difference(sim, real, 0)
    assert found is not None
    assert found.service_s == pytest.approx(0.3)
    assert found.queueing_s == pytest.approx(0.05)
    assert (found.batching_s, found.handover_s) == pytest.approx((0, 0), abs=1e-12)


def test_a_larger_batch_is_batching_and_waiting_for_it_queueing() -> None:
    """Two requests one by one in 0.2 s each, or together in 0.3 s once the second is there."""
    arrivals = [1.0, 1.4]
    sim = served([(1, 1.0, 1.2), (1, 1.4, 1.6)], arrivals)
    real = served([(2, 1.4, 1.7)], arrivals)
    found = latency_difference(sim, real, 0)
    assert found is not None
    assert found.batching_s == pytest.approx(0.1)
    assert found.queueing_s == pytest.approx(0.2)
    assert (found.service_s, found.handover_s) == pytest.approx((0, 0), abs=1e-12)


def test_waiting_for_an_instance_to_start_up_is_queueing() -> None:
    """An instance that is ready later can begin later."""
    sim = served([(1, 1.0, 1.5)], [1.0], ready_s=0.5)
    real = served([(1, 3.0, 3.5)], [1.0], ready_s=3.0)
    found = latency_difference(sim, real, 0)
    assert found is not None
    assert (found.queueing_s, found.handover_s) == (pytest.approx(2.0), pytest.approx(0.0))


def test_the_slowest_are_looked_at_alone() -> None:
    """Of ten requests one takes longer: all of the tail's difference, a tenth of the whole one's."""
    arrivals = [float(at) for at in range(10)]
    sim = served([(1, at, at + 0.2) for at in arrivals], arrivals)
    real = served([(1, at, at + (0.7 if at == 4 else 0.2)) for at in arrivals], arrivals)
    whole, tail = latency_difference(sim, real, 0), latency_difference(sim, real, 0, slowest=0.05)
    assert whole is not None
    assert tail is not None
    assert whole.service_s == pytest.approx(0.05)
    assert tail.service_s == pytest.approx(0.5)
    assert mean_difference([whole, tail]).service_s == pytest.approx(0.275)


def test_a_world_without_completed_requests_has_nothing_to_compare() -> None:
    """Neither has one in which they were dropped."""
    dropped = run_of(recorder((0, -1, 0, 1, 2.0, 2.0)), [[1.0]])
    assert latency_difference(served([(1, 1.0, 1.5)], [1.0]), dropped, 0) is None
    assert latency_difference(run_of(recorder(), [[1.0]]), dropped, 0) is None


def test_service_by_batch_size_joins_repeats() -> None:
    """Counts and means of both worlds over all repeats; a size that one lacks has no mean there."""
    sim = served([(1, 1.0, 1.5), (2, 2.0, 2.8)], [1.0, 1.9, 2.0])
    real = served([(1, 1.0, 1.7), (1, 2.0, 2.5)], [1.0, 2.0, 2.1])
    one, two = service_by_batch([(sim, real), (sim, real)], 0)
    assert (one.size, one.sim_batches, one.real_batches) == (1, 2, 4)
    assert (one.sim_s, one.real_s) == (pytest.approx(0.5), pytest.approx(0.6))
    assert (two.size, two.sim_batches, two.real_batches, two.real_s) == (2, 2, 0, None)


@st.composite
def histories(draw: st.DrawFn, arrivals: list[float]) -> list[Batch]:
    """Draw batches that serve these arrivals in their order, one after the other."""
    batches, first, free_s = [], 0, 0.0
    while first < len(arrivals):
        count = draw(st.integers(1, min(3, len(arrivals) - first)))
        start_s = max(free_s, arrivals[first + count - 1]) + draw(st.floats(0.0, 0.5))
        free_s = start_s + draw(st.floats(0.01, 2.0))
        batches.append((count, start_s, free_s))
        first += count
    return batches


@given(st.data(), st.lists(st.floats(0.0, 9.0), min_size=1, max_size=12))
def test_the_terms_always_add_up(data: st.DataObject, times: list[float]) -> None:
    """Whatever two worlds did with the same arrivals, the four terms are the whole difference."""
    arrivals = sorted(times)
    sim, real = (served(data.draw(histories(arrivals)), arrivals) for _ in range(2))
    for slowest in (None, 0.05):
        found = latency_difference(sim, real, 0, slowest=slowest)
        assert found is not None
        terms = (found.service_s, found.batching_s, found.queueing_s, found.handover_s)
        assert sum(terms) == pytest.approx(found.total_s, abs=1e-9)
    columns = sim.request_columns
    assert latency_difference(sim, real, 0).sim_s == pytest.approx(  # type: ignore[union-attr]
        float(np.mean(columns.end_s - sim.arrivals.arrival_s))
    )
