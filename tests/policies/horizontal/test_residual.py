from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import PolicyError, Scaling
from policies.horizontal import ResidualRateScaling
from policies.still_views import StillFunction, StillInstance, scaling_actions
from policies.testing import check_policy

CHOICES = ResidualRateScaling(by_choices=True)
NEVER = float("-inf")


class Mixed(StillFunction):
    """A function of one instance for 40 requests a second, and one for 12.5."""

    @property
    def instances(self) -> tuple[StillInstance, ...]:
        """A batch of 4 in .1 s and of 2 in .16 s."""
        return (StillInstance(0, batch=4, service_s=0.1), StillInstance(1, batch=2, service_s=0.16))


@pytest.mark.parametrize(("rate", "unserved_rps"), [(53, 0.5), (90, 37.5), (1000, 947.5)])
def test_the_residual_rate_is_what_unlike_instances_leave(rate: int, unserved_rps: float) -> None:
    """R - (40 + 12.5), and the question again in the next second: the number is for placement to say."""
    view = Mixed((999, rate), live=2)
    assert CHOICES.scale(view) == Scaling(2, until_s=view.now_s, unserved_rps=unserved_rps)


def test_within_capacity_only_a_higher_rate_is_worth_a_poll() -> None:
    """52 of 52.5 are served; the function never scales in."""
    assert CHOICES.scale(Mixed((999, 52), live=2)) == Scaling(2, above=52.5, below=NEVER)


@pytest.mark.parametrize(
    ("rate", "waiting", "scaling"),
    [
        (0, 0, Scaling(0, above=0.0, below=NEVER)),
        (0, 3, Scaling(1, until_s=1.0)),
        (30, 3, Scaling(1, until_s=1.0)),
        (100, 3, Scaling(1, until_s=1.0, unserved_rps=60.0)),
        (100, 0, Scaling(0, until_s=1.0, unserved_rps=100.0)),
    ],
)
def test_from_nothing_the_first_is_of_the_own_size(rate: int, waiting: int, scaling: Scaling) -> None:
    """One for what waits, whatever rates the choices are for; the residual is what its 40 rps leave."""
    assert CHOICES.scale(StillFunction((rate,), live=0, min_instances=0, waiting=waiting)) == scaling


def test_a_missing_minimum_counts_as_served() -> None:
    """Two of three are missing: they take 80 of the 130 that one leaves, not also the choices."""
    view = StillFunction((170,), live=1, min_instances=3)
    assert CHOICES.scale(view) == Scaling(3, until_s=1.0, unserved_rps=50.0)


@pytest.mark.parametrize(("window_s", "target"), [(1, 1), (2, 3), (3, 5), (60, 5)])
def test_the_rate_is_the_highest_of_the_window(window_s: int, target: int) -> None:
    """200, 100 and 30 requests in the last three seconds, at 40 an instance."""
    view = StillFunction((1, 200, 100, 30))
    assert ResidualRateScaling(window_s=window_s).scale(view).target == target
    unserved_rps = max(0.0, {1: 30, 2: 100, 3: 200, 60: 200}[window_s] - 40.0)
    assert ResidualRateScaling(True, window_s).scale(view).unserved_rps == unserved_rps


RATES = st.lists(
    st.tuples(st.sampled_from([0, 1, 39, 40, 41, 79, 80, 81, 400]), st.integers(1, 20)), max_size=12
).map(lambda runs: [rate for rate, seconds in runs for _ in range(seconds)])


@given(rates=RATES, window_s=st.integers(1, 30), least=st.integers(0, 2))
def test_the_band_is_kept_for_any_window(rates: list[int], window_s: int, least: int) -> None:
    """Polled every second or only when the band says so, the same actions follow."""
    policy = ResidualRateScaling(window_s=window_s)
    asked = scaling_actions(policy, rates, min_instances=least)
    assert asked == scaling_actions(policy, rates, min_instances=least, every_second=True)


@given(
    rates=st.lists(st.integers(0, 200), min_size=1, max_size=40),
    window_s=st.integers(1, 30),
    live=st.integers(0, 4),
)
def test_by_choices_no_second_within_the_band_leaves_a_residual(
    rates: list[int], window_s: int, live: int
) -> None:
    """After an answer without action, seconds of at most `above` leave nothing unserved."""
    policy = ResidualRateScaling(True, window_s)
    scaling = policy.scale(StillFunction(tuple(rates), live=live, min_instances=0))
    if scaling.until_s == math.inf:
        later = (*rates, *[int(scaling.above)] * 3)
        again = policy.scale(StillFunction(later, live=live, min_instances=0))
        assert again == scaling


def test_a_window_without_seconds_is_refused() -> None:
    """There is no highest rate of none."""
    with pytest.raises(PolicyError, match="window_s: found 0, allowed are integers from 1"):
        ResidualRateScaling(window_s=0)


@pytest.mark.parametrize(
    "policy",
    [ResidualRateScaling(), CHOICES, ResidualRateScaling(window_s=10), ResidualRateScaling(True, 10)],
    ids=repr,
)
def test_residual_scaling_conforms(policy: ResidualRateScaling) -> None:
    """Each variant keeps the slot's contract."""
    assert check_policy(policy) == ("horizontal",)
