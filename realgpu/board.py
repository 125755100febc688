"""The board: what orchestrator, controller and workers tell each other through shared memory.

A row a seat. Every field has one writer and is a naturally aligned number of 8 bytes, so that a plain store
publishes it. `cycles` is stored after what describes the cycle.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from realgpu.errors import RealGpuError

HEADER: Final = np.dtype(
    [
        ("seats", "<i8"),
        ("start_ns", "<i8"),
        ("heartbeat_ns", "<i8"),
        ("ticks", "<i8"),
        ("late_ticks", "<i8"),
        ("ended", "<i8"),
    ]
)
"""`start_ns`: CLOCK_MONOTONIC of time 0. The controller writes `heartbeat_ns`, `ticks` and `late_ticks`."""

SEAT: Final = np.dtype(
    [
        # the orchestrator
        ("taken", "<i8"),
        ("instance", "<i8"),
        ("gpu", "<i8"),
        ("slo_sensitive", "<i8"),
        ("is_llm", "<i8"),
        ("request", "<f8"),
        ("limit", "<f8"),
        ("part", "<f8"),
        ("wave_s", "<f8"),
        ("model", "<i8"),
        ("batch", "<i8"),
        # the controller
        ("quota", "<f8"),
        # the worker
        ("active", "<i8"),
        ("last_active_ns", "<i8"),
        ("cycle_s", "<f8"),
        ("cycle_batch", "<i8"),
        ("cycles", "<i8"),
        ("steps", "<f8"),
    ]
)
"""One instance's part on one GPU. Time is CLOCK_MONOTONIC; `cycle_s` is the latest completed cycle, for
`cycle_batch` requests; `steps` are those of training, the part of the present one included. What neighbours
suffer from it: `wave_s`, the mean wait behind its waves; `model`, its place among the names that the workers
are told; `batch`, the largest it serves. `taken` is stored after all of these."""


class Board:
    """A file of shared memory with a header and `seats` rows of `SEAT`.

    Use `Board.create` in the orchestrator, as a context manager that removes the file, and `Board.attach`
    elsewhere.

    Raises
    ------
    RealGpuError
        If the file cannot be made or mapped, or is not a board.
    """

    def __init__(self, path: Path, memory: mmap.mmap, *, owner: bool) -> None:
        self.path = path
        self._memory = memory
        self._owner = owner
        self.header: NDArray[np.void] = np.frombuffer(memory, HEADER, count=1)
        seats = int(self.header["seats"][0])
        self.seats: NDArray[np.void] = np.frombuffer(memory, SEAT, count=seats, offset=HEADER.itemsize)

    @classmethod
    def create(cls, folder: Path, seats: int) -> Board:
        """Make a board in `folder`, which only this user may read."""
        path = folder / f"board-{os.getpid()}"
        size = HEADER.itemsize + seats * SEAT.itemsize
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.ftruncate(descriptor, size)
                memory = mmap.mmap(descriptor, size)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RealGpuError(f"{path}: cannot be made ({error.strerror})") from None
        memory[:8] = np.int64(seats).tobytes()
        return cls(path, memory, owner=True)

    @classmethod
    def attach(cls, path: Path) -> Board:
        """Map a board that another process made."""
        try:
            with path.open("r+b") as file:
                memory = mmap.mmap(file.fileno(), 0)
        except (OSError, ValueError) as error:
            raise RealGpuError(f"{path}: cannot be mapped ({error})") from None
        size = len(memory)
        seats = int(np.frombuffer(memory, "<i8", count=1)[0]) if size >= HEADER.itemsize else -1
        if seats < 0 or size != HEADER.itemsize + seats * SEAT.itemsize:
            raise RealGpuError(f"{path}: is no board")
        return cls(path, memory, owner=False)

    @property
    def start_ns(self) -> int:
        """CLOCK_MONOTONIC of time 0; 0 before the run begins."""
        return int(self.header["start_ns"][0])

    def close(self) -> None:
        """Unmap it; its maker also removes the file."""
        del self.header, self.seats
        self._memory.close()
        if self._owner:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
