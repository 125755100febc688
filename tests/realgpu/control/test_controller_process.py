"""The controller as a process: it reports, says why it crashed, and never outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from board_hands import FUNCTIONS, Scripted, complete, newcomer, work

from policies.slots import ALWAYS_CALM, Grant
from policies.still_views import StillGpu
from policies.vertical import Rckm
from realgpu.board import Board
from realgpu.control import ControllerProcess, Start, Want
from realgpu.errors import RealGpuError


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board of four seats in a folder of its own."""
    (tmp_path / "run").mkdir()
    with Board.create(tmp_path / "run", 4) as board:
        yield board


def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Whether something comes true; generous, as the host may be busy."""
    end_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.005)
    return True


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_it_ticks_in_real_time_and_reports(board: Board) -> None:
    """Over 0.4 s of 5 ms ticks, some 80 are done or missed, and a server under pressure gets its limit."""
    controller = ControllerProcess(Rckm(), FUNCTIONS, board, board.path.parent)
    try:
        controller.tell(newcomer(1, 0, 0))
        controller.tell(newcomer(2, 2, 1, request=0.4, limit=0.9))
        start_ns = time.monotonic_ns()
        controller.tell(Start(start_ns))
        work(board, 0)
        work(board, 1)
        assert eventually(lambda: board.header["ticks"][0] > 5)
        complete(board, 0, 0.2)
        assert eventually(lambda: board.seats["quota"][0] == 0.6)
        assert board.seats["quota"][1] < 0.2
        time.sleep(max(0.0, 0.4 - (time.monotonic_ns() - start_ns) / 1e9))
        report = controller.report()
        elapsed_ns = time.monotonic_ns() - start_ns
    finally:
        controller.close()
    ticks = report.ticks_done + report.ticks_missed
    assert 75 <= ticks <= elapsed_ns / 5e6 + 1
    changes = report.changes.tolist()
    assert [change[1:] for change in changes[:2]] == [(0, 1, 0.3), (0, 2, 0.4)]
    assert (0, 1, 0.6) in [change[1:] for change in changes]
    assert [change[0] for change in changes] == sorted(change[0] for change in changes)
    assert report.priority
    assert gone(controller.pid)


def test_a_policy_that_raises_is_named_with_its_words(board: Board) -> None:
    """A bug in a user's policy ends the controller; the orchestrator learns what and where."""

    def fails(view: StillGpu) -> Grant:
        raise ValueError("no such\nresident")

    controller = ControllerProcess(Scripted(fails), FUNCTIONS, board, board.path.parent)
    try:
        controller.tell(newcomer(1, 0, 0))
        controller.tell(Start(time.monotonic_ns()))
        with pytest.raises(RealGpuError, match=r"controller: ValueError: no such resident \(.*test_contr"):
            controller.report()
    finally:
        controller.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_whoever_speaks_to_a_controller_that_was_killed_is_told(board: Board, number: int) -> None:
    """The next message is refused, with its exit status."""
    controller = ControllerProcess(Scripted(), FUNCTIONS, board, board.path.parent)
    try:
        os.kill(controller.pid, number)
        assert eventually(lambda: gone(controller.pid))
        with pytest.raises(RealGpuError, match="controller: ended with exit status"):
            controller.tell(Want(1, 0.5))
    finally:
        controller.close()


def test_it_ignores_a_ctrl_c(board: Board) -> None:
    """What a Ctrl-C means is for the orchestrator to say."""
    controller = ControllerProcess(Scripted(), FUNCTIONS, board, board.path.parent)
    try:
        controller.tell(Start(time.monotonic_ns()))
        assert eventually(lambda: board.header["ticks"][0] > 2)
        os.kill(controller.pid, signal.SIGINT)
        before = int(board.header["ticks"][0])
        assert eventually(lambda: board.header["ticks"][0] > before + 2)
        assert controller.report().ticks_done > before
    finally:
        controller.close()


def test_a_policy_that_never_answers_is_ended_by_force(board: Board) -> None:
    """Closing does not wait for ever, and nothing stays."""

    def forever(view: StillGpu) -> Grant:
        while True:
            try:
                time.sleep(0.01)
            except Exception:  # a policy that swallows what it can
                continue

    controller = ControllerProcess(Scripted(forever), FUNCTIONS, board, board.path.parent)
    controller.tell(newcomer(1, 0, 0))
    controller.tell(Start(time.monotonic_ns()))
    controller.close()
    controller.close()
    assert gone(controller.pid)


def test_closing_leaves_no_descriptor(board: Board) -> None:
    """A controller that came and went leaves this process as it was."""
    ControllerProcess(Scripted(), FUNCTIONS, board, board.path.parent).close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        ControllerProcess(Scripted(), FUNCTIONS, board, board.path.parent).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


ORPHAN = """
import os, signal, sys, time
from pathlib import Path
from board_hands import ALWAYS_CALM, FUNCTIONS, Grant, Scripted, newcomer
from realgpu.board import Board
from realgpu.control import ControllerProcess, Start

def stuck(view):
    while {stuck}:
        pass
    return Grant((0.3,), None, (ALWAYS_CALM,), settled=True)

folder = Path(sys.argv[1])
board = Board.create(folder, 4)
controller = ControllerProcess(Scripted(stuck), FUNCTIONS, board, folder)
controller.tell(newcomer(1, 0, 0))
controller.tell(Start(time.monotonic_ns()))
print(controller.pid, flush=True)
time.sleep(0.2)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("stuck", [False, True])
def test_it_dies_with_its_parent_and_removes_the_files(tmp_path: Path, stuck: bool) -> None:
    """An orchestrator that is killed leaves neither process nor folder, be the policy in an endless loop."""
    folder = tmp_path / "run"
    folder.mkdir()
    program = ORPHAN.format(stuck=stuck)
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    parent = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert parent.returncode == -signal.SIGKILL
    assert eventually(lambda: gone(int(parent.stdout)))
    assert eventually(lambda: not folder.exists())


def test_decisions_of_a_process_are_those_of_the_policy_object(board: Board) -> None:
    """A policy made on the spot, which cannot be pickled, decides in the other process."""
    quotas = (0.37, 0.11)
    policy = Scripted(lambda view: Grant(quotas, None, (ALWAYS_CALM,) * 2, settled=True))
    controller = ControllerProcess(policy, FUNCTIONS, board, board.path.parent)
    try:
        controller.tell(newcomer(1, 0, 0))
        controller.tell(newcomer(2, 2, 1))
        controller.tell(Start(time.monotonic_ns()))
        assert eventually(lambda: tuple(board.seats["quota"][:2]) == quotas)
    finally:
        controller.close()
