from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hand_made import GIB, cluster, function, training
from hypothesis import given
from hypothesis import strategies as st

from policies import (
    Cluster,
    Controller,
    Deployment,
    Function,
    Launch,
    PlacementRequest,
    PolicyError,
    Poll,
    Refused,
    Retire,
    Scaling,
    Shard,
    Size,
    System,
    find_system,
)
from policies.functions import Choice
from policies.keep_alive import FixedKeepAlive, GreedyDual
from policies.slots import ClusterView, FunctionView, WarmWindow
from policies.still_views import StillFunction, StillInstance
from profiles import Measure

SIZE = Size(4, 0.3, 0.6)
INF = float("inf")


def controls(
    *functions: Function, name: str = "dilu", on: Cluster | None = None, **policies: Any
) -> Controller:
    """Return the controller of a named system, some of its policies replaced."""
    system = replace(find_system(name), **policies)
    arrivals = (np.zeros(0),) * len(functions)
    return Controller(
        system, Deployment(on or cluster(), functions, arrivals, (None,) * len(functions), 60.0)
    )


@dataclass(frozen=True)
class Wants:
    """Horizontal scaling to a fixed number."""

    target: int

    def scale(self, function: FunctionView) -> Scaling:
        """Return the number, with a band of its own."""
        return Scaling(self.target, above=7.0, below=3.0)


@dataclass(frozen=True)
class Says:
    """Horizontal scaling with a fixed answer."""

    scaling: Scaling

    def scale(self, function: FunctionView) -> Scaling:
        """Return the answer."""
        return self.scaling


@dataclass(frozen=True)
class Stays:
    """Horizontal scaling that leaves the instances as they are."""

    def scale(self, function: FunctionView) -> Scaling:
        """Return their number, with a band of its own."""
        return Scaling(function.live, above=7.0, below=3.0)


def decide(
    controller: Controller, *, live: int, least: int = 1, now_s: int = 100, idle: Any = ()
) -> tuple[Poll, list[int]]:
    """Poll function 0 and return the outcome and the instances that it retires."""
    view = StillFunction((0,) * now_s, live=live, min_instances=least)
    poll = controller.poll(0, view, list(idle))
    return poll, [action.instance for action in poll.actions if isinstance(action, Retire)]


# ------------------------------------------------------------------------------------------- launching


def test_a_deployment_launches_the_minimum() -> None:
    """Warm at the start: no start-up; each instance numbered, placed and booked."""
    controller = controls(function(size=SIZE, min_instances=2))
    actions = controller.deploy(0, warm=True)
    shard = Shard(0, 0.3, 0.6, 4 * GIB)
    assert actions == (Launch(0, 0, (shard,), 0.0, False, SIZE), Launch(1, 0, (shard,), 0.0, False, SIZE))
    assert controller.live(0) == 2
    assert controller.books.request[0] == pytest.approx(0.6)


def test_later_deployments_start_cold() -> None:
    """A function deployed after the start pays its start-up: 2.25 s, polled at 3, settled at 4."""
    (launch,) = controls(function(size=SIZE)).deploy(0, warm=False)
    assert isinstance(launch, Launch)
    assert (launch.start_up_s, launch.cold) == (4.0, True)


def test_a_training_deploys_once_with_all_its_workers() -> None:
    """Whatever its minimum, one instance; one shard a worker."""
    controller = controls(training(size=SIZE, min_instances=3))
    (launch,) = controller.deploy(0, warm=True)
    assert isinstance(launch, Launch)
    assert [shard.gpu for shard in launch.shards] == [0, 1]
    assert controller.finished(0, launch.instance) == Retire(0)
    assert controller.live(0) == 0


def test_a_function_without_instances_is_activated_by_a_request() -> None:
    """Nothing is deployed at a minimum of none; the first request launches one, cold."""
    controller = controls(function(size=SIZE, min_instances=0))
    assert controller.deploy(0, warm=True) == ()
    (launch,) = controller.activate(0)
    assert isinstance(launch, Launch)
    assert launch.cold
    assert controller.live(0) == 1


def test_what_has_no_place_is_refused_once() -> None:
    """Three wanted, one placed: one launch and one refusal, which is neither booked nor live."""
    controller = controls(function(size=Size(1, 0.6, 0.9), min_instances=3), on=cluster(1, 1))
    actions = controller.deploy(0, warm=True)
    assert [type(action) for action in actions] == [Launch, Refused]
    assert controller.live(0) == 1
    assert controller.books.residents.tolist() == [1]


def test_instances_are_numbered_over_all_functions() -> None:
    """A number is never used twice, and a refusal uses none."""
    controller = controls(
        function(size=Size(1, 0.6, 0.9)), function(size=Size(1, 0.4, 0.6)), on=cluster(1, 1)
    )
    numbers = [action for index in (0, 0, 1, 1) for action in controller.deploy(index, warm=True)]
    assert [a.instance for a in numbers if isinstance(a, Launch)] == [0, 1]
    assert sum(isinstance(a, Refused) for a in numbers) == 2


def test_what_is_gone_leaves_room() -> None:
    """A retired instance holds its place until the world reports it gone."""
    controller = controls(function(size=Size(1, 0.6, 0.9)), on=cluster(1, 1))
    controller.deploy(0, warm=True)
    controller.finished(0, 0)
    assert controller.activate(0) == (Refused(0),)
    assert controller.gone(0).instance == 0
    assert [type(action) for action in controller.activate(0)] == [Launch]


# --------------------------------------------------------------------------------------------- polling


def test_scaling_out_launches_what_is_missing() -> None:
    """From one to three: two cold launches, and the next second is worth a poll."""
    controller = controls(function(size=SIZE), horizontal=Wants(3))
    controller.deploy(0, warm=True)
    poll, _ = decide(controller, live=1)
    assert [(a.instance, a.cold) for a in poll.actions if isinstance(a, Launch)] == [(1, True), (2, True)]
    assert (poll.above, poll.below, poll.until_s) == (-1.0, INF, 100.0)


def test_scaling_in_retires_the_newest() -> None:
    """From four to two the last two launched go, newest first."""
    controller = controls(function(size=SIZE, min_instances=4), horizontal=Wants(2))
    controller.deploy(0, warm=True)
    assert decide(controller, live=4)[1] == [3, 2]
    assert controller.live(0) == 2


def test_a_poll_without_action_hands_on_the_band() -> None:
    """What the policy promised is what the world may skip."""
    controller = controls(function(size=SIZE), horizontal=Wants(1))
    controller.deploy(0, warm=True)
    assert decide(controller, live=1)[0] == Poll((), above=7.0, below=3.0, until_s=INF)


def surplus(*, keep: int = 4) -> Controller:
    """Return the controller of a function that has four instances and wants to keep as many."""
    controller = controls(
        function(size=SIZE, min_instances=4), horizontal=Wants(keep), keep_alive=FixedKeepAlive(10.0)
    )
    controller.deploy(0, warm=True)
    return controller


IDLE = [(85.0, 2), (80.0, 3), (95.0, 0), (90.0, 1)]
"""(idle since, instance) at 100 s; after 10 s one goes, so that 0 may stay."""


def test_keep_alive_retires_the_longest_idle_first() -> None:
    """Idle since 80, 85 and 90 s: all expired at 100 s, in that order."""
    poll, retired = decide(surplus(), live=4, idle=IDLE)
    assert retired == [3, 2, 1]
    assert poll.until_s == 100.0


@pytest.mark.parametrize(("least", "retired"), [(0, [3, 2, 1]), (2, [3, 2]), (3, [3]), (4, [])])
def test_keep_alive_never_goes_below_the_minimum(least: int, retired: list[int]) -> None:
    """However long they idle, the minimum stays, and it is the longest idle that go."""
    assert decide(surplus(), live=4, least=least, idle=IDLE)[1] == retired


def test_keep_alive_waits_for_horizontal_scaling() -> None:
    """In a poll in which horizontal scaling acts, keep-alive is not asked."""
    assert decide(surplus(keep=3), live=4, idle=IDLE)[1] == [3]
    poll, retired = decide(surplus(keep=5), live=4, idle=IDLE)
    assert [type(action) for action in poll.actions] == [Launch]
    assert retired == []


def test_surplus_instances_are_looked_at_every_second() -> None:
    """While there are more than the minimum, keep-alive is asked each poll, whatever the band says."""
    assert decide(surplus(), live=4, idle=[(95.0, 0)])[0] == Poll((), above=7.0, below=3.0, until_s=100.0)
    assert decide(surplus(), live=4, least=4)[0].until_s == INF


@pytest.mark.parametrize(("keep", "retired"), [(3, [1]), (2, [1, 3]), (1, [1, 3, 2]), (4, [])])
def test_scaling_in_retires_whom_the_policy_names(keep: int, retired: list[int]) -> None:
    """In the order it names them, then the newest; a repeated name, or one not live, counts for nothing."""
    says = Says(Scaling(keep, retire=(1, 9, 1, 3)))
    controller = controls(function(size=SIZE, min_instances=4), horizontal=says)
    controller.deploy(0, warm=True)
    assert decide(controller, live=4)[1] == retired


@pytest.mark.parametrize("target", [1, 2])
def test_share_and_memory_are_passed_through(target: int) -> None:
    """What the policy wants its instances to use, and to remember, whether or not there is an action."""
    says = Says(Scaling(target, share=0.4, memory=("seen", 3)))
    controller = controls(function(size=SIZE), horizontal=says)
    controller.deploy(0, warm=True)
    poll, _ = decide(controller, live=1)
    assert (poll.share, poll.memory) == (0.4, ("seen", 3))
    assert len(poll.actions) == target - 1


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
class Fits:
    """The first GPU whose requests leave room; it looks at no choices."""

    splits_llm: bool = False

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...] | None:
        """Return the first fit."""
        return fits(request.request, request.limit, request.memory_bytes, cluster)


def fits(
    request: float, limit: float, memory_bytes: int, cluster: ClusterView, batch: int = 0
) -> tuple[Shard, ...] | None:
    """Return one shard on the first GPU with room for a request."""
    free = np.flatnonzero(cluster.request + request <= 1.0 + 1e-9)
    return (Shard(int(free[0]), request, limit, memory_bytes, batch=batch),) if len(free) else None


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


# ---------------------------------------------------------------------------------------------- choices


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


# ---------------------------------------------------------------------------------------- fixed order


@dataclass(frozen=True)
class Told:
    """Stands in for every slot and tells in which order it was asked."""

    tell: Callable[[str], None]
    target: int
    splits_llm: bool = False

    def size(self, function: Function, measure: Measure) -> Size:
        """Answer for sizing."""
        self.tell("sizing")
        return SIZE

    def scale(self, function: FunctionView) -> Scaling:
        """Answer for horizontal scaling."""
        self.tell("horizontal")
        return Scaling(self.target)

    def idle_timeout_s(self, function: FunctionView) -> float:
        """Answer for keep-alive."""
        self.tell("keep-alive")
        return INF

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...]:
        """Answer for placement."""
        self.tell("placement")
        return (Shard(0, request.request, request.limit, request.memory_bytes),)

    def seconds(self, function: Function) -> float:
        """Answer for start-up."""
        self.tell("start-up")
        return 1.0


@pytest.mark.parametrize(
    ("target", "order"),
    [
        (2, ["horizontal", "keep-alive"]),
        (1, ["horizontal"]),
        (3, ["horizontal", "placement", "start-up"]),
    ],
)
def test_the_slots_are_asked_in_a_fixed_order(target: int, order: list[str]) -> None:
    """Sizing once, at construction; then horizontal, keep-alive; placement and start-up for each launch."""
    asked: list[str] = []
    told: Any = Told(asked.append, target)
    slots = ("sizing", "placement", "horizontal", "keep_alive", "start_up")
    controller = controls(function(min_instances=2), **dict.fromkeys(slots, told))
    assert asked == ["sizing"]
    controller.deploy(0, warm=True)
    assert asked == ["sizing", "placement", "placement"], "a warm instance takes no start-up"
    asked.clear()
    decide(controller, live=2, idle=[(0.0, 0)])
    assert asked == order


# ------------------------------------------------------------------------------------------- refusing


@pytest.mark.parametrize(
    ("unplaceable", "name", "message"),
    [
        (
            function(memory_bytes=41 * GIB),
            "dilu",
            "serves: memory: found 41.0 GiB, any GPU here has 40.0 GiB",
        ),
        (
            function(kind="llm", memory_bytes=161 * GIB),
            "dilu",
            "serves: memory: found 161.0 GiB, a node of 4 has 160.0 GiB",
        ),
        (
            function(kind="llm", memory_bytes=41 * GIB),
            "infless+-l",
            "serves: memory: found 41.0 GiB, any GPU here has 40.0 GiB",
        ),
        (training(workers=5), "dilu", "trains: workers: found 5, allowed are up to the 4 GPUs of one node"),
    ],
)
def test_what_no_empty_cluster_could_hold_is_an_error(unplaceable: Function, name: str, message: str) -> None:
    """The message names the function, what it needs and what there is."""
    with pytest.raises(PolicyError) as caught:
        controls(replace(unplaceable, size=SIZE), name=name)
    assert str(caught.value) == message


def test_a_system_that_cannot_split_is_not_counted_on_to() -> None:
    """Without complementarity Dilu splits no LLM, and an LLM larger than a GPU is an error at once."""
    llm = function(kind="llm", memory_bytes=60 * GIB, size=SIZE)
    assert controls(llm).sizes == (SIZE,)
    without = find_system("dilu").with_config({"placement.complementary": False})
    with pytest.raises(PolicyError, match="any GPU here has 40"):
        controls(llm, placement=without.placement)


# -------------------------------------------------------------------------------------------- sizing


def test_equal_functions_are_measured_once() -> None:
    """The same model, kind, SLO and answer length is one search; another SLO or length is another."""
    asked: list[str] = []
    told: Any = Told(asked.append, 1)
    controls(function(), function(name="twin"), function(slo_s=0.5), function(output_tokens=9), sizing=told)
    assert asked == ["sizing"] * 3


def test_a_system_reserves_what_it_makes_of_a_pinned_size() -> None:
    """The same pinned size is .3/.6 for Dilu, a whole GPU exclusively, and a static quota for INFless."""

    def reserved(name: str) -> tuple[float, float]:
        size = controls(function(size=SIZE), name=name).sizes[0]
        return size.request, size.limit

    assert [reserved(name) for name in ("dilu", "exclusive", "infless+-l", "infless+-r")] == [
        (0.3, 0.6),
        (1.0, 1.0),
        (0.6, 0.6),
        (0.3, 0.3),
    ]


def test_the_controller_keeps_the_system_it_was_given() -> None:
    """What decides can be read off it."""
    system: System = controls(function(size=SIZE)).system
    assert system == find_system("dilu")
