"""A worker that does one thing wrong: the first argument says what, the second is its socket."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

from realgpu.workers.channel import Channel
from realgpu.workers.protocol import Begin, Done, Failed, Ready, Run, Stop, Stopped


def main(what: str, descriptor: int) -> int:
    """Speak the protocol, up to the point."""
    if what == "ends-at-once":
        sys.stderr.write("first line\nsecond line\n")
        return 3
    channel = Channel(socket.socket(fileno=descriptor))
    begin = channel.receive()
    assert isinstance(begin, Begin)
    if what == "never-ready" or (what == "ready-in-seat-0" and begin.seats != (0,)):
        time.sleep(3600)
    if what == "failed":
        channel.send(Failed("out of memory: 7 GiB", time.monotonic_ns()))
        return 1
    if what == "speaks-nonsense":
        os.write(descriptor, b"hello\n")
        time.sleep(3600)
    if what == "gives-orders":
        channel.send(Stop())
        time.sleep(3600)
    if what == "hard-to-kill":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel.send(Ready(time.monotonic_ns(), {"import_s": 0.0}))
    if what == "hangs-up":
        channel.close()
        time.sleep(3600)
    while (message := channel.receive()) is not None:
        if isinstance(message, Stop):
            if what in ("hard-to-kill", "ignores-stop"):
                time.sleep(3600)
            channel.send(Stopped(0.0, time.monotonic_ns()))
            return 0
        assert isinstance(message, Run)
        if what == "never-done":
            time.sleep(3600)
        if what == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        now_ns = time.monotonic_ns()
        count = message.count + (what == "miscounts")
        channel.send(Done(message.first, count, now_ns - 1, now_ns))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
