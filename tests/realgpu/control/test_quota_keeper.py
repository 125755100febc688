"""The keeper shows a policy what the board says, and puts its quotas there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from board_hands import FUNCTIONS, MS, Scripted, complete, newcomer, seen, work
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import System, find_system
from policies.slots import ALWAYS_CALM, Grant
from policies.still_views import StillGpu
from policies.vertical import Rckm
from profiles.contention import LEAST_SHARE
from profiles.sharing import TimeSharing
from realgpu.board import Board
from realgpu.control.keeper import QuotaKeeper
from realgpu.control.messages import StandUp, Want
from realgpu.control.throttle import GateRates
from realgpu.gate import GateFile, Mode

SERVING, LLM, TRAINING = range(3)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board of eight seats."""
    with Board.create(tmp_path, 8) as board:
        yield board


def keeper_of(policy: object, board: Board) -> QuotaKeeper:
    """Return a keeper for a policy."""
    return QuotaKeeper(policy, FUNCTIONS, board)  # type: ignore[arg-type]


def test_whoever_sits_down_has_its_first_quota_at_once(board: Board) -> None:
    """The first quota is on the board, and in the record, before any tick."""
    keeper = keeper_of(Scripted(first=0.4), board)
    keeper.take(newcomer(7, SERVING, 3, gpu=2), 11)
    assert board.seats["quota"][3] == 0.4
    assert keeper.changes.rows().tolist() == [(11, 2, 7, 0.4)]


@pytest.mark.parametrize(("wish", "quota"), [(0.0, LEAST_SHARE), (-1.0, LEAST_SHARE), (0.5, 0.5), (2.0, 0.6)])
def test_quotas_are_above_zero_and_up_to_the_limit(board: Board, wish: float, quota: float) -> None:
    """Whatever a policy says, at first or later, a worker is neither stopped for ever nor above its limit."""
    keeper = keeper_of(Scripted(first=wish), board)
    keeper.take(newcomer(1, SERVING, 0), 1)
    assert board.seats["quota"][0] == quota
    policy = Scripted(lambda view: Grant((wish, wish), None, (ALWAYS_CALM,) * 2, settled=True))
    keeper = keeper_of(policy, board)
    keeper.take(newcomer(1, SERVING, 1), 1)
    keeper.take(newcomer(2, TRAINING, 2), 1)
    keeper.tick(5 * MS)
    assert board.seats["quota"][[1, 2]].tolist() == [quota, quota]


def test_a_resident_is_idle_after_a_window_and_busy_at_the_next_tick(board: Board) -> None:
    """Idleness follows the board: never active, active, resting for less and for more than a window."""
    policy = Scripted(window_s=0.1)
    keeper = keeper_of(policy, board)
    keeper.take(newcomer(1, SERVING, 0), 0)
    keeper.take(newcomer(2, TRAINING, 1), 0)
    states = [(0, 0), (1, 0), (0, 1015 * MS), (0, 1015 * MS)]
    for (active, last_ns), now_ns in zip(states, (1000, 1010, 1114, 1115), strict=True):
        work(board, 0, active=active, last_ns=last_ns)
        keeper.tick(now_ns * MS)
    assert [view.residents[0].idle for view in policy.views] == [True, False, False, True]


def test_pressure_is_a_cycle_over_what_it_takes_alone_on_its_quota(board: Board) -> None:
    """A cycle of 80 ms on a quota of 0.25, where 10 ms of work takes 40 ms: twice; idle, it is forgotten."""
    policy = Scripted(first=0.25)
    keeper = keeper_of(policy, board)
    keeper.take(newcomer(1, SERVING, 0), 0)
    keeper.take(newcomer(2, TRAINING, 1), 0)
    keeper.tick(0)
    work(board, 0)
    for tick in range(1, 17):
        keeper.tick(5 * tick * MS)
    complete(board, 0, 0.080)
    keeper.tick(85 * MS)
    work(board, 0, active=0, last_ns=85 * MS)
    keeper.tick(90 * MS)
    keeper.tick(200 * MS)
    own = [view.residents[0] for view in policy.views]
    assert own[16].pressure == 1.0
    assert (own[17].cycles, own[17].pressure) == (1, pytest.approx(2.0, rel=1e-3))
    assert own[18].pressure == own[17].pressure
    assert (own[19].cycles, own[19].pressure, own[19].idle) == (1, 1.0, True)


def test_a_cycle_is_held_against_the_quotas_that_it_had(board: Board) -> None:
    """40 ms on 0.25 and 20 ms on 0.5 are two cycles alone; a cycle of 60 ms has a pressure of 2."""
    quotas = {"now": 0.25}
    policy = Scripted(lambda view: Grant((quotas["now"], 0.1), None, (ALWAYS_CALM,) * 2, settled=True))
    keeper = keeper_of(policy, board)
    keeper.take(newcomer(1, SERVING, 0), 0)
    keeper.take(newcomer(2, TRAINING, 1), 0)
    keeper.tick(0)
    work(board, 0)
    for tick in range(1, 13):
        quotas["now"] = 0.25 if tick < 8 else 0.5
        if tick == 12:
            complete(board, 0, 0.060, count=3)
        keeper.tick(5 * tick * MS)
    own = policy.views[-1].residents[0]
    assert own.cycles == 3
    assert own.pressure == pytest.approx(2.0, rel=1e-3)


def test_time_shares_do_not_lengthen_what_a_cycle_takes_alone(board: Board) -> None:
    """Where residents take turns on the whole GPU, work alone takes 10 ms whatever the quota."""
    policy = Scripted(first=0.25, sharing=TimeSharing(width="gpu"))
    keeper = keeper_of(policy, board)
    keeper.take(newcomer(1, SERVING, 0), 0)
    keeper.take(newcomer(2, TRAINING, 1), 0)
    work(board, 0)
    keeper.tick(5 * MS)
    complete(board, 0, 0.030)
    keeper.tick(35 * MS)
    assert policy.views[-1].residents[0].pressure == pytest.approx(3.0, rel=1e-3)


def test_cycles_of_whoever_is_alone_or_trains_leave_no_trace(board: Board) -> None:
    """As in the simulated world: nobody asks for them, and T_min is that of shared times."""
    policy = Scripted(first=0.25, cycle_baseline="minimum")
    keeper = keeper_of(policy, board)
    keeper.take(newcomer(1, SERVING, 0), 0)
    work(board, 0)
    complete(board, 0, 0.001)
    keeper.tick(5 * MS)
    keeper.take(newcomer(2, TRAINING, 1), 6 * MS)
    complete(board, 1, 0.5, count=9)
    keeper.tick(10 * MS)
    complete(board, 0, 0.080)
    keeper.tick(90 * MS)
    serving, training = policy.views[-1].residents
    assert (serving.cycles, serving.pressure) == (1, pytest.approx(2.0, rel=1e-3))
    assert (training.cycles, training.pressure) == (0, 1.0)


def test_a_split_model_is_under_the_same_pressure_on_all_its_gpus(board: Board) -> None:
    """A cycle of an instance on two GPUs is the sum of its parts, and counts on both of them."""
    policy = Scripted(first=0.5)
    keeper = keeper_of(policy, board)
    keeper.take(newcomer(1, LLM, 0, 1, part=0.5), 0)
    keeper.take(newcomer(2, TRAINING, 2, gpu=1), 0)
    work(board, 0)
    keeper.tick(5 * MS)
    complete(board, 0, 0.040)
    keeper.tick(45 * MS)
    (own, _) = policy.views[-1].residents
    assert (own.instance, own.cycles, own.is_llm) == (1, 1, True)
    assert own.pressure == pytest.approx(2.0, rel=1e-3)


def test_whoever_is_alone_is_asked_about_when_it_comes_and_when_it_is_left(board: Board) -> None:
    """A lone resident needs no tick; one that is wanted to use another share is asked about again."""
    policy = Scripted()
    keeper = keeper_of(policy, board)
    keeper.take(newcomer(1, SERVING, 0, wanted=0.2), 0)
    for tick in range(5):
        keeper.tick(5 * tick * MS)
    assert [view.residents[0].wanted for view in policy.views] == [0.2]
    keeper.take(newcomer(2, TRAINING, 1), 30 * MS)
    keeper.tick(30 * MS)
    keeper.tick(35 * MS)
    assert [len(view.residents) for view in policy.views] == [1, 2, 2]
    keeper.take(StandUp(2), 40 * MS)
    keeper.take(Want(2, 0.9), 40 * MS)  # too late: it has left
    keeper.tick(40 * MS)
    keeper.tick(45 * MS)
    assert [len(view.residents) for view in policy.views] == [1, 2, 2, 1]
    keeper.take(Want(1, 0.5), 50 * MS)
    keeper.take(Want(1, 0.5), 50 * MS)
    keeper.tick(50 * MS)
    keeper.tick(55 * MS)
    assert [view.residents[0].wanted for view in policy.views[4:]] == [0.5]


def test_a_lone_resident_is_asked_about_until_the_answer_repeats(board: Board) -> None:
    """A policy that is not settled goes on, also with memory."""
    policy = Scripted(
        lambda view: Grant((min(view.residents[0].quota + 0.1, 0.5),), None, (ALWAYS_CALM,), settled=False)
    )
    keeper = keeper_of(policy, board)
    keeper.take(newcomer(1, SERVING, 0), 0)
    for tick in range(9):
        keeper.tick(5 * tick * MS)
    assert len(policy.views) == 4  # 0.25, 0.35, 0.45, 0.5, and the answer that repeats
    assert board.seats["quota"][0] == 0.5


def test_memory_comes_back_and_is_a_gpu_s_own(board: Board) -> None:
    """What the policy returned is shown again, for each GPU."""
    policy = Scripted(
        lambda view: Grant((0.3, 0.3), (view.memory or 0) + view.residents[0].instance, (ALWAYS_CALM,) * 2)  # type: ignore[operator]
    )
    keeper = keeper_of(policy, board)
    for gpu in (0, 1):
        keeper.take(newcomer(1 + 10 * gpu, SERVING, 2 * gpu, gpu=gpu), 0)
        keeper.take(newcomer(2 + 10 * gpu, TRAINING, 2 * gpu + 1, gpu=gpu), 0)
    for tick in range(3):
        keeper.tick(5 * tick * MS)
    assert [view.memory for view in policy.views] == [None, None, 1, 11, 2, 22]


def _decides_by_hand(system: System, views: list[StillGpu]) -> list[tuple[float, ...]]:
    return [system.vertical.decide(view).quotas for view in views]


@pytest.mark.parametrize("name", ["dilu", "dilu-reference", "tgs", "antman", "has-gpu"])
@given(
    steps=st.lists(
        st.tuples(st.booleans(), st.sampled_from([0, 0, 1, 2]), st.floats(0.005, 0.3), st.integers(1, 4)),
        min_size=5,
        max_size=40,
    )
)
@settings(max_examples=15, deadline=None)
def test_quotas_are_those_of_the_policy_called_by_hand(
    name: str, steps: list[tuple[bool, int, float, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same policy object, asked by hand about the recorded views, gives every quota on the board."""
    system = find_system(name)
    views: list[StillGpu] = []

    class Watched:
        def __getattr__(self, attribute: str) -> object:
            return getattr(system.vertical, attribute)

        def decide(self, gpu: StillGpu) -> Grant:
            views.append(seen(gpu))
            return system.vertical.decide(gpu)

    with Board.create(tmp_path_factory.mktemp("board"), 3) as board:
        keeper = keeper_of(Watched(), board)
        keeper.take(newcomer(1, SERVING, 0), 0)
        keeper.take(newcomer(2, TRAINING, 1, request=0.4, limit=0.9), 0)
        keeper.take(newcomer(3, LLM, 2, request=0.2, limit=0.4), 0)
        limits = np.array([0.6, 0.9, 0.4])
        work(board, 1)
        found = []
        for tick, (active, cycles, cycle_s, batch) in enumerate(steps):
            work(board, 0, active=int(active), last_ns=0 if active else 5 * tick * MS)
            if cycles:
                complete(board, 0, cycle_s, batch, cycles)
            keeper.tick(5 * tick * MS)
            found.append(board.seats["quota"].copy())
    for quotas, expected in zip(found, _decides_by_hand(system, views), strict=True):
        assert quotas.tolist() == np.clip(expected, LEAST_SHARE, limits).tolist()


def test_emergency_throttles_training_and_lets_the_server_have_its_limit(board: Board) -> None:
    """Dilu beside training: a cycle under pressure moves both quotas at the next tick."""
    keeper = keeper_of(Rckm(), board)
    keeper.take(newcomer(1, SERVING, 0), 0)
    keeper.take(newcomer(2, TRAINING, 1, request=0.4, limit=0.9), 0)
    work(board, 0)
    work(board, 1)
    keeper.tick(0)
    assert board.seats["quota"][:2].tolist() == [0.3, 0.4]
    complete(board, 0, 0.1)
    keeper.tick(5 * MS)
    assert board.seats["quota"][0] == 0.6
    assert board.seats["quota"][1] == pytest.approx(0.4 / 3.0, rel=1e-3)


def test_rates_of_launch_gates_follow_quotas(board: Board) -> None:
    """A quota of 0.25 lets a quarter of the capacity through; whoever stands up leaves its gate open."""
    with GateFile.create(8) as file:
        keeper = QuotaKeeper(Scripted(first=0.25), FUNCTIONS, board, GateRates(file, burst_s=0.01))
        keeper.take(newcomer(1, SERVING, 5, cost_per_s=4000.0), 0)
        keeper.take(newcomer(2, TRAINING, 6), 0)
        slot, other = file.slots[5], file.slots[6]
        assert (slot.read("rate"), slot.read("burst"), slot.read("mode")) == (1000, 10, Mode.ENFORCE)
        assert other.read("mode") == Mode.OFF
        keeper.take(StandUp(1), 0)
        assert (slot.read("rate"), slot.read("mode")) == (2**64 - 1, Mode.OFF)


def test_nothing_passes_between_sitting_down_and_the_first_quota() -> None:
    """Whoever waits for its quota to begin finds its gate closed before, and held after."""
    with GateFile.create(1) as file:
        rates = GateRates(file, burst_s=0.01)
        rates.sit_down(0, 100.0)
        slot = file.slots[0]
        assert (slot.read("rate"), slot.read("mode")) == (0, Mode.ENFORCE)
        rates.apply(0, 0.5)
        assert slot.read("rate") == 50


def test_the_whole_gpu_is_no_hold() -> None:
    """A capacity that was measured too small takes nothing from who may use all; less holds again."""
    with GateFile.create(1) as file:
        rates = GateRates(file, burst_s=0.01)
        rates.sit_down(0, 100.0)
        rates.apply(0, 1.0)
        assert file.slots[0].read("rate") == 2**64 - 1
        rates.apply(0, 0.99)
        assert (file.slots[0].read("rate"), file.slots[0].read("burst")) == (99, 1)


def test_gates_hear_of_a_tick_and_of_changes_only() -> None:
    """Every beat is a heartbeat; whoever waits is woken only if a rate has changed."""
    with GateFile.create(2) as file:
        rates = GateRates(file, burst_s=0.01)
        rates.beat(17)
        assert (file.read("heartbeat_ns"), file.read("epoch")) == (17, 0)
        rates.sit_down(1, 100.0)
        rates.apply(1, 0.5)
        rates.apply(0, 0.5)  # nobody has sat down there
        rates.beat(18)
        rates.beat(19)
        assert (file.read("heartbeat_ns"), file.read("epoch")) == (19, 1)
        assert file.slots[0].read("rate") == 2**64 - 1
