"""The life of a worker: told what it is, it loads, works, and reports, until it is told to stop."""

from __future__ import annotations

import socket
import time
import traceback
from pathlib import Path

from realgpu.board import Board
from realgpu.errors import RealGpuError
from realgpu.gate import GateError
from realgpu.workers.backends import Backend, make_backend
from realgpu.workers.channel import Channel
from realgpu.workers.life import Life
from realgpu.workers.protocol import Begin, Done, Failed, Finished, Ready, Run, Stop, Stopped
from realgpu.workers.seats import Seats

FAILED = 1
"""Exit status after a `Failed`."""

_LONGEST_REASON = 2000


def live(descriptor: int) -> int:
    """Be a worker on an open UNIX stream socket, and return the exit status.

    It is 0 after `Stop` or once the socket is closed, 1 after `Failed`; a SIGTERM ends the process with 143.
    """
    life = Life()
    channel = Channel(socket.socket(fileno=descriptor))
    try:
        _work(channel, life)
    except Exception as error:  # whatever it was, the orchestrator is to hear of it
        traceback.print_exc()
        channel.send(Failed(_reason(error), time.monotonic_ns()))
        return FAILED
    finally:
        channel.close()
    return 0


def _reason(error: Exception) -> str:
    """Return an error in one line; what is not ours carries its type."""
    text = " ".join(str(error).split())[:_LONGEST_REASON]
    return text if isinstance(error, RealGpuError | GateError) else f"{type(error).__name__}: {text}"


def _work(channel: Channel, life: Life) -> None:
    """Take `Begin`, load, and serve or train to the end."""
    begin = channel.receive()
    if begin is None:
        return
    if isinstance(begin, Stop):
        channel.send(Stopped(0.0, time.monotonic_ns()))
        return
    if not isinstance(begin, Begin):
        raise RealGpuError(f"worker: found {type(begin).__name__}, the first message is Begin")
    # The board stays mapped to the end of the process: nobody reads it after us.
    seats = Seats(Board.attach(Path(begin.board)), begin.seats)
    backend = make_backend(begin, seats)
    loaded = backend.load()
    channel.send(Ready(time.monotonic_ns(), loaded))
    if begin.job == "train":
        _train(begin.iterations, channel, life, seats, backend)
    else:
        _serve(channel, life, seats, backend)


def _serve(channel: Channel, life: Life, seats: Seats, backend: Backend) -> None:
    """Run batches until `Stop`, or until the socket is closed; the latter leaves a batch off."""

    def leave_off(sleep_s: float = 0.0) -> bool:
        channel.wait(sleep_s)
        return life.terminated or channel.closed

    while (message := channel.receive()) is not None:
        if isinstance(message, Stop):
            channel.send(Stopped(0.0, time.monotonic_ns()))
            return
        if not isinstance(message, Run):
            raise RealGpuError(f"worker: found {type(message).__name__}, one that serves takes Run and Stop")
        with life.working():
            seats.wake()
            times_ns = backend.run(message.count, message.iterations, leave_off)
            if times_ns is None:
                seats.rest(time.monotonic_ns())
                return
            start_ns, end_ns = times_ns
            seats.cycle((end_ns - start_ns) / 1e9 / message.iterations, message.count)
            seats.rest(end_ns)
            channel.send(Done(message.first, message.count, start_ns, end_ns))


def _train(iterations: int | None, channel: Channel, life: Life, seats: Seats, backend: Backend) -> None:
    """Train until all steps are done, `Stop` comes or the socket is closed; then wait for the end."""

    def leave_off(sleep_s: float = 0.0) -> bool:
        channel.wait(sleep_s)
        return life.terminated or channel.closed or channel.told_to(Stop)

    with life.working():
        seats.wake()
        steps, at_ns = backend.train(iterations, leave_off)
        seats.steps(steps)
        seats.rest(at_ns)
    if steps == iterations:
        channel.send(Finished(steps, at_ns))
    message = channel.receive()
    if message is None:
        return
    if not isinstance(message, Stop):
        raise RealGpuError(f"worker: found {type(message).__name__}, one that trains takes Stop")
    channel.send(Stopped(steps, at_ns))
