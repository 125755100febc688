"""What the controller keeps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realgpu.control.records import ChangeLog, TickRing


@given(st.integers(1, 7), st.integers(0, 30))
def test_a_ring_keeps_the_latest_ticks_in_their_order(capacity: int, ticks: int) -> None:
    """As many as there is room for, oldest first, and a count of all."""
    ring = TickRing(capacity)
    for tick in range(ticks):
        ring.add(tick, 10 * tick, 100 * tick)
    kept = range(max(0, ticks - capacity), ticks)
    assert ring.rows().tolist() == [(tick, 10 * tick, 100 * tick) for tick in kept]
    assert ring.done == ticks


def test_a_log_of_changes_grows() -> None:
    """Nothing is lost when there are more than it had room for."""
    log = ChangeLog()
    for number in range(5000):
        log.add(number, 1, 2, number / 5000)
    assert log.rows().tolist() == [(number, 1, 2, number / 5000) for number in range(5000)]
