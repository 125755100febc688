from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.still_views import StillGpu, StillResident
from policies.vertical.rckm_reference import BudgetMemory, RckmReference

CODE = RckmReference()


def serves(**changes: Any) -> StillResident:
    """Return a busy SLO-sensitive resident of request .3 and limit .6."""
    return dataclasses.replace(StillResident(1, request=0.3, limit=0.6, quota=0.3), **changes)


def trains(**changes: Any) -> StillResident:
    """Return a training resident of request .5 and limit .9."""
    resident = StillResident(9, slo_sensitive=False, request=0.5, limit=0.9, quota=0.5)
    return dataclasses.replace(resident, **changes)


def budget_after(*residents: StillResident, budget: float = 0.5, policy: RckmReference = CODE) -> float:
    """Return C after one tick that finds these cycles new."""
    memory = policy.decide(StillGpu(residents, BudgetMemory(budget, ()))).memory
    assert isinstance(memory, BudgetMemory)
    return memory.budget


def test_the_first_contended_budget_is_a_tenth() -> None:
    """Before any cycle, training has a tenth of its request and the server its request."""
    assert CODE.decide(StillGpu((serves(), trains()))).quotas == pytest.approx((0.3, 0.05))


@pytest.mark.parametrize(
    ("is_llm", "pressure", "budget"),
    [
        (False, 1.6, 0.5 / 1.6),
        (False, 2.5, 0.2),
        (False, 3.999, 0.5 / 3.999),
        (False, 1.599, 0.5),
        (True, 1.3, 0.5 / 1.3),
        (True, 1.299, 0.5),
        (False, 4.0, 0.5),
        (True, 40.0, 0.5),
    ],
)
def test_a_cycle_under_pressure_divides_the_budget(is_llm: bool, pressure: float, budget: float) -> None:
    """C / ratio for ratios in [1.6, 4), for an LLM in [1.3, 4); from 4 on a ratio is ignored."""
    victim = serves(is_llm=is_llm, pressure=pressure, cycles=1)
    assert budget_after(victim, trains()) == pytest.approx(budget)


@pytest.mark.parametrize(
    ("cycles", "pressure", "budget"),
    [(5, 1.0, 0.65), (10, 1.19, 0.65), (5, 1.2, 0.5), (4, 1.0, 0.5), (6, 1.0, 0.5), (0, 1.0, 0.5)],
)
def test_every_fifth_healthy_cycle_raises_the_budget(cycles: int, pressure: float, budget: float) -> None:
    """C * 1.3 at the 5th, 10th, ... cycle, if its ratio is below 1.2; before any cycle there is none."""
    assert budget_after(serves(cycles=cycles, pressure=pressure), trains()) == pytest.approx(budget)


def test_the_budget_ends_at_everything() -> None:
    """C never exceeds 1."""
    assert budget_after(serves(cycles=5), trains(), budget=0.9) == 1.0


def test_the_budget_has_a_floor() -> None:
    """C never falls below 1 % of the sum of training requests, here 1 % of .7."""
    victim = serves(cycles=1, pressure=3.9)
    also = trains(instance=8, request=0.2)
    assert budget_after(victim, trains(), also, budget=0.008) == pytest.approx(0.007)


def test_a_cycle_counts_once() -> None:
    """The next tick finds the same cycle and does nothing; the next cycle divides again."""
    gpu = StillGpu((serves(cycles=1, pressure=2.0), trains()), BudgetMemory(0.8, ()))
    first = CODE.decide(gpu)
    second = CODE.decide(gpu.after(first))
    assert first.quotas[1] == second.quotas[1] == pytest.approx(0.2)
    assert second.memory == first.memory
    victim, training = gpu.residents
    third = CODE.decide(StillGpu((dataclasses.replace(victim, cycles=2), training), second.memory))
    assert third.quotas[1] == pytest.approx(0.1)


def test_every_server_moves_the_budget() -> None:
    """Two cycles under pressure at once divide twice."""
    victims = (serves(cycles=1, pressure=2.0), serves(instance=2, cycles=1, pressure=2.5))
    assert budget_after(*victims, trains()) == pytest.approx(0.1)


def test_training_gets_the_budget_in_proportion_to_its_request() -> None:
    """C * request for each: the split of C * sum(requests) by request."""
    gpu = StillGpu((serves(), trains(), trains(instance=8, request=0.2, limit=0.3)), BudgetMemory(0.5, ()))
    assert CODE.decide(gpu).quotas == pytest.approx((0.3, 0.25, 0.1))


def test_when_all_servers_idle_training_has_its_limits() -> None:
    """The budget reopens; limits of .9 + .6 are split 3 : 2 by request."""
    idle = serves(idle=True)
    grant = CODE.decide(StillGpu((idle, trains(request=0.3), trains(instance=8, request=0.2, limit=0.6))))
    assert grant.quotas == pytest.approx((0.3, 0.9, 0.6))
    assert isinstance(grant.memory, BudgetMemory)
    assert grant.memory.budget == 1.0


def test_a_share_of_the_limits_is_not_more_than_ones_own() -> None:
    """Limits of .9 + .3, split 5 : 5 by request, would give .6 each; the second's limit is .3."""
    grant = CODE.decide(StillGpu((serves(idle=True), trains(), trains(instance=8, limit=0.3))))
    assert grant.quotas == pytest.approx((0.3, 0.6, 0.3))


def test_one_busy_server_keeps_the_budget() -> None:
    """An idle neighbour does not reopen it."""
    gpu = StillGpu((serves(), serves(instance=2, idle=True), trains()), BudgetMemory(0.4, ()))
    assert CODE.decide(gpu).quotas == pytest.approx((0.3, 0.3, 0.2))


def test_a_pressure_that_idleness_reset_is_no_healthy_cycle() -> None:
    """A fifth cycle that was calm, and so never looked at, is not counted as healthy after an idle window."""
    idle = serves(idle=True, cycles=5, pressure=1.0)
    assert budget_after(idle, serves(instance=2), trains()) == 0.5


@pytest.mark.parametrize(
    ("residents", "quota"),
    [
        ((serves(idle=True), serves(instance=2, idle=True)), 0.6),
        ((serves(idle=True), trains(idle=True)), 0.6),
        ((serves(idle=True), trains()), 0.3),
        ((serves(), serves(instance=2, idle=True)), 0.3),
        ((serves(pressure=3.0, cycles=1), trains()), 0.3),
        ((serves(),), 0.6),
    ],
)
def test_a_server_has_its_limit_only_while_nobody_is_busy(
    residents: tuple[StillResident, ...], quota: float
) -> None:
    """It has its request as soon as anybody is, and no pressure raises it; alone, it has its limit."""
    assert CODE.decide(StillGpu(residents)).quotas[0] == quota


def test_without_servers_there_is_no_budget() -> None:
    """Training alone has its limits, and what was remembered is forgotten."""
    grant = CODE.decide(StillGpu((trains(), trains(instance=8, limit=0.4)), BudgetMemory(0.2, ())))
    assert grant.quotas == (0.9, 0.4)
    assert grant.memory is None


@given(
    start=st.floats(0.01, 1.0),
    cycles=st.lists(st.tuples(st.booleans(), st.floats(0.9, 6.0)), max_size=60),
)
def test_the_budget_stays_within_its_bounds(start: float, cycles: list[tuple[bool, float]]) -> None:
    """Whatever cycles come, C stays between the floor and 1 and training between nothing and its limit."""
    memory: object = BudgetMemory(start, ())
    for number, (idle, pressure) in enumerate(cycles, start=1):
        victim = serves(cycles=number, pressure=1.0 if idle else pressure, idle=idle)
        grant = CODE.decide(StillGpu((victim, trains()), memory))
        memory = grant.memory
        assert isinstance(memory, BudgetMemory)
        assert 0.005 <= memory.budget <= 1.0
        assert 0.0 < grant.quotas[1] <= 0.9
