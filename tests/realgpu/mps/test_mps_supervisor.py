from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_mps import HASTY, IMPATIENT, FakeMps, marked_pids

from realgpu.mps import MpsControl, MpsError, MpsState, MpsSupervisor


def start_foreign(fake: FakeMps, pipes: Path) -> subprocess.Popen[bytes]:
    """Start a daemon that no supervisor knows of, and wait until it answers."""
    pipes.mkdir()
    environment = {
        **os.environ,
        "CUDA_MPS_PIPE_DIRECTORY": str(pipes),
        "CUDA_MPS_LOG_DIRECTORY": str(pipes),
    }
    daemon = subprocess.Popen([fake.binary, "-f"], env=environment)
    deadline = time.monotonic() + 20
    while not (pipes / "control").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return daemon


def test_a_started_daemon_is_own_and_goes_with_the_block(fake: FakeMps, mark: str) -> None:
    """Inside the block a daemon with an active server answers; after it the state is absent."""
    with fake.supervisor() as supervisor:
        assert supervisor.state() is MpsState.OWN
        assert list(supervisor.server_statuses().values()) == ["ACTIVE"]
        assert len(marked_pids(mark)) == 3  # keeper, daemon, server
        pipes = Path(supervisor.client_environment()["CUDA_MPS_PIPE_DIRECTORY"])
        assert pipes.stat().st_mode & 0o777 == 0o700
        assert pipes.parent == fake.base
    assert supervisor.state() is MpsState.ABSENT
    ending = supervisor.stop()
    assert ending is not None
    assert (ending.how, ending.daemon_status, ending.left) == ("quit", 0, ())


def test_without_a_binary_the_state_is_absent(fake: FakeMps) -> None:
    """Where MPS is not installed starting fails with the cause, and nothing was started."""
    fake.binary.unlink()
    supervisor = fake.supervisor()
    with pytest.raises(MpsError, match="not found") as caught:
        supervisor.start()
    assert caught.value.cause == "no binary"
    assert supervisor.state() is MpsState.ABSENT
    capability = supervisor.record()["capability"]
    assert (capability["control_path"], capability["installed"]) == (None, False)


def test_a_binary_that_cannot_run_is_reported(fake: FakeMps) -> None:
    """A control binary of the wrong format fails as a missing one, not as a crash of the keeper."""
    fake.binary.write_bytes(b"\x7fELF nothing")
    with pytest.raises(MpsError, match="Exec format error") as caught:
        fake.supervisor().start()
    assert caught.value.cause == "no binary"


def test_a_daemon_that_dies_at_start_is_reported_with_its_words(fake: FakeMps) -> None:
    """What the daemon said before it ended stands in the error."""
    fake.set_mode("dies")
    supervisor = fake.supervisor()
    with pytest.raises(MpsError, match=r"ended \(3\).*already running"):
        supervisor.start()
    assert supervisor.state() is MpsState.ABSENT


def test_a_foreign_daemon_is_refused_and_left_alone(fake: FakeMps) -> None:
    """Where a daemon answers that is not ours, nothing is started and it goes on."""
    pipes = fake.base / "foreign"
    daemon = start_foreign(fake, pipes)
    try:
        supervisor = fake.supervisor(pipe_directory=pipes)
        with pytest.raises(MpsError, match="not ours"):
            supervisor.start()
        assert supervisor.state() is MpsState.FOREIGN
        supervisor.stop()
        assert MpsControl(pipes).server_pids() == []
        assert fake.calls().count("run -f") == 1
    finally:
        MpsControl(pipes).ask("quit")
        daemon.wait(20)
        for path in pipes.iterdir():
            path.unlink()
        pipes.rmdir()


def test_a_foreign_daemon_that_hangs_is_refused_too(fake: FakeMps) -> None:
    """Silence at a fixed pipe directory is somebody's, as a free one says so at once."""
    fake.set_mode("hangs")
    supervisor = fake.supervisor(IMPATIENT, pipe_directory=fake.base / "theirs")
    with pytest.raises(MpsError, match="not ours"):
        supervisor.start()
    assert "run -f" not in fake.calls()


def test_an_ambient_daemon_is_recorded_and_not_used(fake: FakeMps, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that the environment points to shows in the record; ours has a directory of its own."""
    pipes = fake.base / "foreign"
    daemon = start_foreign(fake, pipes)
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(pipes))
    try:
        with fake.supervisor() as supervisor:
            assert supervisor.record()["capability"]["ambient_daemon"] is True
            assert supervisor.client_environment()["CUDA_MPS_PIPE_DIRECTORY"] != str(pipes)
        assert daemon.poll() is None
    finally:
        MpsControl(pipes).ask("quit")
        daemon.wait(20)
        for path in pipes.iterdir():
            path.unlink()
        pipes.rmdir()


def test_a_slow_daemon_is_waited_for(fake: FakeMps) -> None:
    """A daemon that answers late, with a server that initialises at first, is up when start returns."""
    fake.set_mode("slow")
    with fake.supervisor() as supervisor:
        assert set(supervisor.server_statuses().values()) == {"ACTIVE"}


def test_a_server_that_never_becomes_active_fails_the_start(fake: FakeMps) -> None:
    """A fault from the start is a failed start, and nothing of it is left."""
    fake.set_mode("fault")
    supervisor = fake.supervisor(IMPATIENT)
    with pytest.raises(MpsError, match="no server became ACTIVE"):
        supervisor.start()
    assert supervisor.state() is MpsState.ABSENT


def test_a_shell_that_hangs_fails_the_start_in_time(fake: FakeMps) -> None:
    """When no command is answered the start gives up, and the daemon is ended without the shell."""
    fake.set_mode("hangs")
    supervisor = fake.supervisor(IMPATIENT)
    with pytest.raises(MpsError, match="does not answer"):
        supervisor.start()
    ending = supervisor.stop()
    assert ending is not None
    assert ending.how == "terminated"


def test_a_wedged_daemon_is_a_fault(fake: FakeMps) -> None:
    """A daemon that runs and stops answering is in fault, and is ended all the same."""
    with fake.supervisor(HASTY) as supervisor:
        fake.set_mode("hangs")
        assert supervisor.state() is MpsState.FAULT


def test_a_fault_that_passes_is_waited_out(fake: FakeMps) -> None:
    """Servers that return to ACTIVE keep their daemon."""
    with fake.supervisor() as supervisor:
        daemon = fake.daemon_pid()
        asked = sum("get_server_status" in call for call in fake.calls())
        fake.set_mode(f"fault-then-active {asked + 3}")
        assert supervisor.state() is MpsState.FAULT
        assert not supervisor.recover().restarted
        assert supervisor.state() is MpsState.OWN
        assert fake.daemon_pid() == daemon
        assert [recovery["restarted"] for recovery in supervisor.record()["recoveries"]] == [False]


def test_a_fault_that_stays_gets_a_new_daemon(fake: FakeMps) -> None:
    """After the limit the daemon is replaced; the new one has another pipe directory and works."""
    with fake.supervisor(HASTY) as supervisor:
        before = supervisor.client_environment()["CUDA_MPS_PIPE_DIRECTORY"]
        fake.set_mode("fault-first")
        assert supervisor.state() is MpsState.FAULT
        recovery = supervisor.recover()
        assert recovery.restarted
        assert recovery.waited_s >= HASTY.fault_s
        assert supervisor.state() is MpsState.OWN
        assert supervisor.client_environment()["CUDA_MPS_PIPE_DIRECTORY"] != before
        assert not Path(before).exists()


def test_a_fault_for_ever_fails_the_recovery_and_leaves_nothing(fake: FakeMps) -> None:
    """Where the new daemon is ill as well, the run is told and MPS is absent."""
    with fake.supervisor(replace(HASTY, start_s=3.0)) as supervisor:
        fake.set_mode("fault")
        with pytest.raises(MpsError, match="no server became ACTIVE"):
            supervisor.recover()
        assert supervisor.state() is MpsState.ABSENT


def test_two_supervisors_stand_beside_each_other(fake: FakeMps) -> None:
    """Each has directories and a daemon of its own, and ending one leaves the other."""
    with fake.supervisor() as first:
        with fake.supervisor() as second:
            ours = first.client_environment()["CUDA_MPS_PIPE_DIRECTORY"]
            assert second.client_environment()["CUDA_MPS_PIPE_DIRECTORY"] != ours
        assert first.state() is MpsState.OWN


def test_starting_twice_is_refused(fake: FakeMps) -> None:
    """A second start neither replaces nor ends the running daemon."""
    with fake.supervisor() as supervisor:
        with pytest.raises(MpsError, match="already started"):
            supervisor.start()
        assert supervisor.state() is MpsState.OWN


def test_a_stopped_supervisor_can_start_again(fake: FakeMps) -> None:
    """Stopping is no end of the object."""
    supervisor = fake.supervisor()
    for _ in range(2):
        with supervisor:
            assert supervisor.state() is MpsState.OWN


def test_logs_in_a_given_directory_stay(fake: FakeMps, tmp_path: Path) -> None:
    """A log directory of the caller's is written to and kept."""
    with fake.supervisor(log_directory=tmp_path / "logs"):
        pass
    assert (tmp_path / "logs" / "control.log").read_text() == "Starting control daemon\n"


def test_a_long_directory_is_refused_before_anything_starts(fake: FakeMps) -> None:
    """A path that no socket fits under is named, in place of a daemon that cannot be reached."""
    with pytest.raises(MpsError, match="too long for a UNIX socket"):
        fake.supervisor(base_directory=fake.base / ("d" * 80)).start()
    assert "run -f" not in fake.calls()


def test_a_missing_base_directory_is_named(fake: FakeMps) -> None:
    """Where the private directories cannot be made, the error says so."""
    with pytest.raises(MpsError, match="No such file or directory"):
        fake.supervisor(base_directory=fake.base / "none").start()


def test_the_default_base_is_the_temporary_directory() -> None:
    """A supervisor is made without an argument and looks for the binary only when it is started."""
    assert MpsSupervisor().state() is MpsState.ABSENT
