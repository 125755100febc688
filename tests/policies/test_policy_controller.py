from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from controlled import INF, SIZE, Says, Wants, controls, decide
from hand_made import GIB, cluster, function, training

from policies import (
    Controller,
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
from policies.keep_alive import FixedKeepAlive
from policies.slots import ClusterView, FunctionView
from profiles import Measure

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
