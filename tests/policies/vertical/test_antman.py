from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import PolicyError
from policies.still_views import StillGpu, StillResident
from policies.testing import check_policy
from policies.vertical import AntmanDutyCycle
from policies.vertical.antman import DutyMemory
from profiles.sharing import LAUNCH_TOKENS

ANTMAN = AntmanDutyCycle()


def serves(cycles: int = 1, pressure: float = 1.0, **changes: Any) -> StillResident:
    """Return a busy server of limit .6 with so many completed cycles."""
    return replace(StillResident(1, limit=0.6, cycles=cycles, pressure=pressure), **changes)


def trains(**changes: Any) -> StillResident:
    """Return a training resident of limit .8."""
    return replace(StillResident(9, slo_sensitive=False, request=0.5, limit=0.8), **changes)


def duty(*residents: StillResident, before: int = 100, judged: Any = ()) -> int:
    """Return the duty cycle after a tick."""
    memory = ANTMAN.decide(StillGpu(residents, DutyMemory(before, judged))).memory
    assert isinstance(memory, DutyMemory)
    return memory.duty


def test_an_inflated_cycle_halves_the_duty_cycle() -> None:
    """10 % above what the cycle takes alone is tolerated, more is not."""
    assert duty(serves(pressure=1.1), trains()) == 100
    assert duty(serves(pressure=1.11), trains()) == 50
    assert duty(serves(pressure=9.0), trains(), before=25) == 12


def test_lowering_ends_at_one_percent() -> None:
    """The control is whole percent, and training never stops altogether."""
    assert duty(serves(pressure=2.0), trains(), before=3) == 1
    assert duty(serves(pressure=2.0), trains(), before=1) == 1
    assert duty(serves(), trains(), before=1) == 6


def test_a_healthy_cycle_raises_it_by_a_step() -> None:
    """5 % a tick, up to 100 %."""
    assert duty(serves(), trains(), before=40) == 45
    assert duty(serves(), trains(), before=98) == 100


def test_a_cycle_is_judged_once() -> None:
    """A tick without a new cycle leaves the duty cycle alone, however bad the latest one was."""
    grant = ANTMAN.decide(StillGpu((serves(3, 2.0), trains())))
    assert grant.quotas == pytest.approx((0.6, 0.4))
    again = ANTMAN.decide(StillGpu((serves(3, 2.0), trains()), grant.memory))
    assert (again.quotas, again.memory) == (grant.quotas, grant.memory)
    assert ANTMAN.decide(StillGpu((serves(4, 2.0), trains()), grant.memory)).quotas[1] == pytest.approx(0.2)


def test_the_worst_server_counts() -> None:
    """One inflated cycle outweighs any number of healthy ones; an idle server has no say."""
    assert duty(serves(), serves(instance=2, pressure=1.5), trains(), before=60) == 30
    assert duty(serves(), serves(instance=2, pressure=1.5, idle=True), trains(), before=60) == 65


def test_silence_gives_the_whole_gpu_away() -> None:
    """Once all servers are idle training works full time at once."""
    assert duty(serves(idle=True), trains(), before=3) == 100
    assert duty(serves(idle=True), serves(instance=2), trains(), before=3) == 8


def test_guarantees_hold() -> None:
    """Servers always have their limit, and where only one kind is there, so has everybody."""
    assert ANTMAN.decide(StillGpu((serves(pressure=3.0), trains()))).quotas[0] == 0.6
    assert ANTMAN.decide(StillGpu((serves(pressure=3.0), serves(instance=2)), DutyMemory(1, ()))).quotas == (
        0.6,
        0.6,
    )
    assert ANTMAN.decide(StillGpu((trains(), trains(instance=8)), DutyMemory(1, ()))).quotas == (0.8, 0.8)
    assert ANTMAN.first_quota(trains()) == 0.8


def test_no_cycle_of_a_server_may_be_skipped() -> None:
    """Each one is judged; cycles of training mean nothing."""
    low, high = ANTMAN.decide(StillGpu((serves(), trains()))).calm[0]
    assert low > high


@given(st.lists(st.tuples(st.sampled_from([1.0, 1.05, 1.2, 5.0]), st.booleans(), st.booleans()), max_size=40))
def test_duty_stays_a_percentage(ticks: list[tuple[float, bool, bool]]) -> None:
    """Whatever servers report, the duty cycle is 1 to 100 % and quotas are that part of the limit."""
    memory, cycles = None, 0
    for pressure, completes, idle in ticks:
        cycles += completes
        grant = ANTMAN.decide(StillGpu((serves(cycles, pressure, idle=idle), trains()), memory))
        memory = grant.memory
        assert isinstance(memory, DutyMemory)
        assert 1 <= memory.duty <= 100
        assert grant.quotas == (0.6, 0.8 * memory.duty / 100)


@pytest.mark.parametrize(
    "constants",
    [{"tick_s": None}, {"lower": 1.0}, {"raise_percent": 0}, {"least_percent": 0}, {"tolerance": -0.1}],
)
def test_impossible_duty_constants_are_refused(constants: dict[str, Any]) -> None:
    """A constant that no control can have is named."""
    with pytest.raises(PolicyError, match=next(iter(constants))):
        AntmanDutyCycle(**constants)


def test_antman_keeps_the_contract() -> None:
    """It fills the vertical slot; sleeping after each mini-batch acts as launch tokens."""
    assert check_policy(ANTMAN) == ("vertical",)
    assert ANTMAN.sharing == LAUNCH_TOKENS
