"""A gate that needs no file of its own: its rate is the quota on the board."""

from __future__ import annotations

import time
from typing import Final

from realgpu.gate.bucket import Bucket
from realgpu.gate.layout import DEFAULT_DEADLINE_NS
from realgpu.workers.seats import Seats

HOLDS_NS: Final = 250_000
"""The bucket holds what so long a time earns. On a GPU that is a tick of 5 ms (Dilu, ASPLOS 2025, section
3.4), a small part of a batch; the small models of a core take a tenth of that time or less, and after a pause
all of a batch would be free. Assumed: long beside a wake-up, and short beside a batch."""

_LONGEST_NAP_S: Final = 0.001
_SECOND_NS: Final = 1_000_000_000


class BoardGate:
    """A `realgpu.gate.Gate` for one thread; it earns `capacity` a second on the whole GPU.

    Its bucket holds what `HOLDS_NS` earn. As with the others, nobody waits longer than the deadline, be the
    quota 0.
    """

    def __init__(self, seats: Seats, capacity: int) -> None:
        self._seats = seats
        self._capacity = capacity
        self._spent = self._granted = 0
        self._refilled_ns = time.monotonic_ns()

    def charge(self, cost: int) -> None:
        """Charge it, and return once all that was charged before is earned."""
        ticket = self._spent
        self._spent += cost
        begun_ns = now_ns = time.monotonic_ns()
        while not (bucket := self._filled(now_ns)).admits(ticket):
            if now_ns - begun_ns >= DEFAULT_DEADLINE_NS:
                self._granted += cost
                return
            due_ns = bucket.due_ns(ticket)
            nap_s = _LONGEST_NAP_S if due_ns is None else max(0, due_ns - now_ns) / _SECOND_NS
            time.sleep(min(nap_s, _LONGEST_NAP_S))
            now_ns = time.monotonic_ns()

    def close(self) -> None:
        """Leave: there is nothing to let go of."""

    def _filled(self, now_ns: int) -> Bucket:
        """Return the bucket, filled at the present quota."""
        rate = round(self._seats.least_quota() * self._capacity)
        burst = rate * HOLDS_NS // _SECOND_NS
        bucket = Bucket(rate, burst, self._spent, self._granted, self._refilled_ns)
        self._granted, self._refilled_ns = bucket.refilled(now_ns)
        return Bucket(rate, burst, self._spent, self._granted, self._refilled_ns)
