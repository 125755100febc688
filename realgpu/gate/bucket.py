"""The arithmetic of the token bucket in Python, equal to `bucket.h` number for number.

It reads no clock. Two counters that only grow stand for the bucket: `granted` (earned) and `spent` (charged);
their difference are the tokens. A launch takes a ticket, what was spent before it, and is admitted once more
than that is granted: so launches pass in order, and one launch may take the bucket into debt.
"""

from __future__ import annotations

from dataclasses import dataclass

from realgpu.gate.layout import LARGEST_BURST

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket at one moment.

    Attributes
    ----------
    rate
        Cost earned a second.
    burst
        Tokens that it holds at most.
    spent, granted
        Cost charged and earned so far.
    last_refill_ns
        Time up to which it is filled.
    """

    rate: int
    burst: int
    spent: int
    granted: int
    last_refill_ns: int

    def refilled(self, now_ns: int) -> tuple[int, int]:
        """Return `granted` and `last_refill_ns` after a refill at this time.

        Only the time that the grant took is used up, so that fractions of a token are never lost.
        """
        if now_ns <= self.last_refill_ns:
            return self.granted, self.last_refill_ns
        room = self.spent + min(self.burst, LARGEST_BURST) - self.granted
        if room <= 0 or self.rate == 0:
            return self.granted, now_ns
        earned = self.rate * (now_ns - self.last_refill_ns) // _SECOND_NS
        if earned >= room:
            return self.granted + room, now_ns
        return self.granted + earned, self.last_refill_ns + _earning_ns(self.rate, earned)

    def admits(self, ticket: int) -> bool:
        """Return whether the launch with this ticket may pass."""
        return self.granted > ticket

    def due_ns(self, ticket: int) -> int | None:
        """Return when the ticket will be admitted at the present rate, `None` for never."""
        missing = ticket + 1 - self.granted
        if missing <= 0:
            return self.last_refill_ns
        if self.rate == 0:
            return None
        return self.last_refill_ns + _earning_ns(self.rate, missing)


def _earning_ns(rate: int, amount: int) -> int:
    """Return the nanoseconds in which `amount` is earned, rounded up."""
    return -(-amount * _SECOND_NS // rate)
