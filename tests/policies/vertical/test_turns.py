from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import PolicyError
from policies.still_views import StillGpu, StillResident
from policies.testing import check_policy
from policies.vertical import GuaranteedTurns, OneAtATime, PartitionedTurns, RoundRobin
from profiles.sharing import TimeSharing

Turns = GuaranteedTurns | PartitionedTurns | RoundRobin | OneAtATime
POLICIES: tuple[Turns, ...] = (GuaranteedTurns(), PartitionedTurns(), RoundRobin(), OneAtATime())


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_turns_keep_the_contract(policy: Turns) -> None:
    """Each fills the vertical slot and never changes a quota."""
    assert check_policy(policy) == ("vertical",)
    assert policy.tick_s is None
    assert type(policy)() == policy
    assert type(policy)().sharing == policy.sharing


def test_tokens_grant_requests_and_cap_training() -> None:
    """KubeShare: turns of 300 ms on the whole GPU, by request, training up to its limit."""
    policy = GuaranteedTurns()
    assert policy.sharing == TimeSharing("gpu", "request", "training", turn_s=0.3, switch_loss=0.0)
    assert policy.first_quota(StillResident(request=0.3, limit=0.7)) == 0.7
    assert GuaranteedTurns(turn_s=0.25).sharing.turn_s == 0.25  # the default of Gemini's binary


@pytest.mark.parametrize(
    ("request_share", "limit", "quota"), [(0.2, 0.4, 0.32), (0.3, 0.4, 0.4), (0.4, 0.4, 0.4)]
)
def test_a_partition_is_used_for_the_request_and_an_extra(
    request_share: float, limit: float, quota: float
) -> None:
    """FaST-GShare: on a partition of .4, a request of .2 is half of the time, which may grow to 80 %."""
    resident = StillResident(request=request_share, limit=limit)
    policy = PartitionedTurns()
    assert policy.first_quota(resident) == pytest.approx(quota)
    assert policy.decide(StillGpu((resident,))).quotas == (policy.first_quota(resident),)
    assert PartitionedTurns(extra=0.0).first_quota(resident) == pytest.approx(request_share)
    assert policy.sharing == TimeSharing("limit", "request", "training", turn_s=0.0, switch_loss=0.0)


@given(st.floats(0.01, 1.0), st.floats(0.01, 1.0), st.floats(0.0, 1.0))
def test_a_time_quota_lies_between_request_and_limit(one: float, other: float, extra: float) -> None:
    """A partition is never used more than all of the time, nor less than was requested."""
    resident = StillResident(request=min(one, other), limit=max(one, other))
    quota = PartitionedTurns(extra=extra).first_quota(resident)
    assert resident.request <= quota * (1.0 + 1e-12)
    assert quota <= resident.limit


def test_slices_are_equal_and_switching_costs() -> None:
    """Kubernetes time slicing takes no notice of requests; 3 % are lost."""
    assert RoundRobin().sharing == TimeSharing("gpu", "equal", "training", turn_s=0.002, switch_loss=0.03)
    assert RoundRobin(switch_loss=0.05).sharing.switch_loss == 0.05


def test_one_function_runs_at_a_time() -> None:
    """Torpor: equal turns as long as a batch, without loss."""
    assert OneAtATime().sharing == TimeSharing("gpu", "equal", "training", turn_s=0.05, switch_loss=0.0)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: GuaranteedTurns(turn_s=-1.0), "turn_s"),
        (lambda: OneAtATime(turn_s=float("inf")), "turn_s"),
        (lambda: RoundRobin(turn_s=float("nan")), "turn_s"),
        (lambda: RoundRobin(switch_loss=1.0), "switch_loss"),
        (lambda: PartitionedTurns(extra=1.5), "extra"),
        (lambda: PartitionedTurns(turn_s=-0.1), "turn_s"),
    ],
)
def test_impossible_turns_are_refused(make: Callable[[], Any], name: str) -> None:
    """A constant that no turn can have is named."""
    with pytest.raises(PolicyError, match=name):
        make()
