"""The controller's process: forked from the orchestrator, so that a user's policy need not be pickled.

It ends when the orchestrator says so or is gone; in the latter case it removes the run's files first, as
nobody else would.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import select
import shutil
import signal
import time
import traceback
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import NoReturn

from policies.functions import Function
from policies.slots import VerticalPolicy
from realgpu.board import Board
from realgpu.control.keeper import QuotaKeeper
from realgpu.control.loop import ControlLoop
from realgpu.control.messages import ControlReport, Crashed, End, Message
from realgpu.control.throttle import Throttle
from realgpu.errors import RealGpuError
from realgpu.parent_death import signal_at_parent_death

REPORT_WITHIN_S = 10.0
"""The controller gets so long to report; it is in the middle of a tick at the most."""

LAST_WILL_S = 2
"""After SIGTERM the process has so long to remove the run's files."""


class ControllerProcess:
    """The orchestrator's side: starts the process, speaks to it, and ends it.

    Parameters
    ----------
    folder
        The run's folder, which the process removes if the orchestrator dies.

    Raises
    ------
    RealGpuError
        From any method, if the process has ended; the message has its own words.
    """

    def __init__(
        self,
        policy: VerticalPolicy,
        functions: Sequence[Function],
        board: Board,
        folder: Path,
        throttle: Throttle | None = None,
    ) -> None:
        context = multiprocessing.get_context("fork")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_live,
            args=(theirs, self._connection, os.getpid(), policy, functions, board, folder, throttle),
            name="dilu-controller",
            daemon=True,
        )
        with warnings.catch_warnings():
            # Threads of numerical libraries do not survive the fork, and none of them is used there.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            self._process.start()
        theirs.close()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self._closed = False

    def fileno(self) -> int:
        """Return what becomes readable when the process has something to say, or has ended."""
        return self._connection.fileno()

    def tell(self, message: Message) -> None:
        """Send a message."""
        try:
            self._connection.send(message)
        except OSError:
            raise self.fault() from None

    def report(self) -> ControlReport:
        """Ask for the end, and return what the process did."""
        self.tell(End())
        try:
            if self._connection.poll(REPORT_WITHIN_S):
                answer = self._connection.recv()
                if isinstance(answer, ControlReport):
                    return answer
                raise RealGpuError(f"controller: {answer.reason}")
        except (EOFError, OSError):
            raise self.fault() from None
        raise RealGpuError(f"controller: did not report within {REPORT_WITHIN_S:g} s")

    def fault(self) -> RealGpuError:
        """Return why it has said something, or ended, unasked."""
        try:
            if self._connection.poll(1.0):
                answer = self._connection.recv()
                return RealGpuError(f"controller: {answer.reason}")
        except (EOFError, OSError):
            pass
        self._process.join(1.0)
        return RealGpuError(f"controller: ended with exit status {self._process.exitcode}")

    def close(self) -> None:
        """End the process: by closing the pipe, by SIGTERM, by SIGKILL. May be called again."""
        if self._closed:
            return
        self._closed = True
        self._connection.close()
        self._process.join(1.0)
        for end in (self._process.terminate, self._process.kill):
            if self._process.is_alive():
                end()
                self._process.join(1.0)
        self._process.join()
        self._process.close()


class _OrchestratorGone(BaseException):
    """No use going on. Not an `Exception`, so that no policy can take it for one of its own."""


class _PipeInbox:
    """Messages from the orchestrator, waited for with the precision of microseconds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def receive(self, until_ns: int) -> Message | None:
        wait_s = max(0, until_ns - time.monotonic_ns()) / 1e9
        # `Connection.poll` rounds up to milliseconds.
        readable, _, _ = select.select([self._connection], [], [], wait_s)
        if not readable:
            return None
        message: Message = self._connection.recv()
        return message


def _live(
    connection: Connection,
    theirs: Connection,
    parent: int,
    policy: VerticalPolicy,
    functions: Sequence[Function],
    board: Board,
    folder: Path,
    throttle: Throttle | None,
) -> NoReturn:
    """Be the process. It ends without what Python does at its end, which might wait for others' locks."""
    theirs.close()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the orchestrator decides
    signal.signal(signal.SIGTERM, _give_up)
    gc.disable()
    status = 1
    try:
        if not signal_at_parent_death(signal.SIGTERM, parent):
            raise _OrchestratorGone
        keeper = QuotaKeeper(policy, functions, board, throttle)
        inbox = _PipeInbox(connection)
        loop = ControlLoop(
            keeper, board, inbox, tick_s=policy.tick_s, clock=time.monotonic_ns, throttle=throttle
        )
        connection.send(loop.run(_raise_priority()))
        status = 0
    except (_OrchestratorGone, EOFError, ConnectionError):
        shutil.rmtree(folder, ignore_errors=True)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
        connection.send(Crashed(" ".join(reason.split())))
    finally:
        os._exit(status)


def _give_up(number: int, frame: FrameType | None) -> None:
    signal.alarm(LAST_WILL_S)  # the end, should a policy go on all the same
    raise _OrchestratorGone


def _raise_priority() -> str:
    """Run before others if the host permits it; return how it runs."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except (OSError, AttributeError):
        try:
            return f"nice {os.nice(-5)}"
        except OSError:
            return "ordinary"
    return "SCHED_FIFO 1"
