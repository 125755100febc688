from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_mps import FakeMps
from hypothesis import given
from hypothesis import strategies as st

from realgpu.mps import MpsClient, MpsControl, MpsError, probe
from realgpu.mps.control import without_mps


def write_shell(path: Path, script: str) -> MpsControl:
    """Return the control of a shell that does as a script says."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return MpsControl(path.parent, binary=path, timeout_s=10.0)


def answering(path: Path, answer: str) -> MpsControl:
    """Return the control of a shell that has one answer to everything."""
    return write_shell(path, f"cat > /dev/null\ncat <<'END'\n{answer}\nEND")


def test_commands_of_a_running_daemon(fake: FakeMps) -> None:
    """Servers, status and clients come back as what they are."""
    fake.set_clients(11, 22)
    with fake.supervisor() as supervisor:
        control = supervisor.control
        (server_pid,) = control.server_pids()
        assert control.server_status(server_pid) == "ACTIVE"
        assert control.client_pids(server_pid) == [11, 22]
        assert supervisor.clients() == [
            MpsClient(pid, server_pid, "GPU-cb1213a3", "./nbody -n 3") for pid in (11, 22)
        ]


def test_a_daemon_without_servers_and_clients(tmp_path: Path) -> None:
    """Empty answers are empty lists."""
    control = answering(tmp_path / "control", "")
    assert (control.server_pids(), control.client_pids(1), control.clients()) == ([], [], [])


def test_several_numbers_on_a_line_are_read(tmp_path: Path) -> None:
    """Whether the shell breaks lines or not is no matter."""
    assert answering(tmp_path / "control", "30112 30119\n30204").server_pids() == [30112, 30119, 30204]


def test_a_row_of_ps_without_a_command_is_read(tmp_path: Path) -> None:
    """A client whose command line is empty is a client."""
    control = answering(tmp_path / "control", "PID ID SERVER DEVICE NAMESPACE COMMAND\n9 0 7 GPU-1 402")
    assert control.clients() == [MpsClient(9, 7, "GPU-1", "")]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("get_server_list", "allowed are process numbers"),
        ("ps", "allowed is a row of a client"),
        ("get_server_status 1", r"\(INITIALIZING\|ACTIVE\|FAULT\)"),
        ("terminate_client 1 2", "allowed is 0 or CUDA_SUCCESS"),
    ],
)
def test_answers_that_are_none_are_refused_in_one_line(tmp_path: Path, answer: str, said: str) -> None:
    """An unknown answer is never taken for a list, a status or a success."""
    control = answering(tmp_path / "control", "INACTIVE 12x4\nno such thing")
    asked = {
        "get_server_list": control.server_pids,
        "ps": control.clients,
        "get_server_status 1": lambda: control.server_status(1),
        "terminate_client 1 2": lambda: control.terminate_client(1, 2),
    }
    with pytest.raises(MpsError, match=said) as caught:
        asked[answer]()
    assert caught.value.cause == "refused"
    assert str(caught.value).startswith(f"{answer}: found 'INACTIVE 12x4")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "succeeds"), [("0", True), ("CUDA_SUCCESS", True), ("", False), ("10", False)]
)
def test_a_client_is_terminated_only_by_the_words_of_the_guide(
    tmp_path: Path, answer: str, succeeds: bool
) -> None:
    """Silence and other numbers are no success."""
    control = answering(tmp_path / "control", answer)
    if succeeds:
        control.terminate_client(1, 2)
    else:
        with pytest.raises(MpsError):
            control.terminate_client(1, 2)


def test_no_daemon_is_told_from_a_refusal(tmp_path: Path) -> None:
    """The shell's own words make the difference, whatever its exit status."""
    for status in (0, 1):
        control = write_shell(
            tmp_path / "control", f"echo 'Cannot find MPS control daemon process' >&2; exit {status}"
        )
        with pytest.raises(MpsError, match="no daemon serves") as caught:
            control.ask("ps")
        assert caught.value.cause == "no daemon"
    with pytest.raises(MpsError, match="exit 4: odd") as caught:
        write_shell(tmp_path / "control", "echo odd; exit 4").ask("ps")
    assert caught.value.cause == "refused"


def test_a_shell_that_hangs_is_given_up_with_its_children(fake: FakeMps) -> None:
    """After the limit the shell is killed, and what it started, even with the pipe still open in a child."""
    control = write_shell(fake.folder / "slow", "sleep 1000 & sleep 1000")
    control.timeout_s = 0.3
    with pytest.raises(MpsError, match=r"no answer within 0\.3 s") as caught:
        control.ask("ps")
    assert caught.value.cause == "timeout"


def test_a_shell_that_reads_nothing_is_no_crash(tmp_path: Path) -> None:
    """A shell that ends before it hears the command counts by its answer."""
    assert write_shell(tmp_path / "control", "exec <&-; echo 5").server_pids() == [5]


def test_bytes_that_are_no_text_are_shown(tmp_path: Path) -> None:
    """Garbage is an error of ours, not of the decoder."""
    with pytest.raises(MpsError, match="allowed are process numbers"):
        write_shell(tmp_path / "control", "printf '\\377\\376 1'").server_pids()


def test_a_missing_binary_is_named(tmp_path: Path) -> None:
    """Not installed, not executable and a directory are one cause."""
    (tmp_path / "plain").write_text("")
    for binary in (tmp_path / "none", tmp_path / "plain", tmp_path):
        with pytest.raises(MpsError, match="cannot be run") as caught:
            MpsControl(binary=binary).ask("ps")
        assert caught.value.cause == "no binary"


def test_the_shell_is_given_one_pipe_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory asked for wins over the environment; without one the environment stands."""
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/elsewhere")
    monkeypatch.setenv("LD_AUDIT", "")
    script = 'cat > /dev/null; echo "$CUDA_MPS_PIPE_DIRECTORY ${LD_AUDIT-unset}"'
    control = write_shell(tmp_path / "control", script)
    assert control.ask("x") == f"{tmp_path} unset"
    control.pipe_directory = None
    assert control.ask("x") == "/elsewhere unset"


@given(st.dictionaries(st.sampled_from(["PATH", "CUDA_MPS_X", "LD_PRELOAD", "LD_AUDIT", "HOME"]), st.text()))
def test_an_environment_without_mps_keeps_the_rest(environment: dict[str, str]) -> None:
    """What is left is exactly what has nothing to do with MPS or preloading."""
    assert without_mps(environment) == {k: v for k, v in environment.items() if k in ("PATH", "HOME")}


def test_capability_of_a_host_with_mps(fake: FakeMps) -> None:
    """Both binaries, what they print, and no daemon."""
    capability = probe()
    assert capability.control_path == str(fake.binary)
    assert capability.server_path == str(fake.folder / "nvidia-cuda-mps-server")
    assert capability.version == "MPS control daemon 580.159"
    assert (capability.installed, capability.static_partitioning) == (True, False)
    assert capability.ambient_daemon is False


def test_capability_without_the_server_binary_is_not_installed(fake: FakeMps) -> None:
    """The control binary alone can start nothing."""
    (fake.folder / "nvidia-cuda-mps-server").unlink()
    assert not probe().installed


def test_capability_where_nothing_answers_in_time(fake: FakeMps) -> None:
    """A binary that hangs on its options is no reason to wait; nothing is left of it."""
    fake.binary.write_text("#!/bin/sh\nexec sleep 1000\n")
    capability = probe(timeout_s=0.3)
    assert (capability.version, capability.usage) == (None, None)
    assert capability.ambient_daemon is True


def test_static_partitioning_is_read_from_the_usage(fake: FakeMps) -> None:
    """A newer driver names the option."""
    fake.binary.write_text("#!/bin/sh\necho 'usage: [-d | -f] [-S | --static-partitioning]'\n")
    assert probe().static_partitioning
    assert os.environ["PATH"].startswith(str(fake.folder))
