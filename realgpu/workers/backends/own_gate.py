"""The launch gate of a worker's own process, as the worker reads it: what work costs, and whose turn it is.

Launches are charged by the library that is preloaded; here its counters are read, and nothing else.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Self

from realgpu.errors import RealGpuError
from realgpu.gate import GateFile

_LOCK: Final = "hhqqi0q"
"""struct flock of Linux on 64 bits: type, whence, start, length, pid (fcntl(2))."""

_LIBRARIES: Final = re.compile(r"libcuda|libcudart|gate-[0-9a-f]+\.so")


class Charged(NamedTuple):
    """What was charged so far."""

    cost: int
    launches: int


class OwnGate:
    """The slot that `GATE_FILE` and `GATE_SLOT` name.

    Raises
    ------
    RealGpuError, GateError
        If there is no such file or slot.
    """

    def __init__(self, path: Path, slot: int) -> None:
        self._path = path
        self._file = GateFile.attach(path)
        if slot >= len(self._file.slots):
            raise RealGpuError(f"GATE_SLOT: found {slot}, allowed are 0 to {len(self._file.slots) - 1}")
        self._slot = self._file.slots[slot]

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self | None:
        """Return the gate that an environment names; `None` if it names none."""
        file, slot = environment.get("GATE_FILE"), environment.get("GATE_SLOT", "")
        if file is None:
            return None
        if not (slot.isascii() and slot.isdecimal()):
            raise RealGpuError(f"GATE_SLOT: found {slot!r}, allowed is a number from 0")
        return cls(Path(file), int(slot))

    def charged(self) -> Charged:
        """Return what was charged so far, to whoever sat here."""
        return Charged(self._slot.read("spent"), self._slot.read("launches"))

    @contextmanager
    def turn(self, gpu: int) -> Iterator[None]:
        """Wait until no other worker of this file has its turn on a GPU, and have one.

        The lock is byte `gpu` of the gate's file. It belongs to the descriptor that is opened here (an open
        file description lock, fcntl(2)), since those of a process go when the gate closes its own, and it
        goes with the process however that ends.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            lock = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, gpu, 1, 0)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW, lock)
            yield
        finally:
            os.close(descriptor)

    def ineffective(self) -> RealGpuError:
        """Return why nothing may have been charged: what of the driver is loaded, and what was preloaded."""
        loaded = sorted(
            {
                line.split(maxsplit=5)[5].strip()
                for line in Path("/proc/self/maps").read_text().splitlines()
                if _LIBRARIES.search(line)
            }
        )
        return RealGpuError(
            f"backend cuda: the launch gate counts nothing (mode {self._slot.read('mode')}, state "
            f"{self._slot.read('state')}); LD_PRELOAD={os.environ.get('LD_PRELOAD', '')!r}; loaded are: "
            f"{', '.join(loaded) or 'no driver and no gate'}"
        )
