from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realgpu.errors import RealGpuError
from realgpu.workers import Channel, Failed, Run, Stop, encode
from realgpu.workers.protocol import LONGEST_LINE


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel, and the bare socket at its other end."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    with theirs:
        yield channel, theirs
    channel.close()


@given(st.lists(st.integers(1, 60), max_size=30))
def test_messages_are_whole_however_they_are_cut(cuts: list[int]) -> None:
    """Bytes that come in any pieces make the same messages, in order."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    sent = [Run(0, 1, 1), Stop(), Failed("ä\n", 5), Run(7, 8, 9)]
    line = b"".join(encode(message) for message in sent)
    received = []
    with theirs:
        for cut in [*cuts, len(line)]:
            piece, line = line[:cut], line[cut:]
            theirs.sendall(piece)
            while (message := channel.receive(0.0)) is not None:
                received.append(message)
    assert channel.receive() is None
    assert channel.closed
    channel.close()
    assert received == sent


def test_receive_waits_for_one_message_at_a_time(ends: tuple[Channel, socket.socket]) -> None:
    """Two messages in one piece are received one after the other, then nothing in time, then the end."""
    channel, other = ends
    other.sendall(encode(Run(0, 1, 1)) + encode(Stop()))
    assert channel.receive(1.0) == Run(0, 1, 1)
    assert channel.receive(1.0) == Stop()
    assert channel.receive(0.01) is None
    assert not channel.closed
    other.shutdown(socket.SHUT_WR)
    assert channel.receive() is None
    assert channel.closed
    assert channel.receive() is None


def test_what_comes_during_a_wait_is_kept(ends: tuple[Channel, socket.socket]) -> None:
    """A wait reads what comes and keeps it; a message that is kept does not shorten the next wait."""
    channel, other = ends
    other.sendall(encode(Stop()))
    channel.wait(10.0)
    assert channel.told_to(Stop)
    assert not channel.told_to(Run)
    begun = time.monotonic()
    channel.wait(0.05)
    assert time.monotonic() - begun >= 0.05
    assert channel.receive(0.0) == Stop()
    assert not channel.told_to(Stop)


def test_a_wait_on_a_closed_channel_is_a_sleep(ends: tuple[Channel, socket.socket]) -> None:
    """When the other end is gone, waiting does not turn into a busy loop."""
    channel, other = ends
    other.close()
    channel.wait(1.0)
    assert channel.closed
    begun = time.monotonic()
    channel.wait(0.05)
    assert time.monotonic() - begun >= 0.05


def test_sending_to_nobody_is_told(ends: tuple[Channel, socket.socket]) -> None:
    """Whoever sends learns that the other end is gone, without an exception."""
    channel, other = ends
    assert channel.send(Stop())
    other.close()
    assert not channel.send(Stop())


def test_half_a_message_at_the_end_is_an_error(ends: tuple[Channel, socket.socket]) -> None:
    """An end in the middle of a line is not taken for a quiet one."""
    channel, other = ends
    other.sendall(encode(Stop())[:5])
    assert channel.receive(0.0) is None
    other.close()
    with pytest.raises(RealGpuError, match="ends after 5 bytes"):
        channel.receive()
    assert channel.closed


def test_a_line_without_an_end_is_an_error(ends: tuple[Channel, socket.socket]) -> None:
    """A flood is not collected for ever."""
    channel, other = ends
    pieces = LONGEST_LINE // 4096
    for _ in range(pieces - 1):
        other.sendall(b"x" * 4096)
        assert channel.receive(0.0) is None
    other.sendall(b"x" * 4096)
    with pytest.raises(RealGpuError, match="no end of line"):
        channel.receive()
