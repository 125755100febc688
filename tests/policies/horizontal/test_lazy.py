from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import Scaling
from policies.horizontal import LazyScaling, ResidualRateScaling
from policies.slots import HorizontalPolicy
from policies.still_views import StillFunction, scaling_actions

LAZY = LazyScaling()
RESIDUAL = ResidualRateScaling()


def lazy_target(*counts: int, policy: LazyScaling = LAZY, **view: Any) -> int:
    """Return what lazy scaling wants for a function whose instances serve 40 requests a second each."""
    return policy.scale(StillFunction(counts, **view)).target


# ---------------------------------------------------------------------------------------------- lazy


@pytest.mark.parametrize(
    ("counts", "target"),
    [
        ((41,) * 20, 2),
        ((41,) * 19, 1),
        ((40,) * 40, 1),
        ((41,) * 20 + (0,) * 20, 2),
        ((41,) * 20 + (0,) * 21, 1),
        ((0, 41) * 20, 2),
        ((1000,) * 19 + (40,) * 21, 1),
    ],
)
def test_out_by_one_at_twenty_rates_above_capacity(counts: tuple[int, ...], target: int) -> None:
    """phi_out = 20 of the last 40 rates, strictly above, whether in a row or not and however high."""
    assert lazy_target(*counts) == target


@pytest.mark.parametrize(
    ("counts", "live", "target"),
    [
        ((39,) * 31, 2, 1),
        ((39,) * 30, 2, 2),
        ((40,) * 40, 2, 2),
        ((39,) * 31 + (60,) * 9, 2, 1),
        ((39,) * 31 + (60,) * 10, 2, 2),
        ((79,) * 31, 3, 2),
        ((0,) * 40, 5, 4),
    ],
)
def test_in_by_one_at_more_than_thirty_rates_that_fewer_would_serve(
    counts: tuple[int, ...], live: int, target: int
) -> None:
    """More than phi_in = 30 of the last 40 rates, strictly below what one instance fewer serves."""
    assert lazy_target(*counts, live=live) == target


def test_the_reference_code_scales_in_at_thirty() -> None:
    """`strict_in=False` counts phi_in itself."""
    code = LazyScaling(strict_in=False)
    assert lazy_target(*(39,) * 30, live=2, policy=code) == 1
    assert lazy_target(*(39,) * 29, live=2, policy=code) == 2


def test_an_action_clears_the_window() -> None:
    """Rates from before the last action do not count: 19 high ones since are too few, 20 are enough."""
    assert lazy_target(*(90,) * 60, live=2, cleared_s=41) == 2
    assert lazy_target(*(90,) * 60, live=2, cleared_s=40) == 3


@pytest.mark.parametrize(("live", "least", "target"), [(1, 1, 1), (2, 2, 2), (3, 2, 2), (1, 0, 1), (2, 0, 1)])
def test_never_in_below_the_minimum_nor_to_nothing(live: int, least: int, target: int) -> None:
    """Forty silent seconds take away one instance, but not one of the minimum, and never the last."""
    assert lazy_target(*(0,) * 40, live=live, min_instances=least) == target


def test_a_minimum_that_could_not_be_launched_is_still_wanted() -> None:
    """One of three deployed: the other two are asked for, whatever the rates, and again the next second."""
    view = StillFunction((5,), live=1, min_instances=3)
    assert LAZY.scale(view) == Scaling(3, until_s=view.now_s)
    assert RESIDUAL.scale(view) == Scaling(3, until_s=view.now_s)


@pytest.mark.parametrize("policy", [LAZY, RESIDUAL])
def test_from_nothing_to_one_when_a_request_waits(policy: HorizontalPolicy) -> None:
    """A function without instances is left alone until a request waits."""
    asleep = policy.scale(StillFunction((0,), live=0, min_instances=0))
    assert (asleep.target, asleep.above, asleep.below) == (0, 0.0, float("-inf"))
    assert policy.scale(StillFunction((0,), live=0, min_instances=0, waiting=1)).target == 1


def test_the_band_of_a_steady_function() -> None:
    """Two instances of 40 rps: only seconds above 80 or below 40 requests are worth a poll."""
    assert LAZY.scale(StillFunction((60,), live=2)) == Scaling(2, above=80.0, below=40.0)
    assert LAZY.scale(StillFunction((60,), live=1)) == Scaling(1, above=40.0, below=float("-inf"))


SERIES = st.lists(
    st.tuples(st.sampled_from([0, 1, 39, 40, 41, 79, 80, 81, 130, 400]), st.integers(1, 45)), max_size=12
).map(lambda runs: [rate for rate, seconds in runs for _ in range(seconds)])
POLICIES = st.one_of(
    st.builds(
        LazyScaling,
        window_s=st.integers(1, 45),
        out_count=st.integers(1, 25),
        in_count=st.integers(0, 35),
        strict_in=st.booleans(),
    ),
    st.builds(ResidualRateScaling),
)


@given(policy=POLICIES, rates=SERIES, least=st.integers(0, 2))
def test_the_band_is_kept(policy: HorizontalPolicy, rates: list[int], least: int) -> None:
    """Polling every second and polling only when the band says so give the same actions."""
    asked = scaling_actions(policy, rates, min_instances=least)
    assert asked == scaling_actions(policy, rates, min_instances=least, every_second=True)


@given(policy=POLICIES, rates=SERIES, least=st.integers(0, 2))
def test_no_action_goes_below_the_minimum(policy: HorizontalPolicy, rates: list[int], least: int) -> None:
    """The number of instances never falls below the minimum, nor to nothing by scaling in."""
    assert all(live >= max(least, 1) for _, live in scaling_actions(policy, rates, min_instances=least))


# ------------------------------------------------------------------------------- counts over a series


def test_a_surge_is_answered_every_twenty_seconds() -> None:
    """160 rps for 100 s at 40 rps an instance: out at 20, 40 and 60 s, then enough; in from 131 s on.

    The window holds 31 low rates 31 s after the surge, and is empty again after each action.
    """
    actions = scaling_actions(LAZY, (160,) * 100 + (10,) * 100)
    assert actions == [(20, 2), (40, 3), (60, 4), (131, 3), (162, 2), (193, 1)]


def test_a_burst_shorter_than_the_count_is_absorbed() -> None:
    """19 s of any height start nothing; that is what vertical scaling is for."""
    assert scaling_actions(LAZY, ((1000,) * 19 + (0,) * 21) * 5) == []


def launches(actions: list[tuple[int, int]], before: int = 1) -> int:
    """Return how many instances were launched."""
    count = 0
    for _, live in actions:
        count += max(0, live - before)
        before = live
    return count


@pytest.mark.parametrize("throughput_rps", [54.0, 56.0, 58.0])
@pytest.mark.parametrize(("name", "expected"), [("Periodic", 11), ("Sporadic", 0)])
def test_scale_outs_on_the_published_traces(name: str, expected: int, throughput_rps: float) -> None:
    """INFless's traces x25 launch 11 and no instances of 54 to 58 rps (Dilu, Table 3: 11 and 1)."""
    directory = os.environ.get("DILU_TRACE_DIR")
    path = Path(directory or "", "infless", f"{name}.txt")
    if not directory or not path.is_file():
        pytest.skip("DILU_TRACE_DIR names no directory with INFless's traces")
    rates = [int(float(line) * 25) for line in path.read_text().split()]
    assert launches(scaling_actions(LAZY, rates, throughput_rps=throughput_rps)) == expected


# ------------------------------------------------------------------------------------------- residual


@pytest.mark.parametrize(
    ("rate", "live", "target"), [(40, 1, 1), (41, 1, 2), (200, 1, 5), (201, 1, 6), (0, 4, 4), (90, 3, 3)]
)
def test_the_residual_rate_is_served_at_once(rate: int, live: int, target: int) -> None:
    """As many instances as the last second needs at 40 rps each, all at once; it never scales in."""
    assert RESIDUAL.scale(StillFunction((999, rate), live=live)).target == target


def test_residual_polls_wait_for_a_rate_above_capacity() -> None:
    """Only more than the capacity is worth a poll; after an action, the next second is."""
    assert RESIDUAL.scale(StillFunction((80,), live=2)) == Scaling(2, above=80.0, below=float("-inf"))
    assert RESIDUAL.scale(StillFunction((81,), live=2)) == Scaling(3, until_s=1.0)


@given(rate=st.integers(0, 5000), throughput_rps=st.floats(0.01, 500.0), live=st.integers(0, 50))
def test_no_rate_within_the_band_asks_for_more(rate: int, throughput_rps: float, live: int) -> None:
    """Capacity in the band and capacity in the division agree, however they round."""
    view = StillFunction((rate,), live=live, min_instances=0, throughput_rps=throughput_rps)
    if rate <= live * throughput_rps:
        assert RESIDUAL.scale(view).target == live
