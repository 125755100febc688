"""The controller launches ahead, and makes room by eviction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from controlled import INF, SIZE, Fits, Says, Stays, Wants, controls, decide
from hand_made import GIB, cluster, function, training

from policies import (
    Cluster,
    Controller,
    Function,
    Launch,
    Poll,
    Refused,
    Retire,
    Scaling,
    Size,
)
from policies.keep_alive import FixedKeepAlive, GreedyDual
from policies.slots import FunctionView, WarmWindow
from policies.still_views import StillFunction, StillInstance

# ----------------------------------------------------------------------------------------- pre-warming


@dataclass(frozen=True)
class Ahead:
    """Keeps nothing, and wants a warm instance from 10 s to 20 s after the last request."""

    def idle_timeout_s(self, function: FunctionView) -> float:
        """Keep nothing."""
        return 0.0

    def warm_window(self, function: FunctionView) -> WarmWindow:
        """Return the window."""
        return WarmWindow(10.0, 20.0)


def asks_ahead(
    controller: Controller, now_s: int, *, live: int = 0, again_s: int = 0, idle: Any = ()
) -> Poll:
    """Poll a function whose requests came at 0.5 s and, if `again_s`, in the second before it."""
    counts = [1] + [0] * (now_s - 1)
    if again_s:
        counts[again_s - 1] = 1
    view = StillFunction(tuple(counts), live, 0, cold_start_s=5.0)
    return controller.poll(0, view, list(idle))


def prewarms(*functions: Function) -> Controller:
    """Return the controller of functions that may go to nothing and are launched ahead."""
    spec = function(size=Size(1, 0.6, 0.9), min_instances=0)
    return controls(spec, *functions, horizontal=Stays(), keep_alive=Ahead(), on=cluster(1, 1))


def test_an_instance_is_launched_ahead_once_for_each_silence() -> None:
    """The world is told when to ask; one cold launch, no second in the same silence, another in the next."""
    controller = prewarms()
    assert asks_ahead(controller, 2) == Poll((), above=7.0, below=3.0, until_s=5.0)
    poll = asks_ahead(controller, 5)
    assert [(a.instance, a.cold) for a in poll.actions if isinstance(a, Launch)] == [(0, True)]
    assert (poll.above, poll.below, poll.until_s) == (-1.0, INF, 5.0)
    assert asks_ahead(controller, 20, live=1, idle=[(10.0, 0)]).actions == ()
    assert asks_ahead(controller, 21, live=1, idle=[(10.0, 0)]).actions == (Retire(0),)
    controller.gone(0)
    assert asks_ahead(controller, 22) == Poll((), above=7.0, below=3.0, until_s=INF)
    assert asks_ahead(controller, 31, again_s=30).until_s == 34.0
    (launch,) = asks_ahead(controller, 34, again_s=30).actions
    assert isinstance(launch, Launch)
    assert launch.instance == 1


def test_once_a_request_came_it_is_kept_like_any_other() -> None:
    """It no longer waits for the window's end: the timeout of 0 s ends it."""
    controller = prewarms()
    asks_ahead(controller, 5)
    assert asks_ahead(controller, 14, live=1, again_s=14, idle=[(13.8, 0)]).actions == (Retire(0),)


def test_a_launch_ahead_that_is_refused_is_tried_again() -> None:
    """While the window lasts and no GPU takes it; the silence counts as pre-warmed only with an instance."""
    controller = prewarms(function(size=Size(1, 0.6, 0.9)))
    controller.deploy(1, warm=True)
    assert asks_ahead(controller, 5).actions == (Refused(0),)
    assert asks_ahead(controller, 6).actions == (Refused(0),)
    controller.finished(1, 0)
    controller.gone(0)
    assert [type(action) for action in asks_ahead(controller, 7).actions] == [Launch]


def test_nothing_is_launched_ahead_while_scaling_acts() -> None:
    """In a poll in which horizontal scaling launches, keep-alive is not asked."""
    spec = function(size=SIZE, min_instances=0)
    controller = controls(spec, horizontal=Wants(1), keep_alive=Ahead())
    assert [type(action) for action in asks_ahead(controller, 5).actions] == [Launch]


# -------------------------------------------------------------------------------------------- eviction


@dataclass(frozen=True)
class Crowded(StillFunction):
    """A function with these very instances."""

    crowd: tuple[StillInstance, ...] = ()

    @property
    def instances(self) -> tuple[StillInstance, ...]:
        """The given ones."""
        return self.crowd


def crowded(requests: int, *idle: int, busy: Sequence[int] = (), least: int = 0) -> Crowded:
    """Return a function whose greedy-dual priority is the clock and its requests: cost over size is 1."""
    crowd = [StillInstance(one) for one in idle] + [StillInstance(one, idle=False) for one in busy]
    return Crowded((requests,), len(crowd), least, cold_start_s=1024.0, memory_bytes=GIB, crowd=tuple(crowd))


def evicts(*requests: float, on: Cluster | None = None, **policies: Any) -> Controller:
    """Return the controller of functions of these requests that may go to nothing, each with an instance.

    The last one, which is to make room for itself, has none yet.
    """
    specs = [function(name=f"f{i}", size=Size(1, r, r), min_instances=0) for i, r in enumerate(requests)]
    policies = {"placement": Fits(), "keep_alive": GreedyDual(), **policies}
    controller = controls(*specs, on=on or cluster(1, 1), **policies)
    for index in range(len(requests) - 1):
        (launch,) = controller.activate(index)
        assert isinstance(launch, Launch)
        assert launch.instance == index
    return controller


def test_a_launch_without_place_evicts_the_idle_instance_least_worth_keeping() -> None:
    """It retires before the launch that takes its place, and is counted neither live nor in the books."""
    controller = evicts(0.5, 0.5, 0.5)
    controller.watch([crowded(5, 0), crowded(2, 1), None])
    retire, launch = controller.activate(2)
    assert retire == Retire(1)
    assert isinstance(launch, Launch)
    assert (launch.instance, launch.function, launch.cold) == (2, 2, True)
    assert [controller.live(index) for index in range(3)] == [1, 0, 1]
    assert controller.books.request[0] == pytest.approx(1.0)
    with pytest.raises(KeyError):
        controller.books.tenancy(1)


def test_the_clock_rises_with_each_eviction() -> None:
    """A function first used after an eviction outranks one that has more requests but is from before it."""
    controller = evicts(0.5, 0.5, 0.5)
    controller.watch([crowded(5, 0), crowded(2, 1), None])
    controller.activate(2)
    controller.watch([crowded(5, 0), crowded(2), crowded(4, 2)])
    assert controller.activate(1)[0] == Retire(0), "it is worth 5, the other 2 + 4"


def test_who_was_evicted_is_freed_once() -> None:
    """The world reports it gone as it does all others; its place has long been another's."""
    controller = evicts(0.5, 0.5, 0.5)
    controller.watch([crowded(5, 0), crowded(2, 1), None])
    controller.activate(2)
    tenancy = controller.gone(1)
    assert (tenancy.instance, tenancy.service) == (1, 1)
    assert controller.books.request[0] == pytest.approx(1.0)
    assert controller.books.residents.tolist() == [2]
    with pytest.raises(KeyError):
        controller.gone(1)


def test_as_many_go_as_must() -> None:
    """A whole GPU takes two evictions, the lower priority first; a third idle instance stays elsewhere."""
    controller = evicts(0.5, 0.5, 1.0, 1.0, on=cluster(1, 2))
    controller.watch([crowded(5, 0), crowded(2, 1), crowded(9, 2), None])
    *retired, launch = controller.activate(3)
    assert retired == [Retire(1), Retire(0)]
    assert isinstance(launch, Launch)
    assert launch.shards[0].gpu == 0
    assert controller.live(2) == 1


def test_a_launch_with_a_place_evicts_nobody() -> None:
    """However little an idle instance is worth."""
    controller = evicts(0.5, 0.5)
    controller.watch([crowded(0, 0), None])
    assert [type(action) for action in controller.activate(1)] == [Launch]


@pytest.mark.parametrize(
    ("views", "keep_alive"),
    [
        ([crowded(5, busy=(0,)), crowded(2, busy=(1,)), None], GreedyDual()),
        ([crowded(5, 0, least=1), crowded(2, 1, least=1), None], GreedyDual()),
        ([crowded(5, 0), crowded(2, 1), None], FixedKeepAlive(0.0)),
        ([], GreedyDual()),
    ],
    ids=["busy", "at their minimum", "another policy", "no views"],
)
def test_where_nobody_may_go_a_launch_is_refused(views: list[Crowded | None], keep_alive: Any) -> None:
    """Nobody idles above the minimum, the policy does not evict, or nothing is known of the others."""
    controller = evicts(0.5, 0.5, 0.5, keep_alive=keep_alive)
    controller.watch(views)
    assert controller.activate(2) == (Refused(2),)


def test_nobody_is_evicted_in_vain() -> None:
    """A launch that all evictions together could not place retires nobody, and leaves books and clock."""
    controller = evicts(0.5, 0.25, 0.2, 1.0)
    controller.watch([crowded(9, busy=(0,)), crowded(4, 1), crowded(3, 2), None])
    shards = controller.books.shards(0)
    tenancies = [controller.books.tenancy(instance) for instance in range(3)]
    for _ in range(2):
        assert controller.activate(3) == (Refused(3),)
    assert [controller.live(index) for index in range(4)] == [1, 1, 1, 0]
    assert [controller.books.tenancy(instance) for instance in range(3)] == tenancies
    assert controller.books.shards(0) == shards
    used = replace(crowded(3, 2), counts=(3, 2))  # would be worth 4 + 5 had the clock risen to 4
    controller.watch([crowded(7, 0), crowded(4, 1), used, None])
    assert controller.activate(3)[:3] == (Retire(1), Retire(2), Retire(0))
    assert controller.gone(1).instance == 1


def test_who_was_spared_keeps_its_age() -> None:
    """After an eviction in vain the newest is still the first to go when its function scales in."""
    specs = [function(name=f"f{i}", size=Size(1, r, r), min_instances=0) for i, r in enumerate((0.25, 1.0))]
    says = Says(Scaling(2))
    controller = controls(
        *specs, placement=Fits(), keep_alive=GreedyDual(), horizontal=says, on=cluster(1, 1)
    )
    for _ in range(3):
        controller.activate(0)
    controller.watch([crowded(1, 0, 1, busy=(2,)), None])
    assert controller.activate(1) == (Refused(1),)
    assert decide(controller, live=3, least=0)[1] == [2]
    controller.finished(0, 1)
    controller.gone(1)
    assert controller.books.residents.tolist() == [2], "it is freed like any other"


def test_a_function_makes_no_room_for_itself() -> None:
    """Scaling out does not give up a warm instance for a cold one of the same function."""
    specs = [function(size=Size(1, 0.5, 0.5), min_instances=2)]
    controller = controls(
        *specs, placement=Fits(), keep_alive=GreedyDual(), horizontal=Wants(3), on=cluster(1, 1)
    )
    controller.deploy(0, warm=True)
    controller.watch([crowded(1, 0, 1)])
    assert decide(controller, live=2, least=0)[0].actions == (Refused(0),)
    assert controller.live(0) == 2


def test_scaling_out_evicts_for_each_launch() -> None:
    """Two launches take two places, each retirement just before its launch; the third finds nobody."""
    controller = evicts(0.5, 0.5, 0.5, horizontal=Wants(3))
    controller.watch([crowded(5, 0), crowded(2, 1), None])
    poll = controller.poll(2, StillFunction((1,), live=0, min_instances=0), [])
    assert [(type(a), getattr(a, "instance", None)) for a in poll.actions] == [
        (Retire, 1),
        (Launch, 2),
        (Retire, 0),
        (Launch, 3),
        (Refused, None),
    ]


def test_a_training_job_makes_room_too() -> None:
    """Its minimum does not matter; while it waits for more than may go, it sweeps nobody out."""
    serves = function(size=Size(1, 0.5, 0.5), min_instances=0)
    trains = training(workers=1, size=Size(1, 1.0, 1.0))
    for busy, types in ((True, [Refused]), (False, [Retire, Retire, Launch])):
        controller = controls(
            serves, serves, trains, placement=Fits(), keep_alive=GreedyDual(), on=cluster(1, 1)
        )
        controller.activate(0)
        controller.activate(1)
        other = crowded(9, busy=(1,)) if busy else crowded(9, 1)
        controller.watch([crowded(2, 0), other, None])
        assert [type(action) for action in controller.deploy(2, warm=False)] == types
