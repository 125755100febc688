"""Ctrl-C and SIGTERM, acted on between two events of a run and never within one."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Takes note of the first signal, and lets `check` raise what it means.

    A second Ctrl-C raises `KeyboardInterrupt` wherever the program is, in case it is stuck. Outside the main
    thread no signals can be handled, and none are. Use as a context manager; leaving it restores what was.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Return what becomes readable when a signal has come."""
        return self._reader.fileno()

    def check(self) -> None:
        """Raise `KeyboardInterrupt` after a Ctrl-C, `SystemExit` after a SIGTERM."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(1024)  # of whatever signal it was
        number, self._number = self._number, None
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if number is not None:
            raise SystemExit(128 + number)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if self._before:
            signal.set_wakeup_fd(self._wakeup_before)
        with self._reader, self._writer:
            if error is None:
                self.check()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._number == number == signal.SIGINT:
            raise KeyboardInterrupt
        if self._number is None:
            self._number = number
