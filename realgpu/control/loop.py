"""The controller's loop: a tick on every multiple of its period after time 0, whatever a tick takes.

Times are absolute, so that lateness does not add up. A tick that is due before the one before it is done is
skipped, and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from realgpu.board import Board
from realgpu.control.keeper import QuotaKeeper
from realgpu.control.messages import ControlReport, End, Message, Start
from realgpu.control.records import TickRing
from realgpu.control.throttle import Throttle

BEAT_NS = 50_000_000
"""How often the controller shows that it lives while nothing ticks; launch gates give it 250 ms."""


class Inbox(Protocol):
    """Where messages come from."""

    def receive(self, until_ns: int) -> Message | None:
        """Wait for the next message, at the longest until a time of CLOCK_MONOTONIC; raises `EOFError`."""


class ControlLoop:
    """Ticks and messages of one run.

    Parameters
    ----------
    tick_s
        Period of the vertical policy; `None`: quotas never change while an instance lives.
    clock
        CLOCK_MONOTONIC in nanoseconds.
    """

    def __init__(
        self,
        keeper: QuotaKeeper,
        board: Board,
        inbox: Inbox,
        *,
        tick_s: float | None,
        clock: Callable[[], int],
        throttle: Throttle | None = None,
        ring: TickRing | None = None,
    ) -> None:
        self._keeper = keeper
        self._board = board
        self._inbox = inbox
        self._period_ns = None if tick_s is None else round(tick_s * 1e9)
        self._clock = clock
        self._throttle = throttle
        self._ring = TickRing() if ring is None else ring
        self._start_ns: int | None = None
        self._missed = 0

    def run(self, priority: str = "") -> ControlReport:
        """Work until the end is asked for.

        Raises
        ------
        EOFError
            If the orchestrator is gone.
        """
        due_ns = self._beat(self._clock())
        while True:
            message = self._inbox.receive(due_ns)
            now_ns = self._clock()
            if isinstance(message, End):
                return self._report(priority)
            if isinstance(message, Start):
                self._start_ns = due_ns = message.start_ns
            elif message is not None:
                self._keeper.take(message, now_ns)
            if now_ns >= due_ns:
                due_ns = self._tick(due_ns, now_ns)

    def _tick(self, due_ns: int, now_ns: int) -> int:
        """Do what is due; return when to do it again."""
        if self._start_ns is None or self._period_ns is None:
            return self._beat(now_ns)
        self._keeper.tick(now_ns)
        done_ns = self._clock()
        missed = (done_ns - due_ns) // self._period_ns
        self._missed += missed
        self._ring.add(now_ns, now_ns - due_ns, done_ns - now_ns)
        header = self._board.header
        header["ticks"][0] = self._ring.done
        header["late_ticks"][0] = self._missed
        self._beat(done_ns)
        return due_ns + (missed + 1) * self._period_ns

    def _beat(self, now_ns: int) -> int:
        self._board.header["heartbeat_ns"][0] = now_ns
        if self._throttle is not None:
            self._throttle.beat(now_ns)
        return now_ns + BEAT_NS

    def _report(self, priority: str) -> ControlReport:
        return ControlReport(
            self._ring.rows(), self._ring.done, self._missed, self._keeper.changes.rows(), priority
        )
