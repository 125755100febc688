from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import PolicyError, Scaling
from policies.horizontal import KnativeScaling
from policies.horizontal.knative import KnativeState
from policies.still_views import StillFunction, StillInstance, scaling_actions
from policies.testing import check_policy

KPA = KnativeScaling()
TARGET_RPS = 0.7 * 40.0


def decide(counts: tuple[int, ...], live: int, policy: KnativeScaling = KPA, **view: Any) -> Scaling:
    """Ask at a tick about a function that has been watched from the beginning."""
    assert len(counts) % 2 == 0, "ticks are at even seconds"
    view.setdefault("memory", KnativeState(0.0, live))
    return policy.scale(StillFunction(counts, live, **view))


def state(scaling: Scaling) -> KnativeState:
    """Return what the policy wants to remember."""
    assert isinstance(scaling.memory, KnativeState)
    return scaling.memory


def test_knative_scaling_keeps_the_contract() -> None:
    """`check_policy` finds nothing, with and without a delay of scaling in."""
    assert check_policy(KPA) == ("horizontal",)
    assert check_policy(KnativeScaling(scale_down_delay_s=20.0)) == ("horizontal",)


@pytest.mark.parametrize(
    ("counts", "live", "target"),
    [
        ((100,) * 60, 3, 4),
        ((84,) * 60, 3, 3),
        ((85,) * 60, 3, 4),
        ((1000,) * 40 + (85,) * 60, 3, 4),
        ((85,) * 30, 3, 4),
        ((56, 0) * 30, 2, 1),
    ],
)
def test_the_stable_window_wants_the_mean_rate_over_the_target(
    counts: tuple[int, ...], live: int, target: int
) -> None:
    """ceil(mean of the last 60 s / 28 rps), where 28 is 70 % of 40; fewer seconds count as well."""
    assert decide(counts, live).target == target


@pytest.mark.parametrize(("live", "target"), [(10, 5), (5, 2), (3, 1), (1, 1)])
def test_at_most_half_of_the_ready_instances_go_at_a_tick(live: int, target: int) -> None:
    """The maximum scale-down rate is 2; the rest follows at later ticks."""
    assert decide((1,) * 60, live).target == target


def test_the_number_of_ready_instances_bounds_a_rise() -> None:
    """The maximum scale-up rate multiplies the ready instances, rounded up."""
    assert decide((500,) * 60, 3, KnativeScaling(max_up_rate=1.5)).target == 5
    assert decide((500,) * 60, 3).target == 18


@pytest.mark.parametrize(("rate", "panics"), [(84, False), (85, True)])
def test_a_panic_begins_at_twice_what_is_ready(rate: int, panics: bool) -> None:
    """Six seconds that want 4 of 2 ready instances begin a panic, 3 do not; the minute alone wants none."""
    scaling = decide((1,) * 54 + (rate,) * 6, 2)
    assert (state(scaling).panic_s > -math.inf) is panics
    assert scaling.target == (4 if panics else 1)


def test_a_panic_never_takes_an_instance_and_ends_after_a_quiet_window() -> None:
    """6 s of 200 rps: over the threshold last at 62 s, up to 8, and down when that is over 60 s ago."""
    rates = (10,) * 60 + (200,) * 6 + (10,) * 90
    actions = scaling_actions(KPA, rates)
    assert actions == [(62, 3), (64, 5), (66, 8), (124, 4), (126, 2), (128, 1)]


@dataclass(frozen=True)
class Starting(StillFunction):
    """A function of which only the first instances are ready."""

    ready: int = 0

    @property
    def instances(self) -> tuple[StillInstance, ...]:
        """As many as are live."""
        return tuple(StillInstance(number, ready=number < self.ready) for number in range(self.live))


def test_only_ready_instances_count_and_at_least_one() -> None:
    """Four wanted is a panic for two ready of four, and for none, not for three."""
    for ready, panics in ((0, True), (2, True), (3, False)):
        view = Starting((100,) * 60, 4, memory=KnativeState(0.0, 4), ready=ready)
        assert (state(KPA.scale(view)).panic_s == 60.0) is panics


# ---------------------------------------------------------------------------------------------- zero


def test_to_zero_after_the_stable_window_and_the_grace() -> None:
    """The last request at 100 s leaves the window at 160 s; the last instance goes 30 s later."""
    assert scaling_actions(KPA, (5,) * 100 + (0,) * 200, min_instances=0) == [(1, 1), (190, 0)]


def test_the_initial_scale_lives_for_a_stable_window_and_the_grace() -> None:
    """Launched though nobody asks, and gone 90 s later; more of them shrink to one first."""
    assert scaling_actions(KPA, (0,) * 200, min_instances=0) == [(1, 1), (90, 0)]
    three = KnativeScaling(initial_scale=3)
    assert scaling_actions(three, (0,) * 200, min_instances=0) == [(1, 3), (2, 1), (90, 0)]
    assert scaling_actions(KnativeScaling(initial_scale=0), (0,) * 200, min_instances=0) == []


def test_never_to_zero_with_a_minimum() -> None:
    """A minimum is kept however long nothing arrives."""
    assert scaling_actions(KPA, (0,) * 300, min_instances=2) == []


def test_the_first_request_wakes_a_function_at_once() -> None:
    """At zero the policy asks for any arrival, and does not wait for a tick."""
    rates = (0,) * 150 + (3,) + (0,) * 9
    assert scaling_actions(KPA, rates, min_instances=0) == [(1, 1), (90, 0), (151, 1)]


def test_a_function_that_dropped_its_request_wakes_for_the_next() -> None:
    """Its only request found no place and is gone: another one does not wait for the tick either."""
    asleep = KnativeState(0.0, 0, due_s=152.0, empty_s=60.0)
    dropped = KPA.scale(StillFunction((0,) * 150 + (1,), 0, 0, memory=asleep))
    assert (dropped.target, dropped.above, dropped.until_s) == (0, 0.0, 152.0)


def test_an_instance_that_the_world_launched_is_not_taken_between_ticks() -> None:
    """A world may launch the first instance itself; memory of zero does not retire it."""
    asleep = KnativeState(0.0, 0, due_s=152.0, empty_s=60.0)
    view = StillFunction((0,) * 150 + (3,), 1, 0, memory=asleep)
    assert KPA.scale(view).target == 1


def test_seconds_before_a_function_was_first_seen_do_not_count() -> None:
    """Deployed at 500 s, with 100 rps from then on: the mean is 100, not 100 / 60."""
    first = KPA.scale(StillFunction((0,) * 500 + (100,), 3))
    second = KPA.scale(StillFunction((0,) * 500 + (100,) * 2, 3, memory=first.memory))
    assert (first.target, second.target) == (3, 4)


# ---------------------------------------------------------------------------------- between ticks, at rest


def test_between_ticks_nothing_is_decided() -> None:
    """An extra question gets the standing decision and the same memory, whatever has come meanwhile."""
    due = decide((100,) * 60, 3)
    assert (due.above, due.below, due.until_s) == (math.inf, -math.inf, 62.0)
    extra = KPA.scale(StillFunction((100,) * 60 + (900,), 4, memory=due.memory))
    assert extra == due


def test_a_refused_launch_is_asked_for_again() -> None:
    """Between ticks the wanted number stands, though fewer are live."""
    due = decide((100,) * 60, 3)
    assert KPA.scale(StillFunction((100,) * 61, 3, memory=due.memory)).target == due.target == 4


def test_a_function_with_little_traffic_is_at_rest() -> None:
    """Up to what its minimum is to serve, no tick can change anything: the world need not ask."""
    rest = decide((0, 27) * 30, 1)
    assert rest.until_s == math.inf
    assert TARGET_RPS - 1e-9 < rest.above < TARGET_RPS
    assert decide((0, 29) * 30, 1).until_s == 62.0
    asleep = decide((0,) * 60, 0, min_instances=0)
    assert (asleep.target, asleep.above, asleep.until_s) == (0, 0.0, math.inf)


def test_a_panic_or_a_start_up_is_no_rest() -> None:
    """Silent, with the minimum of instances: asked at the next tick while one starts or a panic lasts."""
    starting = Starting((0,) * 60, 2, 2, memory=KnativeState(0.0, 2), ready=1)
    assert KPA.scale(starting).until_s == 62.0
    panicking = KnativeState(0.0, 2, panic_s=30.0, panic_most=2)
    assert decide((0,) * 60, 2, min_instances=2, memory=panicking).until_s == 62.0


def test_a_delay_keeps_the_most_of_its_window() -> None:
    """With a delay of 20 s, a drop comes 20 s after the last tick that wanted more."""
    rates = (100,) * 90 + (40,) * 100
    at_once, late = (
        scaling_actions(KnativeScaling(scale_down_delay_s=delay_s), rates) for delay_s in (0.0, 20.0)
    )
    drops = [(second, live) for second, live in at_once if second > 90]
    assert [(second, live) for second, live in late if second > 90] == [(s + 18, n) for s, n in drops]
    assert drops


LOADS = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 27, 28, 29, 60, 90, 400]), st.integers(1, 75)), max_size=8
).map(lambda runs: [rate for rate, seconds in runs for _ in range(seconds)])


@given(
    policy=st.builds(
        KnativeScaling,
        tick_s=st.sampled_from([1.0, 2.0, 5.0]),
        stable_window_s=st.sampled_from([6, 20, 60]),
        to_zero_grace_s=st.sampled_from([0.0, 7.0, 30.0]),
        scale_down_delay_s=st.sampled_from([0.0, 11.0]),
        initial_scale=st.integers(0, 3),
    ),
    rates=LOADS,
    least=st.integers(0, 3),
)
def test_knatives_promise_is_kept(policy: KnativeScaling, rates: list[int], least: int) -> None:
    """Asked every second or only as it says, the policy acts the same, and never below the minimum."""
    asked = scaling_actions(policy, rates, min_instances=least)
    assert asked == scaling_actions(policy, rates, min_instances=least, every_second=True)
    assert all(live >= least for _, live in asked)


@given(rates=LOADS, throughput_rps=st.floats(0.3, 300.0))
def test_no_panic_decreases(rates: list[int], throughput_rps: float) -> None:
    """Tick by tick: while a panic lasts, the wanted number does not fall."""
    memory, live, panicking, before = None, 1, False, 0
    for second in range(1, len(rates) + 1):
        view = StillFunction(tuple(rates[:second]), live, memory=memory, throughput_rps=throughput_rps)
        scaling = KPA.scale(view)
        memory, live = scaling.memory, scaling.target
        if panicking and state(scaling).panic_s > -math.inf:
            assert live >= before
        panicking, before = state(scaling).panic_s > -math.inf, live


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"tick_s": 0.0}, "tick_s: found 0.0, allowed are seconds above 0"),
        ({"panic_window": 1.5}, "panic_window: found 1.5, allowed are fractions above 0 up to 1"),
        ({"max_down_rate": 1.0}, "max_down_rate: found 1.0, allowed are multiples above 1"),
        ({"utilization": float("nan")}, "utilization: found nan"),
    ],
)
def test_impossible_constants_of_knative_are_refused(constants: dict[str, float], message: str) -> None:
    """The message says what was found and what is allowed."""
    with pytest.raises(PolicyError, match=message):
        KnativeScaling(**constants)  # type: ignore[arg-type]
