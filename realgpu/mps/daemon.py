"""A daemon with its keeper, as the run sees them."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from realgpu.mps import keeper
from realgpu.mps.control import MpsControl, MpsError, without_mps

_READ_BYTES = 65536
_KEEPER_START_S = 10.0
_KEEPER_MARGIN_S = 5.0
_SETTLE_S = 0.02


@dataclass(frozen=True, slots=True)
class Ending:
    """How a daemon ended.

    Attributes
    ----------
    how
        `by itself`, on `quit`, `terminated`, `killed`, or `left`: something outlived SIGKILL.
    daemon_status
        Its exit status, negative for a signal; `None` where it is not known.
    log
        The end of what it and its servers wrote.
    """

    how: str
    daemon_status: int | None
    left: tuple[int, ...]
    log: str


class KeptDaemon:
    """A running keeper and its daemon; made by `start`, ended by `stop`."""

    def __init__(self, process: subprocess.Popen[bytes], binary: str, quit_s: float, kill_s: float) -> None:
        self._process = process
        self._binary = binary
        self._quit_s = quit_s
        self._kill_s = kill_s
        self._owner_pid = os.getpid()
        self._unread = b""
        self._ending: Ending | None = None
        self._started: dict[str, Any] = {}
        self._own: dict[int, int] = {}

    @classmethod
    def start(
        cls,
        binary: str,
        *,
        base_directory: Path,
        pipe_directory: Path | None,
        log_directory: Path | None,
        quit_s: float,
        kill_s: float,
    ) -> Self:
        """Start a keeper, and through it a daemon.

        Raises
        ------
        MpsError
            If the daemon cannot be run.
        """
        config = {
            "binary": binary,
            "base_directory": str(base_directory),
            "pipe_directory": None if pipe_directory is None else str(pipe_directory),
            "log_directory": None if log_directory is None else str(log_directory),
            "quit_s": quit_s,
            "kill_s": kill_s,
            "parent_pid": os.getpid(),
        }
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=without_mps(os.environ),
        )
        daemon = cls(process, binary, quit_s, kill_s)
        try:
            daemon._await_start()
        except BaseException:
            daemon.stop()
            raise
        return daemon

    def _await_start(self) -> None:
        message = self._message(_KEEPER_START_S)
        if message is None or "started" not in message:
            said = "did not start" if message is None else message.get("failed", message)
            raise MpsError(f"the MPS daemon: {said}", "no binary")
        self._started = message["started"]
        self.remember(self.daemon_pid)

    @property
    def daemon_pid(self) -> int:
        """Process number of the daemon."""
        return int(self._started["daemon_pid"])

    @property
    def keeper_pid(self) -> int:
        """Process number of its keeper."""
        return self._process.pid

    @property
    def pipe_directory(self) -> Path:
        """Where the daemon is found."""
        return Path(self._started["pipe_directory"])

    @property
    def log_directory(self) -> Path:
        """Where the daemon and its servers write."""
        return Path(self._started["log_directory"])

    @property
    def open_files(self) -> int:
        """The limit of open files that daemon and servers have."""
        return int(self._started["open_files"])

    @property
    def adopts_orphans(self) -> bool:
        """Whether the keeper inherits a server whose daemon died."""
        return bool(self._started["adopts_orphans"])

    def remember(self, pid: int) -> None:
        """Note a process as one of this daemon's, should its keeper be lost."""
        ticks = keeper.start_ticks(pid)
        if ticks is not None:
            self._own[pid] = ticks

    def ended(self) -> Ending | None:
        """Return how the daemon ended; `None` while it runs."""
        if self._ending is None and (self._process.poll() is not None or self._has_news()):
            self._finish()
        return self._ending

    def stop(self) -> Ending | None:
        """End the daemon and all it started; a second time it does nothing.

        In a process that was forked off after the start it does nothing and returns `None`: the daemon
        belongs to the process that started it.
        """
        if os.getpid() != self._owner_pid:
            return None
        if self._ending is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._finish()
        return self._ending

    def _finish(self) -> None:
        """Take the keeper's last word, or do its work where it was lost."""
        limit_s = self._quit_s * 2 + self._kill_s * 2 + _KEEPER_MARGIN_S
        message = self._message(limit_s)
        while message is not None and "started" in message:  # it was stopped before it was heard
            self._started = message["started"]
            message = self._message(limit_s)
        if message is not None and "ended" in message:
            ended = message["ended"]
            self._ending = Ending(ended["how"], ended["daemon_status"], tuple(ended["left"]), ended["log"])
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_KEEPER_MARGIN_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        if self._ending is None:
            self._ending = self._end_without_keeper()

    def _end_without_keeper(self) -> Ending:
        """Ask the daemon to quit, then end what was noted as its own; each is known by its start time."""
        how = "by itself"
        if self._living():
            control = MpsControl(self.pipe_directory, binary=self._binary, timeout_s=self._quit_s)
            try:
                control.ask("quit")
                how = "quit" if self._gone_within(self._quit_s) else "killed"
            except MpsError:
                how = "killed"
            for number in (signal.SIGTERM, signal.SIGKILL):
                for pid in self._living():
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)
                if self._gone_within(self._kill_s):
                    break
        for path in self._started.get("private", ()):
            shutil.rmtree(path, ignore_errors=True)
        left = self._living()
        return Ending("left" if left else how, None, tuple(left), "")

    def _living(self) -> list[int]:
        return [pid for pid, ticks in self._own.items() if keeper.start_ticks(pid) == ticks]

    def _gone_within(self, limit_s: float) -> bool:
        deadline_s = time.monotonic() + limit_s
        while self._living():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_SETTLE_S)
        return True

    def _has_news(self) -> bool:
        assert self._process.stdout is not None
        return bool(self._unread) or bool(select.select([self._process.stdout], [], [], 0)[0])

    def _message(self, limit_s: float) -> dict[str, Any] | None:
        """Return the keeper's next line; `None` where it has ended, or says nothing in time."""
        stdout = self._process.stdout
        assert stdout is not None
        deadline_s = time.monotonic() + limit_s
        while b"\n" not in self._unread:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([stdout], [], [], left_s)[0]:
                return None
            read = os.read(stdout.fileno(), _READ_BYTES)
            if not read:
                return None
            self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message
