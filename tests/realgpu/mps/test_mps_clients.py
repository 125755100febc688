from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fake_mps import FakeMps

from realgpu.mps import MpsError

_REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_server_is_started_for_this_user_and_nothing_is_ever_set(fake: FakeMps) -> None:
    """The only calls are starting in the foreground, looking, and ending."""
    with fake.supervisor() as supervisor:
        supervisor.clients()
        supervisor.state()
    calls = [call for call in fake.calls() if not call.startswith("files ")]
    allowed = ("run -f", "run -v", "run --help", "shell help", "shell ps", "shell quit", "shell get_")
    assert f"shell start_server -uid {os.getuid()}" in calls
    assert [call for call in calls if not call.startswith((*allowed, "shell start_server -uid "))] == []


def test_no_source_file_can_change_a_gpu_setting() -> None:
    """No option, command or function that sets or resets anything of a device stands in the sources."""
    forbidden = (
        "nvidia-smi",
        "gpu-reset",
        "compute-policy",
        "compute-mode",
        "set_default",
        "set_active",
        "set_device",
        "sm_partition",
        "nvmlDeviceSet",
        "nvmlGpmSet",
        "nvmlDeviceReset",
        '"-c"',
        '"-pm"',
        '"-pl"',
        '"-r"',
        '"-lgc"',
        '"-ac"',
        '"-mig"',
        '"-S"',
    )
    sources = [*(_REPOSITORY / "realgpu" / "mps").glob("*.py")]
    sources += (_REPOSITORY / "realgpu" / "sampling").glob("*.py")
    found = [(path.name, word) for path in sources for word in forbidden if word in path.read_text()]
    found.remove(("daemon.py", '"-S"'))  # of the interpreter that runs the keeper
    assert len(sources) > 8
    assert found == []


def test_the_environment_of_a_client(fake: FakeMps) -> None:
    """It is whole, names the daemon and the limits, and drops what was meant for other daemons."""
    base = {"PATH": "/bin", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "5", "CUDA_MPS_LOG_DIRECTORY": "/x"}
    with fake.supervisor() as supervisor:
        pipes = str(supervisor.control.pipe_directory)
        assert supervisor.client_environment(base=base) == {"PATH": "/bin", "CUDA_MPS_PIPE_DIRECTORY": pipes}
        assert supervisor.client_environment(12.5, 10 * 2**30 + 5, device=1, base={}) == {
            "CUDA_MPS_PIPE_DIRECTORY": pipes,
            "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "12.5",
            "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "1=10240M",
        }
        assert supervisor.client_environment()["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("2", False), ("GPU-1a,GPU-2b", True), ("GPU-1a,0", False), (None, False)],
)
def test_visible_devices_are_not_applied_twice(
    fake: FakeMps, monkeypatch: pytest.MonkeyPatch, given: str | None, kept: bool
) -> None:
    """The daemon starts under them; a client keeps only names that mean the same behind the daemon."""
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    with fake.supervisor() as supervisor:
        environment = Path(f"/proc/{fake.daemon_pid()}/environ").read_bytes().split(b"\0")
        assert (f"CUDA_VISIBLE_DEVICES={given}".encode() in environment) == (given is not None)
        assert ("CUDA_VISIBLE_DEVICES" in supervisor.client_environment()) == kept


def test_limits_out_of_range_are_refused(fake: FakeMps) -> None:
    """No worker is started under a cap that the driver would ignore."""
    with fake.supervisor() as supervisor:
        for percentage in (0, -1, 100.5, float("nan"), float("inf"), True):
            with pytest.raises(MpsError, match="allowed is above 0 to 100"):
                supervisor.client_environment(percentage)
        for memory_bytes in (0, -5, 2**20 - 1, True):
            with pytest.raises(MpsError, match="memory_bytes"):
                supervisor.client_environment(memory_bytes=memory_bytes)


def test_the_daemon_inherits_neither_gate_nor_limits(fake: FakeMps, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is preloaded into workers, and settings of other daemons, do not reach ours."""
    monkeypatch.setenv("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "10")
    monkeypatch.setenv("CUDA_INJECTION64_PATH", "/nowhere.so")
    with fake.supervisor():
        environment = Path(f"/proc/{fake.daemon_pid()}/environ").read_bytes()
    assert b"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE" not in environment
    assert b"CUDA_INJECTION64_PATH" not in environment


def test_a_hung_client_is_terminated_before_it_may_be_killed(fake: FakeMps) -> None:
    """Success is the daemon's word; a process that no server knows needs none."""
    fake.set_clients(1234)
    with fake.supervisor() as supervisor:
        (server_pid,) = supervisor.server_statuses()
        assert supervisor.terminate_client(1234) is True
        assert f"shell terminate_client {server_pid} 1234" in fake.calls()
        assert supervisor.terminate_client(99) is False
        fake.set_mode("will-not-terminate")
        with pytest.raises(MpsError, match="allowed is 0 or CUDA_SUCCESS"):
            supervisor.terminate_client(1234)


def test_asking_without_a_daemon_is_one_error(fake: FakeMps) -> None:
    """Every question to a daemon that was not started says so."""
    supervisor = fake.supervisor()
    for ask in (
        supervisor.clients,
        supervisor.client_environment,
        supervisor.recover,
        supervisor.server_statuses,
    ):
        with pytest.raises(MpsError, match="no MPS daemon is started"):
            ask()
    assert supervisor.stop() is None


def test_the_record_is_json_before_during_and_after(fake: FakeMps) -> None:
    """A manifest can hold it at any time."""
    supervisor = fake.supervisor()
    assert json.loads(json.dumps(supervisor.record()))["state"] == "absent"
    with supervisor:
        record = json.loads(json.dumps(supervisor.record(), allow_nan=False))
        assert record["state"] == "own"
        assert record["capability"]["version"] == "MPS control daemon 580.159"
        assert record["capability"]["usage"].startswith("usage:")
        assert record["shell_help"].startswith("get_server_list")
        assert record["adopts_orphans"] is True
        assert record["daemon_pid"] == fake.daemon_pid()
    assert json.loads(json.dumps(supervisor.record()))["last_ending"]["how"] == "quit"
