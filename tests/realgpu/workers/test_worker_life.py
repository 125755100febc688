"""How workers end, whatever happens to them or to their parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from worker_parent import PATIENCE_S, REPOSITORY, Agency, Worker, begin, lives, model, sit, wait_until

from realgpu.board import Board
from realgpu.workers import Done, Failed, Message, Ready, Run, Stop, Stopped, encode

ROBERTA, BERT, LLAMA = model("roberta-large"), model("bert-base"), model("llama2-7b")
LONG = Run(0, 8, 100_000)
"""A batch of an LLM that takes an hour."""
SOON_S = 10.0
"""A worker ends in milliseconds; so long on a machine that is busy with other things."""


@pytest.fixture
def server(board: Board, agency: Agency) -> Worker:
    """A worker that serves an LLM."""
    sit(board, 0, LLAMA)
    worker = agency.hire()
    worker.start(begin(board, LLAMA))
    return worker


@pytest.fixture
def trainer(board: Board, agency: Agency) -> Worker:
    """A worker that trains without an end."""
    sit(board, 0, BERT, job="train")
    worker = agency.hire()
    worker.start(begin(board, BERT, job="train"))
    assert wait_until(lambda: board.seats["active"][0] == 1)
    return worker


def busy(board: Board, worker: Worker) -> None:
    """Have a worker begin a batch that takes an hour."""
    worker.channel.send(LONG)
    assert wait_until(lambda: board.seats["active"][0] == 1)


def ends_soon(worker: Worker) -> int:
    """The exit status of a worker that is to end at once."""
    return worker.process.wait(SOON_S)


def test_stop_ends_one_that_is_idle(server: Worker) -> None:
    """It says that it stops, and ends with status 0."""
    server.channel.send(Stop())
    assert server.expect(Stopped).steps == 0.0
    assert ends_soon(server) == 0


def test_a_batch_that_runs_is_finished_before_it_stops(server: Worker) -> None:
    """`Stop` in the middle of a batch comes after its `Done`."""
    server.channel.send(Run(0, 2, 10))
    time.sleep(0.05)
    server.channel.send(Stop())
    done, stopped = server.expect(Done), server.expect(Stopped)
    assert (done.end_ns - done.start_ns) / 1e9 == pytest.approx(10 * LLAMA.latency.seconds(2, 1.0), abs=1e-6)
    assert stopped.at_ns >= done.end_ns
    assert ends_soon(server) == 0


def test_stop_before_begin_is_obeyed(agency: Agency) -> None:
    """A worker that was started for nothing ends as others do."""
    worker = agency.hire()
    worker.channel.send(Stop())
    assert worker.expect(Stopped).steps == 0.0
    assert ends_soon(worker) == 0


@pytest.mark.parametrize("works", [False, True], ids=["idle", "busy"])
def test_a_closed_socket_ends_one_that_serves(board: Board, server: Worker, works: bool) -> None:
    """Nobody is left to answer to: it ends, in the middle of a batch too, and rests on the board."""
    if works:
        busy(board, server)
    server.channel.close()
    assert ends_soon(server) == 0
    assert board.seats["active"][0] == 0


def test_a_closed_socket_ends_one_that_trains(board: Board, trainer: Worker) -> None:
    """Training ends as serving does."""
    trainer.channel.close()
    assert ends_soon(trainer) == 0
    assert board.seats["active"][0] == 0


def test_a_closed_socket_ends_one_that_was_never_told_what_it_is(agency: Agency) -> None:
    """Before `Begin`, too, the end of the socket is the end."""
    worker = agency.hire()
    worker.channel.close()
    assert ends_soon(worker) == 0


@pytest.mark.parametrize("works", [False, True], ids=["idle", "busy"])
def test_sigterm_ends_one_that_serves(board: Board, server: Worker, works: bool) -> None:
    """The status says why, and the batch is not finished."""
    if works:
        busy(board, server)
    server.process.terminate()
    assert ends_soon(server) == 143
    assert board.seats["active"][0] == 0
    assert server.channel.receive() is None


def test_sigterm_ends_one_that_trains(board: Board, trainer: Worker) -> None:
    """Training is left off where it is."""
    assert wait_until(lambda: board.seats["steps"][0] > 0)
    trainer.process.terminate()
    assert ends_soon(trainer) == 143
    assert board.seats["active"][0] == 0


def test_sigint_is_ignored(board: Board, server: Worker) -> None:
    """A Ctrl-C, which reaches every process of a terminal, is for the orchestrator to handle."""
    server.process.send_signal(signal.SIGINT)
    server.channel.send(Run(0, 2, 10))
    time.sleep(0.05)
    server.process.send_signal(signal.SIGINT)
    server.expect(Done)
    server.channel.send(Stop())
    server.expect(Stopped)
    assert ends_soon(server) == 0


@pytest.mark.parametrize("job", ["serve", "train"])
def test_it_does_not_outlive_its_parent(tmp_path: Path, board: Board, job: str) -> None:
    """A parent that is killed takes its worker with it, though another child of it holds the socket open."""
    profile = LLAMA if job == "serve" else BERT
    sit(board, 0, profile, job=job)
    program = f"""
import os, subprocess, sys, time
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from pathlib import Path
from worker_parent import Worker, begin, model
from realgpu.board import Board
from realgpu.workers import Run
board = Board.attach(Path({str(board.path)!r}))
worker = Worker(Path({str(tmp_path / "worker.log")!r}))
os.set_inheritable(worker.channel.fileno(), True)
heir = subprocess.Popen(["sleep", "600"], close_fds=False, stdout=subprocess.DEVNULL)
worker.start(begin(board, model({profile.name!r}), job={job!r}))
if {job!r} == "serve":
    worker.channel.send(Run(0, 8, 100_000))
print(worker.process.pid, heir.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert parent.stdout is not None
    pid, heir = map(int, parent.stdout.readline().split())
    try:
        assert wait_until(lambda: board.seats["active"][0] == 1)
        parent.kill()
        assert wait_until(lambda: not lives(pid), SOON_S)
        assert lives(heir)
    finally:
        parent.kill()
        os.kill(heir, signal.SIGKILL)
        parent.communicate(timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ([Run(0, 1, 1)], "found Run, the first message is Begin"),
        ([Stopped(0, 0)], "found Stopped, the first message is Begin"),
    ],
)
def test_what_comes_out_of_turn_is_an_error(agency: Agency, told: list[Message], fault: str) -> None:
    """A message that the contract does not have there ends the worker with a reason."""
    worker = agency.hire()
    for message in told:
        worker.channel.send(message)
    assert fault in worker.expect(Failed).reason
    assert ends_soon(worker) == 1


def test_a_second_begin_is_an_error(board: Board, server: Worker, trainer: Worker) -> None:
    """A worker is one instance for life; one that trains serves nothing."""
    server.channel.send(begin(board, LLAMA))
    assert "found Begin" in server.expect(Failed).reason
    trainer.channel.send(Run(0, 1, 1))
    trainer.channel.send(Stop())
    assert "found Run, one that trains" in trainer.expect(Failed).reason
    assert (ends_soon(server), ends_soon(trainer)) == (1, 1)


def test_noise_on_the_socket_is_an_error(board: Board, agency: Agency) -> None:
    """Bytes that are no message end the worker with a reason, before `Begin` as in the middle of a batch."""
    for early in (True, False):
        ours, theirs = socket.socketpair()
        with ours, theirs, (board.path.parent / "noise.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "realgpu.workers", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=log,
                cwd=REPOSITORY,
            )
            theirs.close()
            if not early:
                sit(board, 0, LLAMA)
                ours.sendall(encode(begin(board, LLAMA)) + encode(LONG))
                assert wait_until(lambda: board.seats["active"][0] == 1)
            ours.sendall(b"hello\n")
            assert process.wait(PATIENCE_S) == 1
            answer = b"".join(iter(lambda: ours.recv(65536), b""))  # noqa: B023 -- used in this turn only
        assert b'"kind":"failed"' in answer.splitlines()[-1]
        assert b"not JSON" in answer


@pytest.mark.parametrize("arguments", [[], ["x"], ["3", "4"]])
def test_the_command_line_wants_a_descriptor(arguments: list[str]) -> None:
    """Started by hand, the module says what it is for."""
    done = subprocess.run(
        [sys.executable, "-m", "realgpu.workers", *arguments],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m realgpu.workers FD")


def test_many_come_and_go(board: Board, agency: Agency) -> None:
    """Four at once, twice: all serve, all stop, and the fixture finds nothing left of them."""
    for row in range(4):
        sit(board, row, ROBERTA, gpu=row)
    for _ in range(2):
        workers = [agency.hire() for _ in range(4)]
        for row, worker in enumerate(workers):
            worker.channel.send(begin(board, ROBERTA, rows=(row,)))
        for worker in workers:
            worker.expect(Ready)
            worker.channel.send(Run(0, 4, 1))
        for worker in workers:
            worker.expect(Done)
            worker.channel.send(Stop())
            worker.expect(Stopped)
            assert ends_soon(worker) == 0
