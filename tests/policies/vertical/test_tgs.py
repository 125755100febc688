from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import PolicyError
from policies.slots import Grant
from policies.still_views import StillGpu, StillResident
from policies.testing import check_policy
from policies.vertical import TgsRates
from policies.vertical.tgs import AVOIDANCE, SLOW_START, RateControl
from profiles.sharing import LAUNCH_TOKENS

TGS = TgsRates()
LEARNING = (100.0,) * 5
FIRST = 20_000.0


def after(*rates: float, control: RateControl | None = None) -> RateControl:
    """Return what the controller knows after these samples."""
    control = control or RateControl()
    for rate in rates:
        control = TGS.step(control, rate)
    return control


def controlled(limit: float = FIRST, mode: Any = SLOW_START, samples: int = 16) -> RateControl:
    """Return the controller of a production job at its maximum of 100, after so many samples of control."""
    return RateControl(LEARNING, 100.0, False, 5, samples, mode, limit)


def test_five_samples_teach_the_maximum() -> None:
    """Nobody else launches until 5 samples have been seen; the next one opens the first limit."""
    assert after(*LEARNING[:4]).learning
    learnt = after(*LEARNING)
    assert (learnt.learning, learnt.max_rate, learnt.limit) == (False, 100.0, 0.0)
    assert (after(*LEARNING, 100.0).limit, after(*LEARNING, 100.0).mode) == (FIRST, SLOW_START)


def test_an_unstable_window_prolongs_learning() -> None:
    """A peak of 110 against M = 100 is beyond 5 %: M moves to 2.5 % short of it, and learning goes on until
    both are near.
    """
    unstable = after(100.0, 100.0, 100.0, 120.0, 120.0)  # the pair (100, 120) is the latest peak
    assert (unstable.learning, unstable.max_rate) == (True, pytest.approx(0.975 * 110.0))
    assert after(120.0, control=unstable).max_rate == pytest.approx(0.975 * 120.0)
    assert after(120.0, 120.0, control=unstable).max_rate == 120.0
    assert not after(120.0, 120.0, control=unstable).learning


def test_a_constant_rate_lets_the_limit_grow() -> None:
    """Slow start: x 1.5 + 1 a sample, up to the cap."""
    limits = [after(*(100.0,) * count, control=controlled()).limit for count in (1, 2, 3)]
    assert limits == [30_001.0, 45_002.5, 67_504.75]
    assert after(*(100.0,) * 60, control=controlled()).limit == TGS.cap


@pytest.mark.parametrize(
    ("rate", "limit", "mode"), [(97.0, 30_001.0, SLOW_START), (95.0, FIRST / 1.5, AVOIDANCE)]
)
def test_slow_start_ends_beyond_three_percent(rate: float, limit: float, mode: str) -> None:
    """3 % below M still counts as undisturbed, 5 % ends slow start."""
    moved = after(rate, control=controlled())
    assert (moved.limit, moved.mode) == (pytest.approx(limit), mode)


def test_a_drop_of_five_percent_is_avoided_step_by_step() -> None:
    """Congestion avoidance takes 8 % a sample, at least 1000 blocks, as long as 5 % are missing."""
    assert after(95.0, control=controlled(100_000.0, AVOIDANCE)).limit == pytest.approx(92_000.0)
    assert after(95.0, 95.0, control=controlled(100_000.0, AVOIDANCE)).limit == pytest.approx(84_640.0)
    assert after(95.0, control=controlled(5_000.0, AVOIDANCE)).limit == pytest.approx(4_000.0)
    assert after(95.0, control=controlled(500.0, AVOIDANCE)).limit == 0.0


def test_congestion_avoidance_grows_linearly() -> None:
    """0.00025 M a sample, where M is a full rate of 10^6 in each of 100 buckets."""
    grown = after(100.0, 100.0, control=controlled(100_000.0, AVOIDANCE))
    assert (grown.limit, grown.mode) == (pytest.approx(150_000.0), AVOIDANCE)


def test_a_drop_of_ten_percent_in_avoidance_collapses_the_limit() -> None:
    """From 9 % on the limit is divided by 10 on top of the step, and slow start begins anew."""
    collapsed = after(90.0, control=controlled(100_000.0, AVOIDANCE))
    assert (collapsed.limit, collapsed.mode) == (pytest.approx(9_200.0), SLOW_START)
    in_slow_start = after(90.0, control=controlled(100_000.0))
    assert (in_slow_start.limit, in_slow_start.mode) == (pytest.approx(100_000.0 / 1.5), AVOIDANCE)


def test_twenty_far_samples_give_the_maximum_up() -> None:
    """15 % below M for 20 samples: M falls to 80 %, and the limit to half of what the sample made of it."""
    nineteen = after(*(85.0,) * 19, control=controlled())
    assert (nineteen.max_rate, nineteen.far) == (100.0, 19)
    twenty = after(85.0, control=nineteen)
    assert (twenty.max_rate, twenty.far, twenty.mode) == (80.0, 0, SLOW_START)
    undisturbed = after(85.0, control=nineteen._replace(far=0))
    assert twenty.limit == undisturbed.limit / 2.0
    assert after(*(85.0,) * 18, 100.0, 85.0, control=controlled()).far == 1


def test_a_fluctuating_rate_keeps_the_limit_tiny() -> None:
    """A production job whose samples vary by 20 % never lets more through than the first limit: why TGS
    nearly stops training beside inference (Dilu, section 5.2).
    """
    control, limits = after(*LEARNING), []
    for count in range(200):
        control = TGS.step(control, 80.0 if count % 2 else 120.0)
        limits.append(control.limit)
    assert max(limits) == FIRST
    assert sum(limits) / len(limits) < 0.02 * TGS.full_rate


def test_a_maximum_follows_a_slow_rise() -> None:
    """A window within 10 % above M raises it; one between 10 and 20 % does not."""
    assert after(*(108.0,) * 3, control=controlled()).max_rate == 108.0
    assert after(118.0, 100.0, control=controlled()).max_rate == 109.0  # from the pair (100, 118)
    assert after(130.0, 100.0, control=controlled()).max_rate == 100.0  # not from the pair (100, 130)


def test_another_level_is_learnt_anew() -> None:
    """A window beyond 20 % of M starts learning, and the limit stays where it was meanwhile."""
    control = after(200.0, 200.0, control=controlled(50_000.0))
    assert (control.learning, control.max_rate) == (True, pytest.approx(0.975 * 150.0))
    limit = control.limit
    for _ in range(5):
        assert control.learning
        control = TGS.step(control, 200.0)
        assert control.limit == limit
    assert (control.learning, control.max_rate) == (False, 200.0)


def test_silence_unthrottles() -> None:
    """The third silent sample of five says that production is idle; the second one only resets the limit."""
    start = controlled(1_000_000.0)
    limits = [after(*(0.0,) * count, control=start).limit for count in (1, 2, 3, 10, 50)]
    assert limits == [pytest.approx(1_000_000.0 / 1.5), FIRST, TGS.cap, TGS.cap, TGS.cap]


def test_silence_during_the_warm_up_does_not_unthrottle() -> None:
    """Before the 15th sample under control three silent ones mean a disturbed production."""
    assert after(0.0, 0.0, 0.0, control=controlled(samples=5)).limit < FIRST
    assert after(0.0, 0.0, 0.0, control=controlled(samples=12)).limit == TGS.cap


def test_long_silence_comes_to_rest() -> None:
    """An idle production is a fixed point, so that a world need not ask again until it is busy."""
    silent = after(*(0.0,) * 20, control=controlled())
    assert TGS.step(silent, 0.0) == silent


def test_production_that_returns_is_learnt_anew_unthrottled() -> None:
    """As in the code: after a silence M is learnt from rates that nobody protects, for seven samples."""
    control = after(*(0.0,) * 20, control=controlled())
    for _ in range(7):
        control = TGS.step(control, 60.0)
        assert control.limit == TGS.cap
    assert (control.learning, control.max_rate) == (False, 60.0)


rates = st.lists(st.sampled_from([0, 1, 2, 40, 50, 51, 55, 60, 100, 1000]), max_size=80)


@given(rates)
def test_no_rates_break_the_controller(samples: list[int]) -> None:
    """Whatever production does, the limit stays between 0 and the cap, and M above 0 once known."""
    control = RateControl()
    for count, rate in enumerate(samples):
        control = TGS.step(control, float(rate))
        assert 0.0 <= control.limit <= TGS.cap
        assert control.max_rate > 0.0 or count < 2
        assert len(control.window) <= 5


@given(st.lists(st.integers(1, 1000), max_size=60), st.sampled_from([2, 16]))
def test_only_ratios_of_rates_matter(samples: list[int], factor: int) -> None:
    """Rates in other units lead to the same limits, so that batches may stand for blocks."""
    assert after(*(float(rate * factor) for rate in samples)).limit == after(*map(float, samples)).limit


# ------------------------------------------------------------------------------------------- on a GPU


def serves(**changes: Any) -> StillResident:
    """Return a busy server of request .3 and limit .6."""
    return replace(StillResident(1, request=0.3, limit=0.6, quota=0.6), **changes)


def trains(**changes: Any) -> StillResident:
    """Return a training resident of request .5 and limit .9."""
    return replace(StillResident(9, slo_sensitive=False, request=0.5, limit=0.9, quota=0.2), **changes)


def follow(*views: tuple[StillResident, ...], memory: object = None) -> list[Grant]:
    """Return the grants of successive samples."""
    grants = []
    for residents in views:
        grants.append(TGS.decide(StillGpu(residents, memory)))
        memory = grants[-1].memory
    return grants


def test_a_sample_counts_cycles_completed_since_the_last() -> None:
    """Cycles 0, 100, 200, ... are a constant rate of 100: five samples after the first look M is known, and
    training has 2 % of its limit, then half as much again.
    """
    grants = follow(*[(serves(cycles=100 * count), trains()) for count in range(8)])
    quotas = [grant.quotas for grant in grants]
    trickle = pytest.approx((0.6, 0.9 * 0.001))
    assert quotas[:6] == [trickle] * 6
    assert quotas[6:] == [pytest.approx((0.6, 0.9 * 0.02)), pytest.approx((0.6, 0.9 * 0.030001))]


def test_every_cycle_of_production_is_worth_a_sample() -> None:
    """A world must not skip samples in which production worked; cycles of others mean nothing."""
    (grant,) = follow((serves(), serves(instance=2), trains()))
    low, high = grant.calm[0]
    assert low > high
    assert all(low < 0.0 and high > 1e9 for low, high in grant.calm[1:])
    assert not grant.settled


def test_production_that_trains_is_steady() -> None:
    """Without a server the oldest training is production: the other one grows to its limit."""
    grants = follow(*[(trains(), trains(instance=10, limit=0.4))] * 40)
    assert [grant.quotas[0] for grant in grants] == [0.9] * 40
    assert grants[0].quotas[1] == pytest.approx(0.4 * 0.001)
    assert grants[-1].quotas[1] == 0.4


def test_the_oldest_server_is_production() -> None:
    """A server that came later shares the opportunistic limit with training by request, and never starves."""
    others = (serves(instance=2, request=0.1, limit=0.2), trains(request=0.3))
    grants = follow(*[(trains(instance=0, request=0.1), serves(cycles=100 * n), *others) for n in range(7)])
    assert grants[-1].quotas == pytest.approx((0.9 * 0.004, 0.6, 0.2 * 0.004, 0.9 * 0.012))
    assert all(min(grant.quotas) > 0.0 for grant in grants)


def test_another_production_is_learnt_from_the_start() -> None:
    """What was learnt of one production job says nothing of the next."""
    grown = follow(*[(serves(cycles=100 * count), trains()) for count in range(12)])[-1]
    (grant,) = follow((serves(instance=5, cycles=700), trains()), memory=grown.memory)
    assert grant.quotas[1] == pytest.approx(0.9 * 0.001)


def test_control_ends_with_the_last_neighbour() -> None:
    """Whoever is alone has the limit, and nothing is remembered."""
    assert TGS.decide(StillGpu((trains(),), "old")) == Grant(
        (0.9,), None, ((-float("inf"), float("inf")),), True
    )
    assert TGS.first_quota(serves()) == 0.6
    assert TGS.first_quota(trains()) == pytest.approx(0.9 * 0.001)


@pytest.mark.parametrize(
    "constants", [{"tick_s": None}, {"tick_s": 0.0}, {"full_rate": 0.0}, {"trickle": 0.0}, {"growth": 1.0}]
)
def test_impossible_rates_are_refused(constants: dict[str, Any]) -> None:
    """A constant that no controller can have is named."""
    with pytest.raises(PolicyError, match=next(iter(constants))):
        TgsRates(**constants)


def test_tgs_keeps_the_contract() -> None:
    """It fills the vertical slot, and its quotas are launch tokens."""
    assert check_policy(TGS) == ("vertical",)
    assert TGS.sharing == LAUNCH_TOKENS
