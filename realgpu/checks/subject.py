"""A process in an environment that is to be checked: it does what it is asked, a line of JSON at a time.

What it is asked for and what it answers go over two pipes of their own, so that nothing that a library prints
gets between. It ends when its input does.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from realgpu.checks.record import Skipped

ROOT: Final = Path(__file__).resolve().parents[2]
"""Where the packages of this project lie."""

_STOP_WITHIN_S: Final = 5.0
_TERMINATE_WITHIN_S: Final = 2.0
_READ_BYTES: Final = 65536


class SubjectError(RuntimeError):
    """The process did not do what it was asked.

    Attributes
    ----------
    code
        The driver's error number, where it was the driver that refused.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


def python_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which this project's packages are found, and whatever is found here."""
    places = [str(ROOT), *(place for place in sys.path if place)]
    return {**base, "PYTHONPATH": os.pathsep.join(dict.fromkeys(places))}


class Subject:
    """The process, from its start to its end. A context manager.

    Parameters
    ----------
    label
        What errors call it.
    environment
        Its environment, by default this process's.
    before_kill
        Called with its process id before it is killed, should it not end otherwise.
    """

    def __init__(
        self,
        label: str,
        environment: Mapping[str, str] | None = None,
        *,
        before_kill: Callable[[int], object] | None = None,
    ) -> None:
        self.label = label
        self._before_kill = before_kill
        self._unread = b""
        self._answers, theirs = os.pipe()
        self.started_s = time.monotonic()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "realgpu.checks.subject_process", str(theirs)],
                stdin=subprocess.PIPE,
                pass_fds=[theirs],
                env=python_environment(os.environ if environment is None else environment),
            )
        except OSError:
            os.close(self._answers)
            raise
        finally:
            os.close(theirs)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, bench: str, task: str, within_s: float, **arguments: Any) -> dict[str, Any]:
        """Have it do something, and return what it answers; see `order` and `answer`."""
        self.order(bench, task, **arguments)
        return self.answer(within_s)

    def order(self, bench: str, task: str, **arguments: Any) -> None:
        """Have it do something.

        Parameters
        ----------
        bench, task
            `driver` or `torch`, and a method of `DriverBench` or `TorchBench`.
        """
        line = json.dumps({"bench": bench, "task": task, "arguments": arguments}) + "\n"
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # its end will be noticed when the answer is read
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()

    def answer(self, within_s: float) -> dict[str, Any]:
        """Return its answer to the order before.

        Raises
        ------
        Skipped
            If it says that what is needed is not there.
        SubjectError
            If it fails, ends, or does not answer in time.
        """
        deadline_s = time.monotonic() + within_s
        while b"\n" not in self._unread:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([self._answers], [], [], left_s)[0]:
                raise SubjectError(f"{self.label}: no answer within {within_s:g} s")
            read = os.read(self._answers, _READ_BYTES)
            if not read:
                self._gone_within(_TERMINATE_WITHIN_S)
                raise SubjectError(f"{self.label}: ended ({self._process.poll()}), see the log")
            self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        if "skipped" in message:
            raise Skipped(str(message["skipped"]))
        if "failed" in message:
            raise SubjectError(f"{self.label}: {message['failed']}", message.get("code"))
        found: dict[str, Any] = message["found"]
        return found

    def close(self) -> None:
        """End it, gently first; may be called again."""
        if self._answers < 0:
            return
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            if not self._gone_within(_STOP_WITHIN_S):
                self._process.terminate()
                if not self._gone_within(_TERMINATE_WITHIN_S):
                    if self._before_kill is not None:
                        self._before_kill(self.pid)
                    self._process.kill()
                    self._gone_within(_TERMINATE_WITHIN_S)
        finally:
            os.close(self._answers)
            self._answers = -1

    def kill(self) -> None:
        """End it at once; a client of MPS must have been terminated there before."""
        self._process.kill()
        self._gone_within(_TERMINATE_WITHIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _gone_within(self, limit_s: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(limit_s)
        return self._process.poll() is not None
