"""Processes that are started for a limited time, and the proof that nothing of them stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

MARK: Final = "DILU_CHECKS_MARK"
"""In the environment of everything that is started, so that it can be found whatever becomes of it."""

GRACE_S: Final = 12.0
"""After SIGTERM, for a daemon of MPS to be ended; then comes SIGKILL."""

_LAST_GRACE_S: Final = 4.0
_POLL_S: Final = 0.1


class Limited:
    """A command in a process group of its own, its output in a file.

    Parameters
    ----------
    output
        Where standard output and error go.
    descriptors
        What else it inherits.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        output: Path,
        descriptors: Sequence[int] = (),
    ) -> None:
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                pass_fds=list(descriptors),
                env=dict(environment),
                start_new_session=True,
            )

    def wait(self, limit_s: float) -> int | None:
        """Return its exit status; `None` if it still runs after so long."""
        try:
            return self._process.wait(max(0.0, limit_s))
        except subprocess.TimeoutExpired:
            return None

    def end(self, number: signal.Signals = signal.SIGTERM, grace_s: float = GRACE_S) -> int | None:
        """End it with all of its group, gently first.

        Returns
        -------
        int or None
            Its exit status; `None` if not even SIGKILL ends it, as where it is stuck in the driver.
        """
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
            if self.wait(grace_s) is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
        return self.wait(_LAST_GRACE_S)


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """Make a temporary folder that goes at the end, having removed those of runs that were killed."""
    place = Path(tempfile.gettempdir())
    for folder in place.glob(f"{prefix}*"):
        pid = folder.name.removeprefix(prefix).partition("-")[0]
        with suppress(OSError):
            ours = folder.lstat().st_uid == os.getuid()
            if ours and pid.isdecimal() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(folder, ignore_errors=True)
    own = f"{prefix}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=own, dir=place, ignore_cleanup_errors=True) as made:
        yield Path(made)


def left_behind(mark: str, within_s: float) -> list[int]:
    """Wait for everything that bears a mark to end; return what did not.

    Only processes that inherited the mark are looked at: those that were started under it.
    """
    deadline_s = time.monotonic() + within_s
    while (found := _marked(mark)) and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)
    return found


def end_left_behind(mark: str, within_s: float) -> list[int]:
    """Wait as `left_behind` does, then end what is left; return what was."""
    found = left_behind(mark, within_s)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _marked(mark) if found else ():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        if not left_behind(mark, _LAST_GRACE_S if found else 0.0):
            break
    return found


def _marked(mark: str) -> list[int]:
    wanted, found = f"{MARK}={mark}".encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):  # it has ended, or is another user's
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found
