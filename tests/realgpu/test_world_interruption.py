"""Signals are acted on where the program asks for them, and what was there before comes back."""

from __future__ import annotations

import select
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest
from small_worlds import descriptors

from realgpu.interruption import Interruption


@pytest.fixture(autouse=True)
def as_at_the_start_of_a_program() -> Iterator[None]:
    """Whatever this test run ignores, each test begins with what Python and the system do of themselves."""
    fresh = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in fresh.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit)],
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
    if error is SystemExit:
        assert raised.value.args == (128 + number,)


def _interrupted_by(number: int) -> None:
    with Interruption() as interruption:
        signal.raise_signal(number)
        interruption.check()
        pytest.fail("went on")


class Hung(KeyboardInterrupt):
    """What a program's own handler raises."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_handler_of_before_has_its_way(number: int) -> None:
    """It is called when the signal is acted on; what it raises is raised, what it installs stays."""
    called: list[int] = []

    def own(number: int, frame: FrameType | None) -> None:
        called.append(number)
        signal.signal(number, signal.SIG_IGN)
        raise Hung

    signal.signal(number, own)
    with pytest.raises(Hung):
        _interrupted_by(number)
    assert called == [number]
    assert signal.getsignal(number) == signal.SIG_IGN


def test_a_handler_that_would_go_on_does_not() -> None:
    """The run ends all the same: nobody else could end it."""
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    with pytest.raises(SystemExit, match="143"):
        _interrupted_by(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_ignored_stays_ignored(number: int) -> None:
    """As by `nohup`, or for a job in the background of a script."""
    signal.signal(number, signal.SIG_IGN)
    with Interruption() as interruption:
        signal.raise_signal(number)
        interruption.check()
        assert signal.getsignal(number) == signal.SIG_IGN


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
