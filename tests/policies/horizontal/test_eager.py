from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import PolicyError, Scaling
from policies.horizontal import EagerScaling
from policies.still_views import StillFunction, StillInstance, scaling_actions
from policies.testing import check_policy

EAGER = EagerScaling()


def eager_target(*counts: int, **view: Any) -> int:
    """Return what eager scaling wants for a function whose instances serve 40 requests a second each."""
    return EAGER.scale(StillFunction(counts, **view)).target


def test_eager_scaling_keeps_the_contract() -> None:
    """`check_policy` finds nothing."""
    assert check_policy(EAGER) == ("horizontal",)


@pytest.mark.parametrize(("rate", "live", "target"), [(40, 1, 1), (41, 1, 2), (200, 1, 5), (201, 3, 6)])
def test_out_at_once_by_as_many_as_one_second_needs(rate: int, live: int, target: int) -> None:
    """One second above capacity is enough, whatever came before, and all missing instances are launched."""
    assert eager_target(0, 0, rate, live=live) == target


@pytest.mark.parametrize(
    ("counts", "target"),
    [
        ((39,) * 16, 1),
        ((39,) * 15, 4),
        ((119,) * 15 + (39,), 1),
        ((39,) * 15 + (81,), 3),
        ((39,) * 16 + (120,), 4),
        ((39,) * 15 + (120,) + (39,) * 15, 4),
        ((0,) * 16, 1),
    ],
)
def test_in_after_fifteen_seconds_to_what_the_last_one_needs(counts: tuple[int, ...], target: int) -> None:
    """Four instances, of which three serve less than 120 rps: a second that needs four starts it anew."""
    assert eager_target(*counts, live=4) == target


def test_an_action_starts_the_patience_anew() -> None:
    """Low seconds from before the last action do not count."""
    assert eager_target(*(0,) * 60, live=3, cleared_s=45) == 3
    assert eager_target(*(0,) * 60, live=3, cleared_s=44) == 1


@pytest.mark.parametrize(("least", "target"), [(0, 1), (1, 1), (2, 2), (4, 4)])
def test_scaling_in_stops_at_the_minimum_and_at_one(least: int, target: int) -> None:
    """Long silence leaves the minimum, and never takes the last instance."""
    assert eager_target(*(0,) * 40, live=4, min_instances=least) == target


def test_eager_from_nothing_only_for_a_waiting_request() -> None:
    """A function without instances sleeps until a request waits; a missing minimum is launched."""
    asleep = EAGER.scale(StillFunction((0,), live=0, min_instances=0))
    assert asleep == Scaling(0, above=0.0, below=float("-inf"))
    assert eager_target(3, live=0, min_instances=0, waiting=3) == 1
    assert eager_target(3, live=1, min_instances=3) == 3


def test_the_eager_band_is_what_the_instances_and_one_fewer_serve() -> None:
    """Two instances of 40 rps: only seconds above 80 or below 40 requests matter."""
    assert EAGER.scale(StillFunction((60,), live=2)) == Scaling(2, above=80.0, below=40.0)
    assert EAGER.scale(StillFunction((30,) * 99, live=1)) == Scaling(1, above=40.0, below=float("-inf"))


@dataclass(frozen=True)
class Mixed(StillFunction):
    """A function whose instances differ."""

    mix: tuple[StillInstance, ...] = ()

    @property
    def instances(self) -> tuple[StillInstance, ...]:
        """Those given."""
        return self.mix


def test_the_least_efficient_instances_go_first_then_the_newest() -> None:
    """RPR = batch / (service_s * request), ascending; of equals, the higher number goes."""
    usual = StillInstance(0)
    wide = dataclasses.replace(usual, instance=1, request=0.6)
    also_usual = dataclasses.replace(usual, instance=2)
    fast = dataclasses.replace(usual, instance=3, batch=8)
    view = Mixed((0,) * 16, live=4, mix=(usual, wide, also_usual, fast))
    assert EAGER.scale(view).retire == (1, 2, 0)
    kept = dataclasses.replace(view, min_instances=3)
    assert EAGER.scale(kept).retire == (1,)


SURGES = st.lists(
    st.tuples(st.sampled_from([0, 1, 39, 40, 41, 79, 80, 81, 130, 400]), st.integers(1, 20)), max_size=12
).map(lambda runs: [rate for rate, seconds in runs for _ in range(seconds)])


@given(patience_s=st.integers(0, 18), rates=SURGES, least=st.integers(0, 2))
def test_the_eager_band_is_kept(patience_s: int, rates: list[int], least: int) -> None:
    """Polling every second and polling only when the band says so give the same actions."""
    policy = EagerScaling(patience_s)
    asked = scaling_actions(policy, rates, min_instances=least)
    assert asked == scaling_actions(policy, rates, min_instances=least, every_second=True)


@given(rates=SURGES)
def test_no_second_exceeds_what_eager_scaling_deploys(rates: list[int]) -> None:
    """After every poll the instances serve the last second's rate."""
    actions = dict(scaling_actions(EAGER, rates))
    live = 1
    for second, rate in enumerate(rates, start=1):
        live = actions.get(second, live)
        assert rate <= live * 40.0


@pytest.mark.parametrize(("name", "launched"), [("Periodic", 40), ("Sporadic", 4)])
def test_eager_scale_outs_on_the_published_traces(name: str, launched: int) -> None:
    """INFless's traces x25 launch 40 and 4 instances of 56 rps (Dilu's Table 3, FaST-GS+: 41 and 4)."""
    directory = os.environ.get("DILU_TRACE_DIR")
    path = Path(directory or "", "infless", f"{name}.txt")
    if not directory or not path.is_file():
        pytest.skip("DILU_TRACE_DIR names no directory with INFless's traces")
    rates = [int(float(line) * 25) for line in path.read_text().split()]
    before, count = 1, 0
    for _, live in scaling_actions(EAGER, rates, throughput_rps=56.0):
        count, before = count + max(0, live - before), live
    assert count == launched


def test_an_impossible_patience_is_refused() -> None:
    """The message says what was found and what is allowed."""
    with pytest.raises(PolicyError, match="patience_s: found -1, allowed are whole seconds from 0"):
        EagerScaling(-1)
