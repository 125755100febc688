"""A worker process, as the orchestrator holds it.

It leads a process group of its own: a terminal's Ctrl-C reaches the orchestrator alone, which ends workers in
order, and whatever a worker has started and left running is ended with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from realgpu.errors import RealGpuError
from realgpu.workers.channel import Channel
from realgpu.workers.protocol import Message, Stop

LOG_LINES = 8
"""Lines of a worker's log that go into an error."""

_LOG_END_BYTES = 4096


class HostedWorker:
    """Starts a worker, speaks to it, and ends it.

    Parameters
    ----------
    label
        What errors call it.
    command
        The program; the number of its socket's descriptor is added.
    log
        Where its output goes.

    Raises
    ------
    RealGpuError
        If it cannot be started.
    """

    def __init__(self, label: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.label = label
        self.stopping = False
        self._log = log
        ours, theirs = socket.socketpair()
        try:
            with log.open("wb") as output:
                self._process = subprocess.Popen(
                    [*command, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[theirs.fileno()],
                    env=dict(environment),
                    process_group=0,
                )
            self._exit = os.pidfd_open(self._process.pid)
        except OSError as error:
            ours.close()
            raise RealGpuError(f"{label}: {command[0]}: cannot be started ({error.strerror})") from None
        finally:
            theirs.close()
        self.channel = Channel(ours)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_descriptor(self) -> int:
        """What becomes readable when the process has ended."""
        return self._exit

    @property
    def ended(self) -> bool:
        """The process has ended."""
        return self.wait(0.0)

    @property
    def halted(self) -> bool:
        """The process stands still by a signal, such as SIGSTOP."""
        return is_halted(self._process.pid)

    def tell(self, message: Message) -> None:
        """Send a message; to one that has ended it does not matter, its end will be noticed."""
        self.channel.send(message)

    def stop(self) -> None:
        """Tell it to end."""
        if not self.stopping:
            self.stopping = True
            self.tell(Stop())

    def terminate(self) -> None:
        """Send SIGTERM: end now, or between two iterations."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._exit, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._exit, signal.SIGKILL)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end, and return whether it has come."""
        readable, _, _ = select.select([self._exit], [], [], timeout_s)
        return bool(readable)

    def fault(self, what: str) -> RealGpuError:
        """Return an error that says what is wrong with it, with the last lines of its log."""
        if self.ended:
            status = self._reap()
            ending = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            what = f"{what} ({ending})"
        lines = self._log_end()
        return RealGpuError(f"{self.label}: {what}; its log ends with: {' | '.join(lines) or '(nothing)'}")

    def close(self) -> None:
        """Let go of it, once it has ended, and end what it has left running."""
        self.channel.close()
        if self.ended:
            self._reap()
        os.close(self._exit)

    def _reap(self) -> int:
        """Return the exit status of a process that has ended; the first time, end the rest of its group."""
        if self._process.returncode is None:
            # Its id, which is the group's too, is nobody else's before it is waited for.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def _log_end(self) -> list[str]:
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_END_BYTES))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [line.strip() for line in text.splitlines() if line.strip()][-LOG_LINES:]


def is_halted(pid: int) -> bool:
    """Whether a child process stands still by a signal, such as SIGSTOP."""
    try:
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # it has ended, and was waited for
        return False
