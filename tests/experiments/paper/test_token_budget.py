from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.paper.studies.token_budget import BudgetedRckm
from policies.still_views import StillGpu, StillResident
from policies.testing import check_policy
from policies.vertical import Rckm


@st.composite
def gpus(draw: st.DrawFn) -> StillGpu:
    """Return a GPU with one to three residents that have just got their first quota."""
    residents = []
    for instance in range(draw(st.integers(1, 3))):
        request = draw(st.floats(0.05, 0.5))
        residents.append(
            StillResident(
                instance,
                slo_sensitive=draw(st.booleans()),
                request=request,
                limit=request + draw(st.floats(0.0, 0.4)),
                quota=request,
                idle=draw(st.booleans()),
                cycles=draw(st.integers(0, 20)),
                pressure=draw(st.floats(1.0, 5.0)),
            )
        )
    return StillGpu(residents)


@given(gpu=gpus(), ticks=st.integers(1, 8))
def test_a_calibrated_budget_is_dilu(gpu: StillGpu, ticks: int) -> None:
    """At 1 it grants what the kernel manager does, tick for tick."""
    ours, plain = gpu, gpu
    for _ in range(ticks):
        mine, theirs = BudgetedRckm().decide(ours), Rckm().decide(plain)
        assert mine.quotas == theirs.quotas
        assert mine.settled == theirs.settled
        ours, plain = ours.after(mine), plain.after(theirs)


@given(gpu=gpus(), budget=st.floats(0.1, 16.0))
def test_no_quota_exceeds_the_gpu(gpu: StillGpu, budget: float) -> None:
    """However many tokens there are."""
    policy = BudgetedRckm(max_tokens=budget)
    for resident, quota in zip(gpu.residents, policy.decide(gpu).quotas, strict=True):
        assert 0.0 < quota <= 1.0
        assert policy.first_quota(resident) <= 1.0


def test_surplus_tokens_take_a_throttle_along() -> None:
    """What an emergency takes of eight times the tokens still is more than the GPU works off."""
    served = StillResident(0, pressure=2.0, cycles=1)
    trained = StillResident(1, slo_sensitive=False, request=0.3, limit=0.9, quota=0.3)
    gpu = StillGpu((served, trained))
    assert BudgetedRckm().decide(gpu).quotas == (0.6, 0.15)
    assert BudgetedRckm(max_tokens=8.0).decide(gpu).quotas == (1.0, 1.0)
    assert BudgetedRckm(max_tokens=0.5).decide(gpu).quotas == (0.3, 0.075)


def test_it_is_a_policy() -> None:
    """The conformance suite finds nothing at the calibrated budget, and no budget is no number."""
    check_policy(BudgetedRckm())
    with pytest.raises(ValueError, match="found 0"):
        BudgetedRckm(max_tokens=0.0)
