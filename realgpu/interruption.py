"""Ctrl-C, SIGTERM and SIGHUP, acted on between two events of a run and never within one."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Takes note of the first signal, and lets `check` do what it would have done.

    A second Ctrl-C raises `KeyboardInterrupt` wherever the program is, in case it is stuck. Signals that are
    ignored stay so. Outside the main thread no signals can be handled, and none are. Use as a context
    manager; leaving it restores what was.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._before: dict[int, Any] = {}
        self._entered = False
        self._wakeup_before = -1
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Return what becomes readable when a signal has come."""
        return self._reader.fileno()

    def check(self) -> None:
        """Act on a signal that has come: its handler of before is called, and nothing goes on after it.

        Raises
        ------
        KeyboardInterrupt, SystemExit
            After a Ctrl-C and after others, unless the handler raises something itself.
        """
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(1024)  # of whatever signal it was
        number, self._number = self._number, None
        if number is None:
            return
        before = self._before[number]
        if callable(before):
            before(number, None)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._entered = True
            self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
            for number in _SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            if signal.getsignal(number) == self._note:  # a handler of before may have set another
                signal.signal(number, before)
        if self._entered:
            signal.set_wakeup_fd(self._wakeup_before)
        with self._reader, self._writer:
            if error is None:
                self.check()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._number == number == signal.SIGINT:
            raise KeyboardInterrupt
        if self._number is None:
            self._number = number
