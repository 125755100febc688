"""Signals are acted on where the program asks for them, and what was there before comes back."""

from __future__ import annotations

import select
import signal
import threading

import pytest
from small_worlds import descriptors

from realgpu.interruption import Interruption


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_waits_until_it_is_asked_for(number: int, error: type[BaseException]) -> None:
    """It wakes whoever waits, and raises at the next check, not before."""
    with Interruption() as interruption:
        interruption.check()
        signal.raise_signal(number)
        readable, _, _ = select.select([interruption], [], [], 5.0)
        assert readable
        with pytest.raises(error) as raised:
            interruption.check()
    if number == signal.SIGTERM:
        assert raised.value.args == (143,)


def _interrupted(times: int, error: BaseException | None = None) -> None:
    with Interruption():
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        if times > 1:
            pytest.fail("went on")
        if error is not None:
            raise error


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    """Should the program be stuck between two checks."""
    with pytest.raises(KeyboardInterrupt):
        _interrupted(2)


def test_a_signal_that_nobody_asked_about_is_not_lost() -> None:
    """It is raised when the block is left, unless that is an error already."""
    with pytest.raises(KeyboardInterrupt):
        _interrupted(1)
    with pytest.raises(ValueError, match="first"):
        _interrupted(1, ValueError("first"))


def test_handlers_and_descriptors_are_as_before() -> None:
    """Also the descriptor that wakes others up."""
    before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), descriptors())
    with Interruption():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), descriptors()) == before
    assert signal.set_wakeup_fd(-1) == -1


def test_other_signals_do_not_keep_it_readable() -> None:
    """A check takes what other handled signals have written."""
    previous = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGUSR1)
            interruption.check()
            assert select.select([interruption], [], [], 0.0)[0] == []
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    """A thread may run a world; it hears of no signals."""
    found: list[object] = []

    def inside() -> None:
        before = signal.getsignal(signal.SIGINT)
        with Interruption() as interruption:
            interruption.check()
            found.append(signal.getsignal(signal.SIGINT) == before)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [True]
