from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.still_views import StillGpu, StillResident
from policies.vertical.rckm import Rckm

DILU = Rckm()
TICKS_TO_REST = 25
"""A quota grows from 1 % to 100 % in 18 ticks of x1.3, and shrinks as fast."""


def serves(**changes: Any) -> StillResident:
    """Return a busy SLO-sensitive resident of request .3 and limit .6, by default at its request."""
    return replace(StillResident(1, request=0.3, limit=0.6, quota=0.3, cycles=3), **changes)


def trains(**changes: Any) -> StillResident:
    """Return a training resident of request .5 and limit .9, by default at .2."""
    resident = StillResident(9, slo_sensitive=False, request=0.5, limit=0.9, quota=0.2)
    return replace(resident, **changes)


def quotas(*residents: StillResident, policy: Rckm = DILU, memory: object = None) -> Any:
    """Return the quotas of one tick."""
    return pytest.approx(policy.decide(StillGpu(residents, memory)).quotas)


# --------------------------------------------------------------------------- Algorithm 2, row by row


def test_none_gives_limits() -> None:
    """NONE: where nothing is SLO-sensitive, every training has its limit."""
    assert quotas(trains(), trains(instance=8, limit=0.4)) == (0.9, 0.4)


@pytest.mark.parametrize("alone", [serves(), serves(idle=True), serves(pressure=5.0), trains()])
def test_who_is_alone_has_the_limit(alone: StillResident) -> None:
    """NONE: nobody to protect from, nobody to protect."""
    assert quotas(alone) == (alone.limit,)


def test_emergency_lifts_the_victim_and_divides_training() -> None:
    """EMERGENCY: limit for the SLO-sensitive one; last / pressure for training that is below its request."""
    assert quotas(serves(pressure=2.0), trains(quota=0.2)) == (0.6, 0.1)


def test_emergency_divides_the_request_of_training_above_it() -> None:
    """EMERGENCY: min(request, last), so that borrowed share is given back before it is divided."""
    assert quotas(serves(pressure=2.0), trains(quota=0.9)) == (0.6, 0.25)


def test_recovery_of_an_idle_server() -> None:
    """RECOVERY: the idle one falls to its request, training grows by 1.3."""
    idle = serves(idle=True, quota=0.6)
    assert quotas(idle, trains(quota=0.2)) == (0.3, 0.26)


def test_recovery_of_the_only_busy_one() -> None:
    """RECOVERY: when all others are idle, the SLO-sensitive one grows by 1.3, and so does idle training."""
    assert quotas(serves(), trains(idle=True)) == (0.39, 0.26)


def test_contention_gives_the_request_and_holds_training() -> None:
    """CONTENTION: request for the SLO-sensitive one, no change for training."""
    assert quotas(serves(quota=0.6), trains(quota=0.7)) == (0.3, 0.7)


def test_growth_ends_at_the_limit() -> None:
    """Neither line that multiplies by 1.3 goes beyond the limit."""
    assert quotas(serves(quota=0.55), trains(idle=True, quota=0.85)) == (0.6, 0.9)


@pytest.mark.parametrize(
    ("is_llm", "pressure", "quota"),
    [(False, 1.6, 0.3), (False, 1.601, 0.6), (True, 1.3, 0.3), (True, 1.301, 0.6)],
)
def test_emergency_begins_above_its_threshold(is_llm: bool, pressure: float, quota: float) -> None:
    """1 + eta_violation itself is contention; an LLM's eta is .3 instead of .6."""
    assert DILU.decide(StillGpu((serves(is_llm=is_llm, pressure=pressure), trains()))).quotas[0] == quota


def test_two_servers_that_are_both_busy_contend() -> None:
    """Without any training, each of two busy SLO-sensitive residents has its request."""
    both = (serves(quota=0.6), serves(instance=2, request=0.1, limit=0.2, quota=0.2))
    assert quotas(*both) == (0.3, 0.1)


def test_an_instance_arrives_at_its_request() -> None:
    """The first quota is what is promised, not what may be free."""
    assert DILU.first_quota(serves(quota=0.0)) == 0.3


# ---------------------------------------------------------------------------- where the paper is silent


def test_a_cycle_is_charged_once() -> None:
    """The same T_cur divides once; the next cycle in EMERGENCY divides again."""
    gpu = StillGpu((serves(pressure=2.0), trains(quota=0.4)))
    first = DILU.decide(gpu)
    second = DILU.decide(gpu.after(first))
    assert first.quotas[1] == second.quotas[1] == pytest.approx(0.2)
    victim, training = gpu.after(second).residents
    later = StillGpu((replace(victim, cycles=4), training), second.memory)
    assert DILU.decide(later).quotas[1] == pytest.approx(0.1)


def test_charging_every_tick_divides_down_to_the_floor() -> None:
    """`charge="tick"` repeats the division as the algorithm is written: .4, .2, .1, ... to 1 %."""
    policy = Rckm(charge="tick")
    gpu = StillGpu((serves(pressure=2.0), trains(quota=0.4)))
    seen = []
    for _ in range(7):
        gpu = gpu.after(policy.decide(gpu))
        seen.append(gpu.residents[1].quota)
    assert seen == pytest.approx([0.2, 0.1, 0.05, 0.025, 0.0125, 0.01, 0.01])


def test_training_is_never_starved() -> None:
    """However grave the pressure, the floor remains."""
    assert quotas(serves(pressure=1e6), trains()) == (0.6, 0.01)
    assert quotas(serves(pressure=1e6), trains(), policy=Rckm(floor=0.05)) == (0.6, 0.05)


def test_two_violations_divide_by_the_graver() -> None:
    """Training is divided once, by the larger of the new pressures."""
    milder, graver = serves(pressure=2.0), serves(instance=2, pressure=4.0)
    assert quotas(milder, graver, trains(quota=0.4)) == (0.6, 0.6, 0.1)
    assert quotas(graver, milder, trains(quota=0.4)) == (0.6, 0.6, 0.1)


def test_a_new_violation_is_charged_beside_an_old_one() -> None:
    """A graver cycle that was charged before does not stand in for the new one."""
    milder, graver = serves(pressure=2.0), serves(instance=2, pressure=4.0)
    known = DILU.decide(StillGpu((serves(), graver, trains()))).memory
    assert quotas(milder, graver, trains(quota=0.4), memory=known) == (0.6, 0.6, 0.2)


@pytest.mark.parametrize(
    ("other", "own", "training"),
    [
        (serves(instance=2, pressure=2.0), 0.6, 0.1),
        (serves(instance=2), 0.3, 0.2),
        (serves(instance=2, idle=True), 0.3, 0.26),
    ],
)
def test_the_gravest_state_holds(other: StillResident, own: float, training: float) -> None:
    """Beside an idle server, what the other one suffers decides about training, in either order."""
    idle = serves(idle=True)
    assert quotas(idle, other, trains()) == (0.3, own, training)
    assert quotas(other, idle, trains()) == (own, 0.3, training)


# --------------------------------------------------------------------------------------- invariants

PRESSURES = st.one_of(st.just(1.0), st.floats(0.5, 10.0))


@st.composite
def gpus(draw: st.DrawFn) -> StillGpu:
    """Draw a GPU of up to five residents in any state, some of their cycles charged already."""
    residents = []
    for instance in range(draw(st.integers(1, 5))):
        request, limit, quota = sorted(draw(st.tuples(*[st.integers(1, 100)] * 3)))
        quota, limit = draw(st.sampled_from([(quota, limit), (limit, quota), (request, limit)]))
        residents.append(
            StillResident(
                instance,
                slo_sensitive=draw(st.booleans()),
                is_llm=draw(st.booleans()),
                request=request / 100,
                limit=max(limit, request) / 100,
                quota=min(quota, limit) / 100,
                idle=draw(st.booleans()),
                cycles=draw(st.integers(0, 3)),
                pressure=draw(PRESSURES),
            )
        )
    before = [replace(r, cycles=r.cycles - draw(st.integers(0, 1))) for r in residents]
    memory = DILU.decide(StillGpu(before)).memory if draw(st.booleans()) else None
    return StillGpu(tuple(residents), memory)


POLICIES = st.builds(
    Rckm, charge=st.sampled_from(["cycle", "tick"]), eta_violation=st.sampled_from([0.3, 0.6])
)


@given(gpu=gpus(), policy=POLICIES, data=st.data())
def test_the_order_of_the_residents_means_nothing(gpu: StillGpu, policy: Rckm, data: st.DataObject) -> None:
    """Permuting the residents permutes quotas and calm bands, and changes nothing else."""
    order = data.draw(st.permutations(range(len(gpu.residents))))
    here = policy.decide(gpu)
    there = policy.decide(StillGpu(tuple(gpu.residents[i] for i in order), gpu.memory))
    assert there.quotas == tuple(here.quotas[i] for i in order)
    assert there.calm == tuple(here.calm[i] for i in order)
    assert there.settled == here.settled


@given(gpu=gpus(), policy=POLICIES)
def test_a_gpu_where_nothing_happens_comes_to_rest(gpu: StillGpu, policy: Rckm) -> None:
    """From any state a fixed point is reached within a bounded number of ticks."""
    for _ in range(TICKS_TO_REST):
        gpu = gpu.after(policy.decide(gpu))
    assert gpu.after(policy.decide(gpu)) == gpu


@given(gpu=gpus(), policy=POLICIES)
def test_a_quota_stays_between_nothing_and_the_limit(gpu: StillGpu, policy: Rckm) -> None:
    """No row of the table leaves [0, limit], and a busy server never has less than its request or last."""
    for resident, quota in zip(gpu.residents, policy.decide(gpu).quotas, strict=True):
        assert 0.0 < quota <= resident.limit
        if resident.slo_sensitive and not resident.idle:
            assert quota >= min(resident.request, resident.quota)


@given(gpu=gpus(), policy=POLICIES)
def test_what_is_settled_stays(gpu: StillGpu, policy: Rckm) -> None:
    """Once the policy says that its answer stands, it stands."""
    for _ in range(TICKS_TO_REST):
        grant = policy.decide(gpu)
        gpu = gpu.after(grant)
        if grant.settled:
            assert gpu.after(policy.decide(gpu)) == gpu


@given(gpu=gpus(), policy=POLICIES, pressure=PRESSURES, data=st.data())
def test_a_calm_cycle_changes_nothing(
    gpu: StillGpu, policy: Rckm, pressure: float, data: st.DataObject
) -> None:
    """At rest, a cycle within the band that the policy named leaves all quotas as they are."""
    for _ in range(TICKS_TO_REST):
        grant = policy.decide(gpu)
        gpu = gpu.after(grant)
    place = data.draw(st.integers(0, len(gpu.residents) - 1))
    resident = gpu.residents[place]
    low, high = grant.calm[place]
    if low <= pressure < high and not resident.idle:
        cycled = replace(resident, cycles=resident.cycles + 1, pressure=pressure)
        residents = (*gpu.residents[:place], cycled, *gpu.residents[place + 1 :])
        assert policy.decide(StillGpu(residents, gpu.memory)).quotas == grant.quotas
