"""The process that stands between a run and its MPS daemon, so that the daemon never outlives the run.

It is run by its path under a bare interpreter (`python -I -S keeper.py CONFIG`), needs nothing but the
standard library, and starts the daemon as its child. It ends the daemon, everything that the daemon started,
and the private directories when its standard input ends, when its parent is gone, or on a signal. As input
ends with the parent however that one ends, SIGKILL included, nobody has to remember to clean up. It knows its
processes by descent: a server whose daemon died comes to it as the nearest living ancestor. It never goes by
a name.

It speaks in lines of JSON on standard output: `{"started": ...}`, then `{"ended": ...}` or `{"failed": ...}`.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

OPEN_FILES_WANTED = 16384
"""Open files for daemon and servers; with fewer they fail to open shared memory (MPS guide, known issues)."""

_WATCH_S = 0.2
_SETTLE_S = 0.02
_LOG_TAIL_BYTES = 1500
_LOGS = ("daemon.out", "control.log", "server.log")


class Keeper:
    """One daemon from its start to its end."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._binary: str = config["binary"]
        self._quit_s: float = config["quit_s"]
        self._kill_s: float = config["kill_s"]
        self._parent_pid: int = config["parent_pid"]
        self._private: list[Path] = []
        self._daemon: subprocess.Popen[bytes] | None = None
        self._daemon_status: int | None = None
        self._asked_to_stop = False
        base = config["base_directory"]
        self._pipes = self._directory(config["pipe_directory"], base, "mps-")
        self._logs = self._directory(config["log_directory"], base, "mpl-")

    def _directory(self, given: str | None, base: str, prefix: str) -> Path:
        """Take a directory that is given, or make a private one (mode 0700) that goes with the daemon."""
        if given is not None:
            Path(given).mkdir(mode=0o700, parents=True, exist_ok=True)
            return Path(given)
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        self._private.append(made)
        return made

    def start(self) -> None:
        """Start the daemon in the foreground, in a process group of its own."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop_soon)
        adopts = _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        open_files = _raise_open_files()
        with (self._logs / "daemon.out").open("ab") as out:
            self._daemon = subprocess.Popen(
                [self._binary, "-f"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                process_group=0,
                # Should the keeper itself be killed, the daemon is told at once.
                preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
                env={
                    **os.environ,
                    "CUDA_MPS_PIPE_DIRECTORY": str(self._pipes),
                    "CUDA_MPS_LOG_DIRECTORY": str(self._logs),
                },
            )
        started = {
            "daemon_pid": self._daemon.pid,
            "pipe_directory": str(self._pipes),
            "log_directory": str(self._logs),
            "private": [str(path) for path in self._private],
            "adopts_orphans": adopts,
            "open_files": open_files,
        }
        _say({"started": started})

    def watch(self) -> None:
        """Wait until there is nothing left to keep, or nobody to keep it for."""
        # Status 0 with something left is a daemon that went to the background, and was adopted.
        while not self._asked_to_stop and self._any_lives() and not self._daemon_status:
            if os.getppid() != self._parent_pid:
                return
            readable, _, _ = select.select([sys.stdin], [], [], _WATCH_S)
            if readable and not os.read(sys.stdin.fileno(), 4096):
                return

    def end(self) -> dict[str, Any]:
        """End what still lives, gentlest way first, and remove the private directories."""
        how = self._end_processes()
        ending = {
            "how": how,
            "daemon_status": self._daemon_status,
            "left": self._children(),
            "log": self._log_tail(),
        }
        self.remove_directories()
        return ending

    def remove_directories(self) -> None:
        """Remove the directories made here."""
        for path in self._private:
            shutil.rmtree(path, ignore_errors=True)

    def _end_processes(self) -> str:
        if not self._any_lives():
            return "by itself"
        half_s = self._quit_s / 2
        # With the limit first: a plain `quit` waits for clients that nobody is left to end.
        for command in (f"quit -t {max(1, int(half_s) - 1)}", "quit"):
            if self._command(command, half_s) and self._gone_within(half_s):
                return "quit"
        for number, how in ((signal.SIGTERM, "terminated"), (signal.SIGKILL, "killed")):
            if self._gone_within(self._kill_s, number):
                return how
        return "left"

    def _command(self, command: str, limit_s: float) -> bool:
        """Give the daemon a command; tell whether it was taken."""
        try:
            shell = subprocess.run(
                [self._binary],
                input=f"{command}\n".encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=limit_s,
                env={**os.environ, "CUDA_MPS_PIPE_DIRECTORY": str(self._pipes)},
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return shell.returncode == 0

    def _gone_within(self, limit_s: float, number: signal.Signals | None = None) -> bool:
        """Wait for every child to go, signalling each once: the orphans of one that went are new children."""
        deadline_s = time.monotonic() + limit_s
        signalled: set[int] = set()
        while self._any_lives():
            if time.monotonic() > deadline_s:
                return False
            for pid in self._children() if number is not None else ():
                if pid not in signalled:
                    signalled.add(pid)
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)  # type: ignore[arg-type]
            time.sleep(_SETTLE_S)
        return True

    def _any_lives(self) -> bool:
        """Collect the children that ended; tell whether any lives."""
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if self._daemon is not None and ended[0] == self._daemon.pid:
                    self._daemon_status = os.waitstatus_to_exitcode(ended[1])
                    self._daemon.returncode = self._daemon_status
        except ChildProcessError:
            return False
        return True

    def _children(self) -> list[int]:
        own = str(os.getpid())
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        stats = ((pid, _stat(pid)) for pid in pids)
        return [pid for pid, stat in stats if stat is not None and stat[1] == own and stat[0] != "Z"]

    def _log_tail(self) -> str:
        tails = []
        for name in _LOGS:
            with suppress(OSError):
                text = (self._logs / name).read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
                tails += [f"{name}: {text}"] if text else []
        return "\n".join(tails)

    def _stop_soon(self, number: int, frame: object) -> None:
        self._asked_to_stop = True


def start_ticks(pid: int) -> int | None:
    """Return when a living process started, in clock ticks since boot: with its pid, its identity."""
    stat = _stat(pid)
    return None if stat is None or stat[0] == "Z" else int(stat[19])


def _stat(pid: int) -> list[str] | None:
    """Return the fields of `/proc/PID/stat` after the name, which may hold blanks and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _prctl(option: int, value: int) -> bool:
    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)


def _raise_open_files() -> int:
    """Raise the limit of open files towards what MPS wants; return what holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(OPEN_FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _say(message: dict[str, Any]) -> None:
    with suppress(OSError):  # nobody listens any more
        os.write(1, (json.dumps(message) + "\n").encode())


def main(config: dict[str, Any]) -> None:
    """Keep one daemon."""
    keeper = None
    try:
        keeper = Keeper(config)
        keeper.start()
    except OSError as error:
        if keeper is not None:
            keeper.remove_directories()
        _say({"failed": f"{error.filename or config['binary']}: {error.strerror}"})
        return
    keeper.watch()
    _say({"ended": keeper.end()})


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
