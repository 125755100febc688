"""However a run ends, no process, no file and no descriptor of it stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from small_worlds import (
    NO_ARRIVALS,
    Targets,
    children,
    deployed,
    descriptors,
    is_alive,
    model,
    plain_system,
    run_folders,
    run_virtually,
    serves,
)

from policies import Size
from policies.slots import GpuView, Grant
from policies.vertical import Rckm
from realgpu import household, staff
from realgpu.errors import RealGpuError
from realgpu.hosting import Hosting

HERE = Path(__file__).parent
TIMES = range(2)


def eventually(condition: Callable[[], bool], within_s: float = 15.0) -> bool:
    """Whether something comes true; generous, as the host may be busy."""
    end_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.01)
    return True


class Orchestrator:
    """An orchestrator in a process of its own, in the middle of its run."""

    def __init__(self) -> None:
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(HERE), *sys.path]))
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "orchestrate.py")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "running\n"
        self.household = children(self.process.pid)
        assert len(run_folders(self.process.pid)) == 1

    @property
    def controller(self) -> int:
        """The one child that runs the same program."""
        own = Path(f"/proc/{self.process.pid}/cmdline").read_bytes()
        (found,) = [pid for pid in self.household if Path(f"/proc/{pid}/cmdline").read_bytes() == own]
        return found

    @property
    def workers(self) -> list[int]:
        """The other children."""
        return sorted(self.household - {self.controller})

    def ended(self) -> str:
        """Wait for its end, see that nothing of it stays, and return what it said."""
        said, _ = self.process.communicate(timeout=60)
        assert eventually(lambda: not any(is_alive(pid) for pid in self.household))
        assert eventually(lambda: run_folders(self.process.pid) == [])
        return said


@contextmanager
def orchestrator() -> Iterator[Orchestrator]:
    """Have one, and leave nothing of it, even if the test fails."""
    one = Orchestrator()
    try:
        yield one
    finally:
        for pid in (one.process.pid, *one.household):
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        one.process.communicate()


@pytest.mark.parametrize("_", TIMES)
def test_a_ctrl_c_ends_everybody(_: int) -> None:
    """The signal goes to the whole group, as a terminal sends it; workers lead groups of their own."""
    with orchestrator() as one:
        assert os.getpgid(one.controller) == one.process.pid
        assert [os.getpgid(pid) for pid in one.workers] == one.workers
        os.killpg(one.process.pid, signal.SIGINT)
        assert one.ended().startswith("KeyboardInterrupt")
        assert one.process.returncode == -signal.SIGINT


@pytest.mark.parametrize("_", TIMES)
def test_a_sigterm_ends_everybody(_: int) -> None:
    """With the exit status of a program that was terminated."""
    with orchestrator() as one:
        one.process.terminate()
        assert one.ended().startswith("SystemExit: 143")
        assert one.process.returncode == 143


@pytest.mark.parametrize("_", TIMES)
def test_an_orchestrator_that_is_killed_takes_everybody_along(_: int) -> None:
    """Nobody is there to clean up but the controller, which removes the files."""
    with orchestrator() as one:
        assert len(one.workers) == 3
        one.process.kill()
        one.ended()


@pytest.mark.parametrize("_", TIMES)
def test_a_worker_that_is_killed_ends_the_run(_: int) -> None:
    """The error names the instance and the signal."""
    with orchestrator() as one:
        os.kill(one.workers[0], signal.SIGKILL)
        said = one.ended()
    assert said.startswith("RealGpuError: instance ")
    assert "ended unasked (SIGKILL); its log ends with: (nothing)" in said


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("_", range(2))
def test_a_controller_that_is_killed_ends_the_run(number: int, _: int) -> None:
    """Quotas would stand still for ever."""
    with orchestrator() as one:
        os.kill(one.controller, number)
        assert one.ended().startswith("RealGpuError: controller: ended with exit status")


def test_what_a_killed_household_left_is_removed_by_the_next_run() -> None:
    """If orchestrator and controller are killed at once, the folder stays until the next run."""
    with orchestrator() as one:
        pids = (one.controller, one.process.pid)
        os.kill(pids[0], signal.SIGSTOP)
        for pid in (pids[1], pids[0]):
            os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: not any(is_alive(pid) for pid in one.household))
        assert len(run_folders(pids[1])) == 1
        run_virtually(ONE_BATCH, plain_system())
        assert run_folders(pids[1]) == []


ONE_BATCH = deployed(
    [serves(model("only", floor_s=0.05), Size(1, 0.3, 0.3))], [np.array([0.05])], duration_s=0.3
)


@pytest.fixture
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have this process end up without children, folders and descriptors of its own; and soon."""
    monkeypatch.setattr(household, "STOP_WITHIN_S", 0.5)
    before = descriptors()
    yield
    assert children(os.getpid()) == set()
    assert run_folders() == []
    assert descriptors() == before


@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("ends-at-once", r"ended unasked \(exit status 3\); its log ends with: first line \| second line"),
        ("failed", "out of memory: 7 GiB"),
        ("speaks-nonsense", "message: found b'hello', which is not JSON"),
        ("gives-orders", "sent Stop, which is no reply"),
        ("killed", r"ended unasked \(SIGKILL\)"),
        ("miscounts", r"reported Done\(first=0, count=2.* but runs"),
        ("never-ready", "hangs: did not start up in time"),
        ("never-done", "hangs: did not end its batch in time"),
        ("hangs-up", "hung up; its log"),
    ],
)
def test_a_worker_that_does_one_thing_wrong_is_named(what: str, message: str) -> None:
    """In one line: the instance, what it did, and the end of its log."""
    hosting = misbehaving(what, ready_within_s=1.0, reply_within_s=0.5, reply_within_expected=2.0)
    long = deployed(ONE_BATCH.functions, ONE_BATCH.arrivals, duration_s=20.0)
    with pytest.raises(RealGpuError, match=rf"^instance 0 \(only\): {message}"):
        run_virtually(long, plain_system(), hosting=hosting)


@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize(("what", "kills"), [("ignores-stop", 0), ("hard-to-kill", 1)])
def test_a_worker_that_will_not_stop_is_ended_and_the_run_stands(what: str, kills: int) -> None:
    """Stop, SIGTERM, and SIGKILL, of which somebody is told first."""
    killed: list[int] = []
    ran = run_virtually(ONE_BATCH, plain_system(), hosting=misbehaving(what, before_kill=killed.append))
    assert ran.batches["count"].tolist() == [1]
    assert len(killed) == kills


@pytest.mark.usefixtures("nothing_stays")
def test_an_instance_that_is_retired_while_it_starts_up_is_not_waited_for() -> None:
    """Launched after a second, no longer wanted after two, and never ready."""
    deployment = deployed(ONE_BATCH.functions, ONE_BATCH.arrivals, duration_s=2.8)
    system = plain_system(horizontal=Targets([2, 1]))
    ran = run_virtually(deployment, system, hosting=misbehaving("ready-in-seat-0", reply_within_s=0.3))
    assert ran.instances["instance"].tolist() == [1, 0]
    assert np.isnan(ran.instances["ready_s"][0])
    assert 2.0 <= ran.instances["retire_s"][0] < 2.8
    assert ran.gpus["instances"][-1] == 1


LEAVES_A_CHILD = """
import os, signal, socket, sys, time
from realgpu.workers.channel import Channel
from realgpu.workers.protocol import Begin, Ready, Stop, Stopped

channel = Channel(socket.socket(fileno=int(sys.argv[2])))
begin = channel.receive()
child = os.fork()
if child == 0:
    time.sleep(3600)
with open(sys.argv[1], "w") as file:
    file.write(str(child))
channel.send(Ready(time.monotonic_ns(), {}))
if len(begin.model) == 4:
    os.kill(os.getpid(), signal.SIGKILL)
while not isinstance(channel.receive(), Stop):
    pass
"""
"""A worker whose child holds its socket open; it kills itself if its model is called `dies`."""


@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize("name", ["dies", "stops"])
def test_what_a_worker_has_started_ends_with_it(name: str, tmp_path: Path) -> None:
    """Whether the worker ends by itself or as it is told; and its death is noticed all the same."""
    mark = tmp_path / "child"
    command = (sys.executable, "-c", LEAVES_A_CHILD, str(mark))
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    hosting = Hosting(command=command, environment=lambda launch, row: environment)
    functions = [serves(model(name), Size(1, 0.3, 0.3))]
    long = name == "dies"
    deployment = deployed(functions, [NO_ARRIVALS], duration_s=20.0 if long else 0.1)
    with (
        pytest.raises(RealGpuError, match=r"instance 0 \(dies\): ended unasked \(SIGKILL\)")
        if long
        else nullcontext()
    ):
        run_virtually(deployment, plain_system(), hosting=hosting)
    assert eventually(lambda: not is_alive(int(mark.read_text())))


@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize("whom", ["instance 0 (only)", "controller"])
def test_who_is_halted_ends_the_run(whom: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found at the next check, long before a batch or a heartbeat is missed; SIGKILL ends it at last."""
    monkeypatch.setattr(staff, "CHECK_S", 0.1)
    monkeypatch.setattr(household, "TERMINATE_WITHIN_S", 0.3)

    def halt(now_s: float) -> None:
        own = workers(os.getpid())
        (pid,) = children(os.getpid()) - own if whom == "controller" else own
        os.kill(pid, signal.SIGSTOP)

    long = deployed(ONE_BATCH.functions, [NO_ARRIVALS], duration_s=30.0)
    with pytest.raises(RealGpuError, match=rf"^{re.escape(whom)}: was halted by a signal"):
        run_virtually(long, plain_system(), progress=halt)


@pytest.mark.usefixtures("nothing_stays")
def test_a_run_that_stood_still_as_a_whole_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-Z and `fg` the orchestrator may look before the controller's heart beats again."""
    monkeypatch.setattr(staff, "STALE_S", 0.2)
    monkeypatch.setattr(staff, "CHECK_S", 0.1)
    halted: list[int] = []

    def halt(now_s: float) -> None:
        if not halted:
            halted.extend(children(os.getpid()) - workers(os.getpid()))
            os.kill(halted[0], signal.SIGSTOP)
            time.sleep(0.5)
            os.kill(halted[0], signal.SIGCONT)

    long = deployed(ONE_BATCH.functions, [np.array([0.7])], duration_s=1.0)
    ran = run_virtually(long, plain_system(), progress=halt)
    assert len(halted) == 1
    assert ran.batches["count"].tolist() == [1]


def workers(pid: int) -> set[int]:
    """Children of a process that lead a group of their own."""
    return {child for child in children(pid) if os.getpgid(child) == child}


def misbehaving(what: str, **values: object) -> Hosting:
    """Return how to host a worker that does one thing wrong."""
    command = (sys.executable, str(HERE / "misbehaving_worker.py"), what)

    def environment(launch: object, row: int) -> dict[str, str]:
        return dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))

    return Hosting(command=command, environment=environment, **values)  # type: ignore[arg-type]


class Raises(Rckm):
    """A policy with a bug."""

    def decide(self, gpu: GpuView) -> Grant:
        """Fail."""
        raise IndexError("beyond the last resident")


class NeverAnswers(Rckm):
    """A policy that never ends."""

    def decide(self, gpu: GpuView) -> Grant:
        """Wait for ever."""
        while True:
            time.sleep(0.01)


@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Raises(), "controller: IndexError: beyond the last resident"),
        (NeverAnswers(), "controller: hangs: no heartbeat for 1 s"),
    ],
)
def test_a_vertical_policy_with_a_bug_ends_the_run(
    policy: Rckm, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words reach whoever started the run."""
    monkeypatch.setattr(staff, "STALE_S", 1.0)
    long = deployed(ONE_BATCH.functions, ONE_BATCH.arrivals, duration_s=30.0)
    with pytest.raises(RealGpuError, match=message):
        run_virtually(long, plain_system(vertical=policy))


@pytest.mark.usefixtures("nothing_stays")
def test_an_error_of_the_orchestrator_itself_ends_everybody() -> None:
    """Here, of the callback for progress."""

    def fails(now_s: float) -> None:
        raise ZeroDivisionError("progress")

    with pytest.raises(ZeroDivisionError, match="progress"):
        run_virtually(ONE_BATCH, plain_system(), progress=fails)


@pytest.mark.usefixtures("nothing_stays")
def test_runs_one_after_the_other_leave_nothing() -> None:
    """Five in a row; each begins as the first one did."""
    for _ in range(5):
        ran = run_virtually(ONE_BATCH, plain_system())
        assert ran.batches["count"].tolist() == [1]
