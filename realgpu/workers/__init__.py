"""Worker processes: each holds one instance and runs its batches or its training.

``python -m realgpu.workers FD`` is a worker; FD is its end of a UNIX stream socket.
"""

from realgpu.workers.channel import Channel
from realgpu.workers.protocol import (
    Begin,
    Done,
    Failed,
    Finished,
    Message,
    Ready,
    Run,
    Stop,
    Stopped,
    decode,
    encode,
    packed,
)

__all__ = [
    "Begin",
    "Channel",
    "Done",
    "Failed",
    "Finished",
    "Message",
    "Ready",
    "Run",
    "Stop",
    "Stopped",
    "decode",
    "encode",
    "packed",
]
