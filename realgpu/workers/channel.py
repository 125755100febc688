"""One end of the socket between orchestrator and worker: whole messages in, whole messages out."""

from __future__ import annotations

import select
import socket
from collections import deque

from realgpu.errors import RealGpuError
from realgpu.workers.protocol import LONGEST_LINE, Message, decode, encode

_PIECE_BYTES = 1 << 16


class Channel:
    """Messages over a stream socket that blocks; the channel owns the socket.

    Attributes
    ----------
    closed
        The other end is gone, and everything it said has been read.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._begun = bytearray()
        self._whole: deque[Message] = deque()
        self.closed = False

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._socket.fileno()

    def send(self, message: Message) -> bool:
        """Send a message; whether the other end was still there to send it to."""
        try:
            self._socket.sendall(encode(message))
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """Return the next message; `None` if it does not come in time (`None`: any time) or never will.

        Raises
        ------
        RealGpuError
            If what came is no message.
        """
        while not self._whole and not self.closed and self._readable(timeout_s):
            self._look()
        return self._whole.popleft() if self._whole else None

    def wait(self, timeout_s: float) -> None:
        """Sleep for a time, or until the socket has something; that is kept for `receive`.

        Messages that are kept do not end it.

        Raises
        ------
        RealGpuError
            If what came is no message.
        """
        if self._readable(timeout_s):
            self._look()

    def told_to(self, kind: type[Message]) -> bool:
        """Whether a message of this kind waits to be received."""
        return any(isinstance(message, kind) for message in self._whole)

    def close(self) -> None:
        """Close the socket; may be called again."""
        self._socket.close()

    def _readable(self, timeout_s: float | None) -> bool:
        watched = [] if self.closed else [self._socket]
        readable, _, _ = select.select(watched, [], [], timeout_s)
        return bool(readable)

    def _look(self) -> None:
        """Read once, and cut what has come into messages."""
        try:
            piece = self._socket.recv(_PIECE_BYTES)
        except ConnectionResetError:
            piece = b""
        if not piece:
            self.closed = True
            if self._begun:
                raise RealGpuError(f"message: ends after {len(self._begun)} bytes, without an end of line")
            return
        *lines, rest = piece.split(b"\n")
        for line in lines:
            self._whole.append(decode(bytes(self._begun) + line))
            self._begun.clear()
        self._begun += rest
        if len(self._begun) >= LONGEST_LINE:
            raise RealGpuError(f"message: found {len(self._begun)} bytes and no end of line")
