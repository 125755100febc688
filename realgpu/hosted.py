"""A worker process, as the orchestrator holds it."""

from __future__ import annotations

import os
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
        return self._process.poll() is not None

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
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end, and return whether it has come."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def fault(self, what: str) -> RealGpuError:
        """Return an error that says what is wrong with it, with the last lines of its log."""
        status = self._process.poll()
        if status is not None:
            ending = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            what = f"{what} ({ending})"
        lines = self._log_end()
        return RealGpuError(f"{self.label}: {what}; its log ends with: {' | '.join(lines) or '(nothing)'}")

    def close(self) -> None:
        """Let go of a process that has ended."""
        self.channel.close()
        os.close(self._exit)

    def _log_end(self) -> list[str]:
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_END_BYTES))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [line.strip() for line in text.splitlines() if line.strip()][-LOG_LINES:]
