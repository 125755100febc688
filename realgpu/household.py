"""Everything that a run brings into the world: one owner, who sees to it that nothing of it stays.

The run's folder lies in shared memory, readable by this user alone: the board and the workers' logs. What a
process that was killed left behind is removed by the next run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from policies.functions import Function
from policies.slots import VerticalPolicy
from realgpu.board import Board
from realgpu.control.process import ControllerProcess
from realgpu.control.throttle import Throttle
from realgpu.errors import RealGpuError
from realgpu.hosted import HostedWorker
from realgpu.process_start import started_at

SHARED_MEMORY: Final = Path("/dev/shm")
PREFIX: Final = "dilu-run-"

STOP_WITHIN_S: Final = 5.0
"""A worker that was told to stop ends its batch first; after so long it gets SIGTERM."""

TERMINATE_WITHIN_S: Final = 2.0
"""After SIGTERM, work is left off between two iterations; after so long it gets SIGKILL."""


class Crew:
    """The folder, the board and the workers of a run, whoever controls them.

    Use it as a context manager. Leaving it stops every process, by Stop, SIGTERM and SIGKILL in turn, and
    removes every file.

    Parameters
    ----------
    seats
        Rows of the board.
    before_kill
        Called with the process id of a worker that has to be killed (a client of MPS is to be told first).

    Raises
    ------
    RealGpuError
        If the folder cannot be made or a process not be started.
    """

    def __init__(self, seats: int, *, before_kill: Callable[[int], None] | None = None) -> None:
        self.workers: dict[int, HostedWorker] = {}
        self._before_kill = before_kill
        self._closed = False
        self.folder = _new_folder()
        try:
            self.board = Board.create(self.folder, seats)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def hire(
        self, instance: int, label: str, command: Sequence[str], environment: Mapping[str, str]
    ) -> HostedWorker:
        """Start the worker of an instance."""
        worker = HostedWorker(label, command, self.folder / f"instance-{instance}.log", environment)
        self.workers[instance] = worker
        return worker

    def bury(self, instance: int) -> None:
        """Let go of a worker that has ended."""
        self.workers.pop(instance).close()

    def stop_workers(self, *instances: int, gently: bool = True) -> None:
        """End the workers of these instances, by default all; those that hang need not be asked to."""
        leaving = [self.workers[instance] for instance in instances or self.workers]
        for worker in leaving:
            worker.stop()
        if gently:
            _await_ends(leaving, STOP_WITHIN_S)
        for worker in _still_there(leaving):
            worker.terminate()
        _await_ends(leaving, TERMINATE_WITHIN_S)
        for worker in _still_there(leaving):
            if self._before_kill is not None:
                self._before_kill(worker.pid)
            worker.kill()
        for instance in instances or tuple(self.workers):
            self.workers[instance].wait(TERMINATE_WITHIN_S)
            self.bury(instance)

    def close(self) -> None:
        """End everything; may be called again."""
        try:
            self.stop_workers()
        finally:
            self._end_control()
            if not self._closed:
                self._closed = True
                with contextlib.suppress(BufferError):  # the frames of an error may still look at it
                    self.board.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end_control(self) -> None:
        """End what controls the workers, after them and before the board."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Household(Crew):
    """A crew whose controller is a process of its own, which asks a vertical policy.

    Parameters
    ----------
    policy, functions, throttle
        For the controller.
    seats, before_kill
        As of `Crew`.

    Raises
    ------
    RealGpuError
        If the folder cannot be made or a process not be started.
    """

    def __init__(
        self,
        policy: VerticalPolicy,
        functions: Sequence[Function],
        seats: int,
        *,
        throttle: Throttle | None = None,
        before_kill: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(seats, before_kill=before_kill)
        try:
            # Before any worker, so that it inherits none of their sockets.
            self.controller = ControllerProcess(policy, functions, self.board, self.folder, throttle)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _end_control(self) -> None:
        self.controller.close()


def _still_there(workers: Sequence[HostedWorker]) -> list[HostedWorker]:
    return [worker for worker in workers if not worker.ended]


def _await_ends(workers: Sequence[HostedWorker], within_s: float) -> None:
    end_s = time.monotonic() + within_s
    for worker in _still_there(workers):
        worker.wait(max(0.0, end_s - time.monotonic()))


def _new_folder() -> Path:
    """Make the run's folder, having removed those of runs that were killed."""
    place = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for folder in place.glob(f"{PREFIX}*"):
        if _is_stale(folder):
            shutil.rmtree(folder, ignore_errors=True)
    own = f"{PREFIX}{os.getpid()}-{started_at(os.getpid()) or 0}-"
    try:
        return Path(tempfile.mkdtemp(prefix=own, dir=place))
    except OSError as error:
        raise RealGpuError(f"{place}: no folder can be made there ({error.strerror})") from None


def _is_stale(folder: Path) -> bool:
    """Whether the process that made a folder of this user no longer runs."""
    pid, _, rest = folder.name.removeprefix(PREFIX).partition("-")
    started = rest.partition("-")[0]
    try:
        ours = folder.lstat().st_uid == os.getuid()
    except OSError:
        return False
    return ours and pid.isdecimal() and started.isdecimal() and started_at(int(pid)) != int(started)
