from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_mps import HASTY, QUICK, FakeMps, marked_pids, wait_until_gone

from realgpu.mps import MpsState
from realgpu.mps.keeper import start_ticks

_REPOSITORY = Path(__file__).resolve().parents[3]


def supervising(fake: FakeMps, body: str) -> subprocess.Popen[str]:
    """Run a program of its own that supervises the fake, and wait until it says `up`."""
    program = (
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from realgpu.mps import MpsSupervisor\n"
        f"supervisor = MpsSupervisor(base_directory=Path({str(fake.base)!r}))\n"
        "supervisor.start()\n"
        "print('up', flush=True)\n" + body
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        cwd=_REPOSITORY,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def finish(process: subprocess.Popen[str]) -> int:
    """Collect a program and its pipes."""
    process.communicate(timeout=60)
    return process.returncode


def test_an_error_in_the_block_ends_the_daemon(fake: FakeMps, mark: str) -> None:
    """An exception passes through, and the daemon is gone when it arrives."""
    with pytest.raises(ZeroDivisionError), fake.supervisor():
        _ = 1 / 0
    assert marked_pids(mark) == []


def test_a_daemon_that_is_killed_is_noticed_and_replaced(fake: FakeMps, mark: str) -> None:
    """Its server does not outlive it, the state says absent, and recovery starts another without waiting."""
    with fake.supervisor() as supervisor:
        os.kill(fake.daemon_pid(), signal.SIGKILL)
        deadline = time.monotonic() + 30
        while supervisor.state() is not MpsState.ABSENT and time.monotonic() < deadline:
            time.sleep(0.02)
        assert supervisor.state() is MpsState.ABSENT
        assert wait_until_gone(mark) == []
        recovery = supervisor.recover()
        assert recovery.restarted
        assert recovery.waited_s < QUICK.fault_s
        assert supervisor.state() is MpsState.OWN


def test_a_daemon_that_obeys_nothing_is_killed_with_its_servers(fake: FakeMps) -> None:
    """Daemon and server that ignore quit and SIGTERM end by SIGKILL."""
    fake.set_mode("stubborn")
    with fake.supervisor(HASTY) as supervisor:
        assert supervisor.state() is MpsState.OWN
    ending = supervisor.stop()
    assert ending is not None
    assert (ending.how, ending.daemon_status, ending.left) == ("killed", -9, ())


def test_a_daemon_without_a_limited_quit_is_asked_plainly(fake: FakeMps) -> None:
    """A shell that does not know the limit of quit is given quit alone."""
    fake.set_mode("no-quit-limit")
    with fake.supervisor(HASTY) as supervisor:
        pass
    ending = supervisor.stop()
    assert ending is not None
    assert ending.how == "quit"
    assert fake.calls()[-1] == "shell quit"


def test_a_daemon_that_goes_to_the_background_is_kept_as_well(fake: FakeMps, mark: str) -> None:
    """The keeper adopts a daemon that detached from it, and ends it."""
    fake.set_mode("forks")
    with fake.supervisor() as supervisor:
        assert supervisor.state() is MpsState.OWN
    assert marked_pids(mark) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_supervising_process_leaves_nothing(
    fake: FakeMps, mark: str, number: signal.Signals
) -> None:
    """However the process is ended, daemon, server, keeper and directories go within seconds."""
    process = supervising(fake, "time.sleep(1000)\n")
    assert len(marked_pids(mark)) == 4
    process.send_signal(number)
    assert finish(process) != 0
    assert wait_until_gone(mark) == []
    assert list(fake.base.iterdir()) == []


@pytest.mark.parametrize("body", ["sys.exit(0)\n", "os._exit(0)\n", "raise SystemExit('no')\n"])
def test_an_exit_without_stop_leaves_nothing(fake: FakeMps, mark: str, body: str) -> None:
    """Neither the end of the interpreter nor an exit past it leaves anything."""
    finish(supervising(fake, body))
    assert wait_until_gone(mark) == []


def test_the_end_of_the_interpreter_waits_for_the_daemon(fake: FakeMps, mark: str) -> None:
    """A program that forgot to stop has no daemon left the moment it has ended."""
    process = supervising(fake, "")
    finish(process)
    assert marked_pids(mark) == []


def test_a_forked_child_that_lives_on_does_not_keep_the_daemon(fake: FakeMps, mark: str) -> None:
    """A child that inherited the keeper's pipe keeps it open; the keeper sees that its parent is gone."""
    process = supervising(fake, "os.fork()\nprint('forked', flush=True)\ntime.sleep(1000)\n")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["forked\n"] * 2
    process.kill()
    deadline = time.monotonic() + 20
    while len(marked_pids(mark)) > 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    left = marked_pids(mark)
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1] for pid in left]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert finish(process) == -9
    assert commands == [b"-c"]  # the child, and neither keeper nor daemon


def test_a_forked_child_cannot_stop_the_daemon(fake: FakeMps) -> None:
    """Leaving the block in a child does nothing to the parent's daemon."""
    with fake.supervisor() as supervisor:
        child = os.fork()
        if child == 0:
            supervisor.stop()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert supervisor.state() is MpsState.OWN


def test_a_keeper_that_is_killed_is_stood_in_for(fake: FakeMps, mark: str) -> None:
    """Without its keeper the daemon is ended by the supervisor, with its server and directories."""
    with fake.supervisor() as supervisor:
        keepers = [
            pid for pid in marked_pids(mark) if "keeper.py" in Path(f"/proc/{pid}/cmdline").read_text()
        ]
        assert len(keepers) == 1
        os.kill(keepers[0], signal.SIGKILL)
        deadline = time.monotonic() + 30
        while supervisor.state() is not MpsState.ABSENT and time.monotonic() < deadline:
            time.sleep(0.02)
        assert supervisor.state() is MpsState.ABSENT
        assert wait_until_gone(mark) == []


def test_a_signal_to_the_keeper_ends_the_daemon(fake: FakeMps, mark: str) -> None:
    """SIGTERM to the keeper, as at shutdown, is a reason to end like any other."""
    with fake.supervisor() as supervisor:
        for pid in marked_pids(mark):
            if "keeper.py" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGTERM)
        assert wait_until_gone(mark) == []
        assert supervisor.state() is MpsState.ABSENT
        ending = supervisor.stop()
        assert ending is not None
        assert ending.how == "quit"


def test_a_reused_process_number_is_not_ours() -> None:
    """A process is known by its number and start, so that no stranger is ever killed."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        ticks = start_ticks(process.pid)
        assert ticks is not None
        assert ticks > (start_ticks(1) or 0)
        process.kill()
    assert start_ticks(process.pid) is None
