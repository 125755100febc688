"""The controller launches instances of the sizes that a placement chooses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from controlled import INF, Fits, Says, controls, fits
from hand_made import GIB, cluster, function
from hypothesis import given
from hypothesis import strategies as st

from policies import (
    Cluster,
    Function,
    Launch,
    PlacementRequest,
    Poll,
    Refused,
    Scaling,
    Shard,
    Size,
    find_system,
)
from policies.functions import Choice
from policies.slots import ClusterView
from policies.still_views import StillFunction
from profiles import Measure


def choice(batch: int, share: float, least_rps: float, most_rps: float, need: float | None = None) -> Choice:
    """Return a choice of which only the size and the rates matter."""
    return Choice(Size(batch, share, share, need=need), 0.1, least_rps, most_rps)


BIG = choice(4, 0.5, 20.0, 40.0, need=0.3)
SMALL = choice(1, 0.2, 1.0, 10.0)


@dataclass(frozen=True)
class Chooses:
    """A sizing with a big and a small size on offer, and one of its own."""

    own: Size = SMALL.size
    offer: tuple[Choice, ...] = (BIG, SMALL)

    def size(self, function: Function, measure: Measure) -> Size:
        """Return the function's own."""
        return self.own

    def reserve(self, size: Size) -> Size:
        """Reserve just that."""
        return size

    def choices(self, function: Function, measure: Measure) -> tuple[Choice, ...]:
        """Return the offer."""
        return self.offer


@dataclass(frozen=True)
class TakesFirst:
    """Places the first of the choices that has room, and remembers what it was shown."""

    shown: list[tuple[Choice, ...]]
    splits_llm: bool = False

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...] | None:
        """Return the first choice that fits; without choices, the request."""
        self.shown.append(request.choices)
        if not request.choices:
            return fits(request.request, request.limit, request.memory_bytes, cluster)
        found = (
            fits(c.size.request, c.size.limit, request.memory_bytes, cluster, c.size.batch)
            for c in request.choices
        )
        return next((shards for shards in found if shards), None)


def chosen(
    rate_rps: float, *, target: int = 0, on: Cluster | None = None, **policies: Any
) -> tuple[Poll, list[tuple[Choice, ...]]]:
    """Poll a function without instances whose unserved rate is to be launched for."""
    shown: list[tuple[Choice, ...]] = []
    slots = {"sizing": Chooses(), "placement": TakesFirst(shown), **policies}
    says = Says(Scaling(target, above=7.0, below=3.0, unserved_rps=rate_rps))
    controller = controls(function(min_instances=0), horizontal=says, on=on, **slots)
    return controller.poll(0, StillFunction((9,), live=0, min_instances=0), []), shown


def sizes(poll: Poll) -> list[Size]:
    """Return the sizes that were launched."""
    return [action.size for action in poll.actions if isinstance(action, Launch)]


def test_instances_are_launched_until_the_rate_is_served() -> None:
    """Of 95/s two big ones take 40 each; the other 15/s would not fill a third, and take two small ones."""
    poll, shown = chosen(95.0)
    assert sizes(poll) == [BIG.size, BIG.size, SMALL.size, SMALL.size]
    assert shown == [(BIG, SMALL), (BIG, SMALL), (SMALL,), (SMALL,)]
    assert (poll.above, poll.below, poll.until_s) == (-1.0, INF, 1.0)


def test_a_launch_is_of_the_size_that_was_chosen() -> None:
    """The whole of it, with what profiling found necessary; its shard carries the batch."""
    poll, _ = chosen(30.0)
    (launch,) = poll.actions
    assert isinstance(launch, Launch)
    assert launch.size == BIG.size
    assert launch.size.needed == 0.3
    assert launch.shards == (Shard(0, 0.5, 0.5, 4 * GIB, batch=4),)


@pytest.mark.parametrize(
    ("rate_rps", "launched"),
    [
        (0.0, []),
        (0.9, []),
        (1.0, [SMALL]),
        (10.0, [SMALL]),
        (19.9, [SMALL] * 2),
        (20.0, [BIG]),
        (40.5, [BIG]),
    ],
)
def test_a_choice_is_of_use_from_the_rate_that_fills_its_batches(
    rate_rps: float, launched: list[Choice]
) -> None:
    """A rate that not even the smallest is meant for is left, with the band as the policy gave it."""
    poll, _ = chosen(rate_rps)
    assert sizes(poll) == [one.size for one in launched]
    if not launched:
        assert poll == Poll((), above=7.0, below=3.0, until_s=INF)


def test_a_rate_that_is_served_exactly_launches_no_more() -> None:
    """Not even what would make sense for no rate at all."""
    any_rate = choice(1, 0.2, 0.0, 10.0)
    assert sizes(chosen(20.0, sizing=Chooses(offer=(any_rate,)))[0]) == [any_rate.size] * 2


@given(rate_rps=st.floats(0.0, 400.0))
def test_the_launches_serve_the_rate_and_no_more_than_needed(rate_rps: float) -> None:
    """All but the last are not enough, and what all leave is less than any choice is meant for."""
    poll, _ = chosen(rate_rps, on=cluster(3, 4))
    served = [40.0 if size == BIG.size else 10.0 for size in sizes(poll)]
    assert rate_rps - sum(served) < 1.0
    assert not served or sum(served[:-1]) < rate_rps


def test_what_finds_no_place_is_refused_once_and_ends_it() -> None:
    """Two big ones fill the only GPU; no third is tried in this poll."""
    poll, shown = chosen(200.0, on=cluster(1, 1))
    assert [type(action) for action in poll.actions] == [Launch, Launch, Refused]
    assert len(shown) == 3


def test_the_target_comes_first_and_at_the_function_s_own_size() -> None:
    """The rate is launched for beyond the target; without choices the batch is the function's own."""
    own = Size(2, 0.3, 0.3)
    poll, shown = chosen(40.0, target=1, sizing=Chooses(own))
    assert sizes(poll) == [own, BIG.size]
    assert shown == [(), (BIG, SMALL)]


@pytest.mark.parametrize(
    ("own", "rate_rps", "launches"),
    [(SMALL.size, 25.0, 3), (replace(BIG.size, trials=30), 15.0, 1), (Size(2, 0.3, 0.3), 90.0, 1)],
    ids=["on offer", "on offer, though not for this rate", "not on offer"],
)
def test_a_placement_may_look_at_no_choices(own: Size, rate_rps: float, launches: int) -> None:
    """It launches the function's own size, which serves what it does as a choice; else the next poll sees."""
    poll, _ = chosen(rate_rps, sizing=Chooses(own), placement=Fits())
    assert sizes(poll) == [own] * launches


def test_without_choices_there_is_nothing_to_launch_for_a_rate() -> None:
    """A sizing of one size leaves it to the target."""
    poll, _ = chosen(95.0, sizing=find_system("dilu").sizing)
    assert poll.actions == ()
