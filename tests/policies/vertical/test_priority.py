from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from policies import PolicyError
from policies.still_views import StillGpu, StillResident
from policies.testing import check_policy
from policies.vertical import OrionInterleaving, PerfectSharing, ReefPreemption
from profiles.sharing import PrioritySharing

Priority = ReefPreemption | OrionInterleaving | PerfectSharing
POLICIES: tuple[Priority, ...] = (ReefPreemption(), OrionInterleaving(), PerfectSharing())


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_priorities_keep_the_contract(policy: Priority) -> None:
    """Each fills the vertical slot; everybody has the limit, and no tick ever changes it."""
    assert check_policy(policy) == ("vertical",)
    residents = (StillResident(1, limit=0.6), StillResident(9, slo_sensitive=False, limit=0.9))
    assert policy.decide(StillGpu(residents)).quotas == (0.6, 0.9)
    assert policy.tick_s is None
    assert type(policy)().sharing == policy.sharing


def test_reef_takes_microseconds_to_preempt() -> None:
    """Training gets what is left, and a batch beside it waits 30 us."""
    assert ReefPreemption().sharing == PrioritySharing("left", preempt_s=30e-6)
    assert ReefPreemption(preempt_s=50e-6).sharing.preempt_s == 50e-6


def test_orion_interleaves_kernels_of_the_other_class() -> None:
    """Training runs for a fraction of the time beside a server, which it delays by the threshold."""
    assert OrionInterleaving().sharing == PrioritySharing("fraction", fraction=0.35, intrusion=0.025)
    assert OrionInterleaving(fraction=0.5, intrusion=0.0).sharing == PrioritySharing("fraction", fraction=0.5)


def test_the_bound_costs_nothing() -> None:
    """What is left goes to training, and neither delays nor intrudes."""
    assert PerfectSharing().sharing == PrioritySharing("left", 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: ReefPreemption(preempt_s=-1e-6), "preempt_s"),
        (lambda: OrionInterleaving(fraction=1.1), "fraction"),
        (lambda: OrionInterleaving(intrusion=float("nan")), "intrusion"),
    ],
)
def test_impossible_priorities_are_refused(make: Callable[[], Any], name: str) -> None:
    """A constant that no priority can have is named."""
    with pytest.raises(PolicyError, match=name):
        make()
