"""The loop ticks on a fixed grid of time, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from board_hands import FUNCTIONS, MS, Scripted, newcomer
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.slots import ALWAYS_CALM, Grant
from policies.still_views import StillGpu
from realgpu.board import Board
from realgpu.control.keeper import QuotaKeeper
from realgpu.control.loop import BEAT_NS, ControlLoop
from realgpu.control.messages import ControlReport, End, Message, Start


class Hours:
    """A clock that only a test moves, and messages that come at their times."""

    def __init__(self, *messages: tuple[int, Message], late_ns: int = 0) -> None:
        self.now_ns = 0
        self._messages = list(messages)
        self._late_ns = late_ns

    def __call__(self) -> int:
        """Tell the time."""
        return self.now_ns

    def receive(self, until_ns: int) -> Message | None:
        """Wait for the next message, or until a time; be late as told."""
        if not self._messages:
            raise EOFError
        if self._messages[0][0] <= max(until_ns, self.now_ns):
            at_ns, message = self._messages.pop(0)
            self.now_ns = max(self.now_ns, at_ns)
            return message
        self.now_ns = max(self.now_ns, until_ns) + self._late_ns
        return None


class Throttled:
    """A throttle that only counts beats."""

    def __init__(self) -> None:
        self.beats: list[int] = []

    def sit_down(self, row: int, cost_per_s: float) -> None:
        """Do nothing."""

    def apply(self, row: int, quota: float) -> None:
        """Do nothing."""

    def stand_up(self, row: int) -> None:
        """Do nothing."""

    def beat(self, now_ns: int) -> None:
        """Take note."""
        self.beats.append(now_ns)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board of four seats."""
    with Board.create(tmp_path, 4) as board:
        yield board


def ran(policy: Scripted, board: Board, hours: Hours, throttle: Throttled | None = None) -> ControlReport:
    """Run a loop to its end."""
    keeper = QuotaKeeper(policy, FUNCTIONS, board, throttle)
    loop = ControlLoop(keeper, board, hours, tick_s=policy.tick_s, clock=hours, throttle=throttle)
    return loop.run("as it is")


def pair(*, at_ns: int) -> list[tuple[int, Message]]:
    """Two instances that share a GPU, so that the policy is asked on every tick."""
    return [(at_ns, newcomer(1, 0, 0)), (at_ns, newcomer(2, 2, 1))]


def test_ticks_are_multiples_of_the_period_after_time_0(board: Board) -> None:
    """From time 0 on, and not before, whenever messages come."""
    hours = Hours((1 * MS, Start(20 * MS)), *pair(at_ns=33 * MS), (49 * MS, End()))
    policy = Scripted()
    report = ran(policy, board, hours)
    assert report.ticks["time_ns"].tolist() == [20 * MS, 25 * MS, 30 * MS, 35 * MS, 40 * MS, 45 * MS]
    assert (report.ticks_done, report.ticks_missed, report.priority) == (6, 0, "as it is")
    assert len(policy.views) == 3
    assert [change["time_ns"] for change in report.changes] == [33 * MS, 33 * MS]
    assert board.header["ticks"][0] == 6


def test_lateness_does_not_add_up(board: Board) -> None:
    """A loop that wakes 2 ms late is 2 ms late every time."""
    report = ran(Scripted(), board, Hours((0, Start(0)), (999 * MS, End()), late_ns=2 * MS))
    assert report.ticks_done == 200
    assert set(report.ticks["lateness_ns"][1:].tolist()) == {2 * MS}
    assert report.ticks["time_ns"][-1] == 997 * MS


def test_a_tick_that_takes_too_long_skips_those_it_ran_over(board: Board) -> None:
    """A decision of 12 ms at 10 ms ends at 22 ms: the ticks of 15 and 20 ms are missed, the next is at 25."""
    hours = Hours((0, Start(0)), *pair(at_ns=1 * MS), (41 * MS, End()))

    def slowly(view: StillGpu) -> Grant:
        if hours.now_ns == 10 * MS:
            hours.now_ns += 12 * MS
        return Grant((0.3, 0.3), None, (ALWAYS_CALM,) * 2, settled=True)

    report = ran(Scripted(slowly), board, hours)
    assert [t // MS for t in report.ticks["time_ns"].tolist()] == [0, 5, 10, 25, 30, 35, 40]
    assert report.ticks["duration_ns"].max() == 12 * MS
    assert report.ticks_missed == 2
    assert board.header["late_ticks"][0] == 2


@given(
    stalls=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    period_ms=st.sampled_from([1, 5, 7]),
)
@settings(max_examples=30, deadline=None)
def test_ticks_done_and_missed_cover_the_grid(
    stalls: list[int], period_ms: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever ticks take, every point of the grid up to the last tick was done or missed, and none twice."""
    left = list(stalls)
    hours = Hours((0, Start(0)), *pair(at_ns=0), (2000 * MS, End()))

    def slowly(view: StillGpu) -> Grant:
        hours.now_ns += (left.pop() if left else 0) * MS
        return Grant((0.3, 0.3), None, (ALWAYS_CALM,) * 2, settled=True)

    with Board.create(tmp_path_factory.mktemp("board"), 4) as board:
        report = ran(Scripted(slowly, tick_s=period_ms / 1e3), board, hours)
    due_ns = report.ticks["time_ns"] - report.ticks["lateness_ns"]
    assert (due_ns % (period_ms * MS) == 0).all()
    assert (due_ns[1:] > due_ns[:-1]).all()
    assert due_ns[-1] // (period_ms * MS) + 1 == report.ticks_done + report.ticks_missed
    assert (report.ticks["lateness_ns"] < period_ms * MS).all()


def test_without_ticks_quotas_stand_and_the_heart_still_beats(board: Board) -> None:
    """A policy without a period is asked for first quotas alone."""
    policy, throttle = Scripted(tick_s=None, first=0.5), Throttled()
    hours = Hours((0, Start(0)), *pair(at_ns=MS), (10 * BEAT_NS, End()))
    report = ran(policy, board, hours, throttle)
    assert policy.views == []
    assert report.ticks_done == 0
    assert board.seats["quota"][:2].tolist() == [0.5, 0.5]
    assert max(b - a for a, b in zip(throttle.beats, throttle.beats[1:], strict=False)) <= BEAT_NS
    assert board.header["heartbeat_ns"][0] == throttle.beats[-1] >= 9 * BEAT_NS


def test_a_loop_without_orchestrator_ends(board: Board) -> None:
    """The end of the pipe is the end of the loop."""
    with pytest.raises(EOFError):
        ran(Scripted(), board, Hours((0, Start(0))))
