"""One command to an MPS control daemon, and what its answers mean.

The commands are those of the shell that driver 580 speaks (NVIDIA, Multi-Process Service, Appendix: Tools and
Interface Reference). Only commands that ask, start or end are here: none sets a property of a device.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CONTROL_BINARY = "nvidia-cuda-mps-control"
PIPE_DIRECTORY = "CUDA_MPS_PIPE_DIRECTORY"

ServerStatus = Literal["INITIALIZING", "ACTIVE", "FAULT"]
Cause = Literal["no binary", "no daemon", "timeout", "refused"]

_NO_DAEMON = "cannot find mps control daemon"
_STATUS = re.compile(r"\b(INITIALIZING|ACTIVE|FAULT)\b")
_LONGEST_SHOWN = 300
_REAPING_S = 1.0
# A launch gate or a profiler that is preloaded into workers has no business in the daemon or its shell.
_PRELOADED = ("LD_PRELOAD", "LD_AUDIT", "CUDA_INJECTION64_PATH")


class MpsError(RuntimeError):
    """MPS did not do what it was asked.

    Attributes
    ----------
    cause
        `no binary`: it is not installed; `no daemon`: nothing serves the pipe directory; `timeout`: no answer
        in time; `refused`: an answer, but not the one that was asked for.
    """

    def __init__(self, message: str, cause: Cause) -> None:
        super().__init__(" ".join(message.split()))
        self.cause: Cause = cause


@dataclass(frozen=True, slots=True)
class MpsClient:
    """A row of `ps`: a process on a device; `device` is the beginning of the device's UUID."""

    pid: int
    server_pid: int
    device: str
    command: str


def without_mps(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what steers MPS or is preloaded into workers."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("CUDA_MPS_") and name not in _PRELOADED
    }


class MpsControl:
    """The shell of the daemon that serves one pipe directory.

    Parameters
    ----------
    pipe_directory
        `None` takes what the environment says, which is what a CUDA process does.
    binary
        Name on the path, or path, of `nvidia-cuda-mps-control`.
    timeout_s
        After this long a command is given up: it blocks for ever where the daemon is wedged.
    """

    def __init__(
        self,
        pipe_directory: Path | None = None,
        *,
        binary: str | Path = CONTROL_BINARY,
        timeout_s: float = 5.0,
    ) -> None:
        self.pipe_directory = pipe_directory
        self.binary = str(binary)
        self.timeout_s = timeout_s

    def ask(self, command: str, timeout_s: float | None = None) -> str:
        """Give one command and return the answer, without its line end.

        Raises
        ------
        MpsError
            Where the binary or the daemon is missing, the answer does not come in time, or the shell fails.
        """
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        process = self._shell()
        try:
            answer, _ = process.communicate(command + "\n", timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise MpsError(f"{command}: no answer within {limit_s:g} s", "timeout") from None
        finally:
            _end(process)
        answer = answer.strip()
        if _NO_DAEMON in answer.lower():
            raise MpsError(f"{command}: no daemon serves {self._where()}", "no daemon")
        if process.returncode != 0:
            raise MpsError(f"{command}: exit {process.returncode}: {_cut(answer)}", "refused")
        return answer

    def server_pids(self) -> list[int]:
        """Return the servers of this daemon (`get_server_list`)."""
        return self._pids("get_server_list")

    def server_status(self, server_pid: int) -> ServerStatus:
        """Return what a server says of itself (`get_server_status`)."""
        command = f"get_server_status {server_pid}"
        answer = self.ask(command)
        found = _STATUS.search(answer)
        if found is None:
            raise MpsError(f"{command}: found {_cut(answer)!r}, allowed is {_STATUS.pattern}", "refused")
        return found.group(1)  # type: ignore[return-value]  # the pattern holds exactly the three words

    def client_pids(self, server_pid: int) -> list[int]:
        """Return the processes that are connected to a server (`get_client_list`)."""
        return self._pids(f"get_client_list {server_pid}")

    def clients(self) -> list[MpsClient]:
        """Return every client with its server and device (`ps`)."""
        lines = [line for line in self.ask("ps").splitlines() if line.strip()]
        return [_client(line) for line in lines if line.split()[0] != "PID"]

    def start_server(self, uid: int, timeout_s: float | None = None) -> None:
        """Start a server for the processes of a user before the first of them comes."""
        self.ask(f"start_server -uid {uid}", timeout_s)

    def terminate_client(self, server_pid: int, client_pid: int, timeout_s: float | None = None) -> None:
        """End the work of a client on the device; only then may its process be killed.

        The pid is the one that `clients` shows, which is that of the daemon's pid namespace.

        Raises
        ------
        MpsError
            Unless the answer is the success that the guide names, `0` or `CUDA_SUCCESS`.
        """
        command = f"terminate_client {server_pid} {client_pid}"
        answer = self.ask(command, timeout_s)
        if answer not in ("0", "CUDA_SUCCESS"):
            raise MpsError(f"{command}: found {_cut(answer)!r}, allowed is 0 or CUDA_SUCCESS", "refused")

    def _pids(self, command: str) -> list[int]:
        answer = self.ask(command)
        words = answer.split()
        if not all(word.isascii() and word.isdigit() for word in words):
            raise MpsError(f"{command}: found {_cut(answer)!r}, allowed are process numbers", "refused")
        return [int(word) for word in words]

    def _shell(self) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name not in _PRELOADED}
        if self.pipe_directory is not None:
            environment = {**without_mps(environment), PIPE_DIRECTORY: str(self.pipe_directory)}
        try:
            return subprocess.Popen(
                [self.binary],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise MpsError(f"{self.binary}: cannot be run ({error.strerror})", "no binary") from None

    def _where(self) -> str:
        return str(self.pipe_directory or os.environ.get(PIPE_DIRECTORY) or "the default pipe directory")


def _client(line: str) -> MpsClient:
    """Read a row of `ps`: PID, ID, SERVER, DEVICE, NAMESPACE, COMMAND."""
    columns = [*line.split(maxsplit=5), ""]
    try:
        return MpsClient(int(columns[0]), int(columns[2]), columns[3], columns[5])
    except (ValueError, IndexError):
        raise MpsError(f"ps: found {_cut(line)!r}, allowed is a row of a client", "refused") from None


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a shell that hangs, with its group, and let go of its pipes."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # a process stuck in the driver outlives even this
            process.wait(_REAPING_S)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # an unsent command cannot be flushed
                pipe.close()


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."
