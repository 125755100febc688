"""The capacity that counts for a worker: measured alone if anybody of its kind could."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from posed_host import launch

from realgpu.hosts.capacities import Capacities


def loaded(cost_per_s: float, sm_count: int = 132, **fields: Any) -> dict[str, Any]:
    """What a worker says."""
    return {"cost_per_s": cost_per_s, "sm_count": sm_count, "model": "m", "job": "serve", **fields}


def test_the_first_that_measured_alone_counts() -> None:
    """Later ones are beside busy neighbours."""
    capacities = Capacities()
    assert capacities.take(launch(0), loaded(100.0), 132, alone=True) == 100.0
    assert capacities.take(launch(1), loaded(40.0), 132, alone=False) == 100.0
    assert capacities.take(launch(2), loaded(120.0), 132, alone=False) == 100.0
    assert capacities.notes() == []
    (row,) = capacities.as_json()
    assert (row["instance"], row["cost_per_s"], row["alone"]) == (0, 100.0, True)


def test_beside_neighbours_the_largest_counts_and_that_is_said() -> None:
    """Until one measures alone."""
    capacities = Capacities()
    takes = [(40.0, False, 40.0), (60.0, False, 60.0), (50.0, False, 60.0)]
    for cost_per_s, alone, counts in takes:
        assert capacities.take(launch(), loaded(cost_per_s), 132, alone=alone) == counts
    assert capacities.notes() == [
        "the capacity of m (serve, batch 4) was found beside busy neighbours: too small"
    ]
    assert capacities.take(launch(), loaded(55.0), 132, alone=True) == 55.0
    assert capacities.notes() == []


@pytest.mark.parametrize("other", [{"model": "n"}, {"job": "train"}, {"sm_count": 66}])
def test_other_kinds_have_their_own(other: dict[str, Any]) -> None:
    """Another model, job, or part of the SMs; each of another cost."""
    capacities = Capacities()
    capacities.take(launch(), loaded(100.0), 132, alone=True)
    assert capacities.take(launch(), loaded(30.0) | other, 132, alone=False) != 100.0
    assert len(capacities.as_json()) == 2


@given(st.floats(1.0, 1e12), st.integers(1, 132))
def test_a_quota_as_large_as_the_part_is_no_further_hold(cost_per_s: float, sm_count: int) -> None:
    """What was measured on a part is the rate of that part's share."""
    whole = Capacities().take(launch(), loaded(cost_per_s, sm_count), 132, alone=True)
    assert sm_count / 132 * whole == pytest.approx(cost_per_s)
