from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import PolicyError
from policies.horizontal import KubernetesScaling
from policies.horizontal.kubernetes import KubernetesState
from policies.still_views import StillFunction, StillInstance, scaling_actions
from policies.testing import check_policy

HPA = KubernetesScaling()
TARGET_RPS = 0.8 * 40.0


def sync(rate: float, live: int, policy: KubernetesScaling = HPA, **view: Any) -> int:
    """Return what is wanted at a sync after 15 s at a rate, with nothing remembered."""
    view.setdefault("memory", KubernetesState(live))
    return policy.scale(StillFunction((int(rate),) * 15, live, **view)).target


def test_kubernetes_scaling_keeps_the_contract() -> None:
    """`check_policy` finds nothing."""
    assert check_policy(HPA) == ("horizontal",)


@pytest.mark.parametrize(
    ("rate", "live", "target"),
    [(96, 2, 3), (97, 2, 4), (160, 2, 5), (320, 9, 10), (33, 2, 2), (32, 2, 1), (0, 5, 1)],
)
def test_instances_in_proportion_to_the_metric(rate: int, live: int, target: int) -> None:
    """ceil(instances * (rate / instances) / 32 rps), where 32 is 80 % of what an instance serves."""
    assert sync(rate, live) == target


@pytest.mark.parametrize(("rate", "target"), [(289, 10), (351, 10), (353, 12), (287, 9)])
def test_within_the_tolerance_nothing_happens(rate: int, target: int) -> None:
    """Ten instances are meant for 320 rps: up to 10 % more or less is let be."""
    assert sync(rate, 10) == target


@pytest.mark.parametrize(("live", "target"), [(1, 5), (3, 7), (4, 8), (10, 20)])
def test_out_by_four_or_double_at_a_sync(live: int, target: int) -> None:
    """The larger of 4 more instances and 100 % more, however much load there is."""
    assert sync(5000, live) == target


def test_in_waits_for_the_largest_recommendation_of_five_minutes() -> None:
    """The load ends at 300 s; at 600 s that sync's recommendation has aged, and all go at once."""
    actions = scaling_actions(HPA, (128,) * 300 + (0,) * 400)
    assert actions == [(15, 4), (600, 1)]


def test_the_largest_of_a_falling_series_counts() -> None:
    """Recommendations 8, 5, 3 at 15, 30 and 45 s: in to 5 when the 8 is 300 s old, to 3 when the 5 is."""
    falling = KubernetesState(8, recommended=((15.0, 8), (30.0, 5)))
    at_45 = HPA.scale(StillFunction((96,) * 45, 8, memory=falling))
    assert at_45.target == 8
    at_315 = HPA.scale(StillFunction((96,) * 315, 8, memory=at_45.memory))
    assert at_315.target == 8 - 3
    assert HPA.scale(StillFunction((96,) * 330, 5, memory=at_315.memory)).target == 3


def test_the_first_recommendation_is_what_there_is() -> None:
    """A function deployed with 4 instances and no load keeps them for five minutes."""
    first = HPA.scale(StillFunction((0,), 4))
    assert HPA.scale(StillFunction((0,) * 300, 4, memory=first.memory)).target == 4
    assert HPA.scale(StillFunction((0,) * 315, 4, memory=first.memory)).target == 1


@dataclass(frozen=True)
class Starting(StillFunction):
    """A function of which only the first instances are ready."""

    ready: int = 0

    @property
    def instances(self) -> tuple[StillInstance, ...]:
        """As many as are live."""
        return tuple(StillInstance(number, ready=number < self.ready) for number in range(self.live))


@pytest.mark.parametrize(
    ("rate", "ready", "target"),
    [(64, 1, 4), (128, 1, 4), (160, 1, 5), (64, 3, 2), (500, 0, 4)],
)
def test_instances_that_start_dampen_a_rise(rate: int, ready: int, target: int) -> None:
    """Of four, too few are ready for the load: those that start count as unused, and nothing turns around."""
    view = Starting((rate,) * 15, 4, memory=KubernetesState(4), ready=ready)
    assert HPA.scale(view).target == target


@pytest.mark.parametrize(("live", "least", "target"), [(0, 0, 1), (0, 2, 2), (3, 2, 2), (1, 0, 1)])
def test_never_below_the_minimum_nor_below_one(live: int, least: int, target: int) -> None:
    """Without any load."""
    assert sync(0, live, min_instances=least) == target


def test_between_syncs_nothing_is_decided() -> None:
    """An extra question gets the standing decision and the same memory, whatever has come meanwhile."""
    due = HPA.scale(StillFunction((96,) * 15, 2, memory=KubernetesState(2)))
    assert (due.target, due.above, due.below, due.until_s) == (3, math.inf, -math.inf, 30.0)
    assert HPA.scale(StillFunction((96,) * 15 + (900,) * 3, 3, memory=due.memory)) == due


def test_syncs_stay_on_the_clock_after_a_rest() -> None:
    """Traffic wakes a function at rest at 100 s; the next sync is at 105 s."""
    rest = HPA.scale(StillFunction((0,) * 15, 1))
    assert rest.until_s == math.inf
    assert scaling_actions(HPA, (0,) * 99 + (500,) * 20) == [(105, 5)]


def test_a_function_with_little_traffic_needs_no_sync() -> None:
    """Up to what the minimum is meant to serve nothing can change, once no larger recommendation lingers."""
    rest = HPA.scale(StillFunction((31,) * 15, 1, memory=KubernetesState(1)))
    assert rest.until_s == math.inf
    assert TARGET_RPS - 1e-9 < rest.above < TARGET_RPS
    lingers = KubernetesState(1, recommended=((0.0, 4),))
    assert HPA.scale(StillFunction((31,) * 15, 1, memory=lingers)).until_s == 30.0


SLOW_LOADS = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 31, 32, 33, 60, 90, 400]), st.integers(1, 90)), max_size=8
).map(lambda runs: [rate for rate, seconds in runs for _ in range(seconds)])


@given(
    policy=st.builds(
        KubernetesScaling,
        sync_s=st.sampled_from([1.0, 4.0, 15.0]),
        tolerance=st.sampled_from([0.0, 0.1, 0.5]),
        down_stabilization_s=st.sampled_from([0.0, 20.0, 90.0]),
        metric_window_s=st.sampled_from([1, 7, 30]),
    ),
    rates=SLOW_LOADS,
    least=st.integers(0, 3),
)
def test_kubernetes_promise_is_kept(policy: KubernetesScaling, rates: list[int], least: int) -> None:
    """Asked every second or only as it says, the policy acts the same, and never goes below the minimum."""
    asked = scaling_actions(policy, rates, min_instances=least)
    assert asked == scaling_actions(policy, rates, min_instances=least, every_second=True)
    assert all(live >= max(least, 1) for _, live in asked)


@given(rates=SLOW_LOADS)
def test_actions_fall_on_syncs(rates: list[int]) -> None:
    """Nothing happens between multiples of 15 s."""
    assert all(second % 15 == 0 for second, _ in scaling_actions(HPA, rates))


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"sync_s": -1.0}, "sync_s: found -1.0, allowed are seconds above 0"),
        ({"tolerance": 1.0}, "tolerance: found 1.0, allowed are fractions from 0 below 1"),
        ({"max_up_instances": 0}, "max_up_instances: found 0, allowed are integers from 1"),
    ],
)
def test_impossible_constants_of_kubernetes_are_refused(constants: dict[str, float], message: str) -> None:
    """The message says what was found and what is allowed."""
    with pytest.raises(PolicyError, match=message):
        KubernetesScaling(**constants)  # type: ignore[arg-type]
