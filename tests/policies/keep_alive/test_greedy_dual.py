from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import PolicyError
from policies.keep_alive import GreedyDual
from policies.keep_alive.greedy_dual import Rank
from policies.slots import Evicts, Prewarms
from policies.still_views import GIB, StillFunction
from policies.testing import check_policy

VIEW = StillFunction((3, 0, 2, 0), cold_start_s=8.0, memory_bytes=4 * GIB)
"""Five requests, the last in second 2; a cold start of 8 s fills 4,096 MiB."""


@pytest.mark.parametrize(
    ("rank", "priority"),
    [("greedy-dual", 7.0 + 5 * 8.0 / 4096), ("lru", 2.5), ("frequency", 5.0), ("size", 1 / 4096)],
)
def test_priorities_by_hand(rank: Rank, priority: float) -> None:
    """The clock + frequency * cost / size; the others look at one thing each, and at no clock."""
    assert GreedyDual(rank).keep_priority(VIEW, 7.0) == pytest.approx(priority)


def test_nothing_expires() -> None:
    """However long it has been idle."""
    assert GreedyDual().idle_timeout_s(replace(VIEW, counts=(1,) + (0,) * 10_000)) == math.inf


@given(
    arrived=st.integers(1, 1000),
    cold_start_s=st.floats(0.1, 60.0),
    gib=st.integers(1, 40),
    clock=st.floats(0.0, 1e3),
)
def test_more_use_more_cost_and_less_memory_keep(
    arrived: int, cold_start_s: float, gib: int, clock: float
) -> None:
    """The priority rises with each of frequency, cost and clock, and falls with size."""
    policy = GreedyDual()
    view = StillFunction((arrived,), cold_start_s=cold_start_s, memory_bytes=gib * GIB)
    priority = policy.keep_priority(view, clock)
    better: list[dict[str, Any]] = [{"counts": (2 * arrived,)}, {"cold_start_s": 2 * cold_start_s}]
    assert all(policy.keep_priority(replace(view, **change), clock) > priority for change in better)
    assert policy.keep_priority(replace(view, memory_bytes=2 * gib * GIB), clock) < priority
    assert policy.keep_priority(view, clock + 1.0) > priority


def test_a_function_that_was_never_used_goes_first() -> None:
    """Whatever counts, by use or by recency; the clock alone does not help it over what was used since."""
    fresh = replace(VIEW, counts=())
    for rank in ("greedy-dual", "lru", "frequency"):
        assert GreedyDual(rank).keep_priority(fresh, 0.0) < GreedyDual(rank).keep_priority(VIEW, 0.0)


def test_an_unknown_rank_is_refused() -> None:
    """The line names those there are."""
    with pytest.raises(
        PolicyError, match="rank: found 'fifo', allowed are greedy-dual, lru, frequency, size"
    ):
        GreedyDual("fifo")  # type: ignore[arg-type]


@pytest.mark.parametrize("rank", get_args(Rank))
def test_every_rank_conforms(rank: Rank) -> None:
    """It fills the slot, evicts, and launches nothing ahead."""
    policy = GreedyDual(rank)
    assert check_policy(policy) == ("keep_alive",)
    assert isinstance(policy, Evicts)
    assert not isinstance(policy, Prewarms)
