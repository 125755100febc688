"""The gate for work that is no kernel launch: a worker on the CPU charges its cost itself.

`NativeGate` is the compiled gate, called through ctypes: several threads and processes may share a slot.
`PythonGate` does the same arithmetic on the same file without a compiler. It is coarse, it wakes up when its
sleep is over, and it takes its slot for itself alone: its counters are read and written in two steps.
"""

from __future__ import annotations

import ctypes
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from realgpu.gate.bucket import Bucket
from realgpu.gate.errors import GateError
from realgpu.gate.layout import LARGEST_COST, OPEN, SLOT, STALE_NS, UNSUPERVISED, GateState, Mode
from realgpu.gate.shared import GateFile

_LONGEST_NAP_NS = 1_000_000
_WORDS = {field.name: field.offset // 8 for field in SLOT}


class Gate(Protocol):
    """What charges a cost to a slot."""

    def charge(self, cost: int) -> None:
        """Charge it, and return when the launch may go."""

    def close(self) -> None:
        """Leave the slot."""


class NativeGate:
    """The compiled gate on one slot. A context manager.

    Parameters
    ----------
    library
        What `build_gate` returned.
    path, slot
        The file and the place in it.

    Raises
    ------
    GateError
        If the library cannot be loaded or the slot not be mapped.
    """

    def __init__(self, library: Path, path: Path, slot: int) -> None:
        self._library = load_library(library)
        reason = ctypes.c_char_p()
        self._handle: int | None = self._library.gate_attach(str(path).encode(), slot, ctypes.byref(reason))
        if self._handle is None:
            raise GateError(f"{path}: slot {slot}: {(reason.value or b'cannot be mapped').decode()}")

    def charge(self, cost: int) -> None:
        """Charge a cost and wait as a launch would; other Python threads go on meanwhile."""
        if self._handle is None:
            raise GateError("the gate is closed, no cost can be charged")
        self._library.gate_charge(self._handle, _checked(cost))

    def close(self) -> None:
        """Unmap; no thread may be charging. May be called again."""
        if self._handle is not None:
            self._library.gate_detach(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PythonGate:
    """The same in Python, for hosts without a compiler. A context manager.

    Raises
    ------
    GateError
        If the file does not fit or has no such slot.
    """

    def __init__(self, path: Path, slot: int) -> None:
        self._file = GateFile.attach(path)
        if not 0 <= slot < len(self._file.slots):
            slots = len(self._file.slots)
            self._file.close()
            raise GateError(f"{path}: slot: found {slot}, allowed are 0 to {slots - 1}")
        self._slot = self._file.slots[slot]
        self._lock = threading.Lock()
        if self._slot.read("state") == GateState.ABSENT:
            self._store("state", int(GateState.MAPPED))

    def charge(self, cost: int) -> None:
        """Charge a cost and wait as a launch would."""
        cost = min(_checked(cost), LARGEST_COST)
        mode = self._slot.read("mode")
        if mode == Mode.OFF:
            return
        with self._lock:
            ticket = self._slot.read("spent")
            self._store("spent", ticket + cost)
            self._add("launches", 1)
            if mode != Mode.ENFORCE or self._slot.read("rate") == OPEN:
                self._add("granted", cost)
                return
        if not self._admits(ticket, time.monotonic_ns()):
            self._wait_for_turn(ticket, cost)

    def close(self) -> None:
        """Unmap; no thread may be charging. May be called again."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait_for_turn(self, ticket: int, cost: int) -> None:
        """Wait until the ticket is admitted, or the gate opens: then the cost is granted as well."""
        begun = now = time.monotonic_ns()
        opened, counter = False, None
        while not self._admits(ticket, now):
            counter = self._failure(begun, now)
            opened = counter is not None or self._is_unlimited()
            if opened:
                break
            due = self._bucket().due_ns(ticket)
            nap = _LONGEST_NAP_NS if due is None else min(max(due - now, 0), _LONGEST_NAP_NS)
            time.sleep(nap / 1e9)
            now = time.monotonic_ns()
        with self._lock:
            self._add("blocked", 1)
            self._add("stall_ns", now - begun)
            if opened:
                self._add("granted", cost)
            if counter is not None:
                self._add(counter, 1)

    def _is_unlimited(self) -> bool:
        """Return whether nobody has to wait any more."""
        return self._slot.read("mode") != Mode.ENFORCE or self._slot.read("rate") == OPEN

    def _failure(self, begun_ns: int, now_ns: int) -> str | None:
        """Return the counter of what opens the gate though it is to be shut, `None` for nothing."""
        heartbeat = self._file.read("heartbeat_ns")
        if self._is_unlimited():
            return None
        if heartbeat != UNSUPERVISED and now_ns > heartbeat + STALE_NS:
            return "stale_opens"
        if now_ns - begun_ns >= self._slot.read("deadline_ns"):
            return "deadline_opens"
        return None

    def _admits(self, ticket: int, now_ns: int) -> bool:
        """Fill the bucket, and say whether the ticket may pass."""
        with self._lock:
            granted, last = self._bucket().refilled(now_ns)
            self._store("granted", granted)
            self._store("last_refill_ns", last)
            return self._bucket().admits(ticket)

    def _bucket(self) -> Bucket:
        fields = ("rate", "burst", "spent", "granted", "last_refill_ns")
        return Bucket(*(self._slot.read(field) for field in fields))

    def _store(self, field: str, value: int) -> None:
        self._slot.words[_WORDS[field]] = value

    def _add(self, field: str, amount: int) -> None:
        self._store(field, self._slot.read(field) + amount)


def load_library(path: Path) -> ctypes.CDLL:
    """Load the compiled gate and declare what it exports for ctypes.

    Raises
    ------
    GateError
        If it cannot be loaded.
    """
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise GateError(f"{path}: the gate cannot be loaded ({error}); build it anew") from None
    library.gate_attach.argtypes = [ctypes.c_char_p, ctypes.c_uint64, ctypes.POINTER(ctypes.c_char_p)]
    library.gate_attach.restype = ctypes.c_void_p
    library.gate_detach.argtypes = [ctypes.c_void_p]
    library.gate_detach.restype = None
    library.gate_charge.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    library.gate_charge.restype = None
    library.gate_times_save.argtypes = [ctypes.c_char_p]
    library.gate_times_save.restype = ctypes.c_int
    library.gate_field.argtypes = [
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.c_char_p),
        ctypes.POINTER(ctypes.c_size_t),
    ]
    library.gate_field.restype = ctypes.c_bool
    return library


def save_times(library: Path, path: Path) -> int:
    """Write the kernel times that this process has calibrated, and return how many there are.

    The library must be the one that is preloaded here.

    Raises
    ------
    GateError
        If the file cannot be written.
    """
    lines = int(load_library(library).gate_times_save(str(path).encode()))
    if lines < 0:
        raise GateError(f"{path}: kernel times cannot be written (error {-lines})")
    return lines


def _checked(cost: int) -> int:
    if cost < 1:
        raise GateError(f"cost: found {cost!r}, allowed are 1 and more")
    return min(cost, LARGEST_COST)
