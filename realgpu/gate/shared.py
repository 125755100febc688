"""The file that controller, gates and workers share: created, attached, read and written.

A store is one aligned store of 8 bytes, so every reader sees the old number or the new one. What the gate
counts is never written here.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import platform
import secrets
import stat
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from realgpu.gate.errors import GateError
from realgpu.gate.layout import (
    ABI_VERSION,
    DEFAULT_DEADLINE_NS,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    OPEN,
    SLOT,
    SLOT_BYTES,
    UNSUPERVISED,
    CostModel,
    Mode,
    file_bytes,
)

SHARED_MEMORY = Path("/dev/shm")
DEFAULT_PERIOD_NS = 5_000_000
"""Time between two ticks of the controller (Dilu, section 3.4: 5 ms)."""

_NAME_PREFIX = "dilu-gate-"
_LARGEST = 2**64 - 1
_HEADER_WORDS = {field.name: field.offset // 8 for field in HEADER}
_SLOT_WORDS = {field.name: field.offset // 8 for field in SLOT}
_SLOT_WRITERS = {field.name: field.writer for field in SLOT}
_FUTEX_CALLS = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221}
_FUTEX_WAKE = 1


class Slot:
    """One worker's part of the file; fields are those of `layout.SLOT`."""

    def __init__(self, words: memoryview) -> None:
        self.words = words

    def read(self, field: str) -> int:
        """Return the present value of a field."""
        return int(self.words[_word(_SLOT_WORDS, field)])

    def write(self, field: str, value: int) -> None:
        """Store a field of the controller or of the worker.

        Raises
        ------
        GateError
            If there is no such field, if it is the gate's, or if the value does not fit in 64 bits.
        """
        word = _word(_SLOT_WORDS, field)
        if _SLOT_WRITERS[field] == "gate":
            raise GateError(f"{field}: only the gate writes it")
        if not 0 <= value <= _LARGEST:
            raise GateError(f"{field}: found {value!r}, allowed are 0 to 2^64 - 1")
        self.words[word] = value

    @property
    def tokens(self) -> int:
        """What is left in the bucket as of the last refill; below 0 it is in debt. Unit: cost."""
        return self.read("granted") - self.read("spent")

    def set_rate(self, rate: float | None, burst: float) -> None:
        """Set how fast the bucket fills, in cost a second (`None`: without limit), and what it holds.

        The gate learns of it at its next look; `GateFile.announce` wakes who waits.

        Raises
        ------
        GateError
            If one of them is negative, not finite or 2^63 or more.
        """
        for name, value in (("rate", 0.0 if rate is None else rate), ("burst", burst)):
            if not 0 <= value < 2.0**63:  # false for NaN as well
                raise GateError(f"{name}: found {value!r}, allowed are 0 up to 2^63 cost units")
        self.write("burst", round(burst))
        self.write("rate", OPEN if rate is None else round(rate))

    def set_mode(self, mode: Mode, cost_model: CostModel = CostModel.BLOCKS) -> None:
        """Set what a launch meets, and what it costs."""
        self.write("cost_model", int(cost_model))
        self.write("mode", int(mode))


class GateFile:
    """The mapped file. A context manager: leaving it unmaps, and unlinks what was created here.

    Attributes
    ----------
    path
        Where it is, for `GATE_FILE`.
    slots
        One a worker.
    note
        Why the file is not in shared memory proper, `None` if it is.
    """

    def __init__(self, path: Path, descriptor: int, note: str | None, *, owned: bool) -> None:
        self.path = path
        self.note = note
        self._map = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        self._words = memoryview(self._map).cast("Q")
        self.slots: Sequence[Slot] = ()
        self._unlink = weakref.finalize(self, _unlink, path, os.getpid()) if owned else None

    @classmethod
    def create(cls, slots: int, *, folder: Path | None = None, period_ns: int = DEFAULT_PERIOD_NS) -> Self:
        """Create a file that only this user may open, every slot off with an open rate.

        Without `folder` it lies in /dev/shm, or, where that cannot be written, in the folder for temporary
        files; `note` then says so.

        Raises
        ------
        GateError
            If it cannot be created, or `slots` is not positive.
        """
        if slots < 1:
            raise GateError(f"slots: found {slots!r}, allowed are 1 and more")
        if sys.byteorder != "little":
            raise GateError("the gate needs a little-endian machine")
        path, descriptor, note = _new_file(folder, file_bytes(slots))
        try:
            file = cls(path, descriptor, note, owned=True)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(descriptor)
        first = {
            "abi_version": ABI_VERSION,
            "file_bytes": file_bytes(slots),
            "header_bytes": HEADER_BYTES,
            "slot_bytes": SLOT_BYTES,
            "slot_count": slots,
            "creator_pid": os.getpid(),
            "creator_start": _start_of(os.getpid()) or 0,
            "period_ns": period_ns,
        }
        for name, value in first.items():
            file._words[_HEADER_WORDS[name]] = value
        file._words[_HEADER_WORDS["magic"]] = MAGIC
        file._cut_slots(slots)
        for slot in file.slots:
            slot.write("rate", OPEN)
            slot.write("deadline_ns", DEFAULT_DEADLINE_NS)
        return file

    @classmethod
    def attach(cls, path: Path) -> Self:
        """Map a file that somebody else created.

        Raises
        ------
        GateError
            If it cannot be opened, is no gate file, is of another version or shorter than it says.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise GateError(f"{path}: {error.strerror}; has its creator ended?") from None
        try:
            size = os.fstat(descriptor).st_size
            if size < HEADER_BYTES or size % 8:
                raise GateError(f"{path}: is not a gate file, {size} bytes are no whole header and slots")
            file = cls(path, descriptor, None, owned=False)
        finally:
            os.close(descriptor)
        slots = file.read("slot_count")
        found = (file.read("abi_version"), file.read("header_bytes"), file.read("slot_bytes"))
        fault = None
        if file.read("magic") != MAGIC:
            fault = "is not a gate file, or not yet complete: it does not begin with DILUGATE"
        elif found != (ABI_VERSION, HEADER_BYTES, SLOT_BYTES):
            fault = f"is of version {found[0]}, this is version {ABI_VERSION}; create it anew"
        elif slots < 1 or size < file_bytes(slots):
            fault = f"has {size} bytes, too few for the {slots} slots it says"
        if fault is not None:
            file.close()
            raise GateError(f"{path}: {fault}")
        file._cut_slots(slots)
        return file

    def read(self, field: str) -> int:
        """Return the present value of a field of `layout.HEADER`."""
        return int(self._words[_word(_HEADER_WORDS, field)])

    def beat(self, now_ns: int | None = None) -> None:
        """Store the heartbeat, by default the present time: the controller lives."""
        self._words[_HEADER_WORDS["heartbeat_ns"]] = time.monotonic_ns() if now_ns is None else now_ns

    def unsupervised(self) -> None:
        """Say that no controller is to be waited for: rates stand as they are written."""
        self.beat(UNSUPERVISED)

    def announce(self) -> None:
        """Tell every gate that rates have changed: launches that wait look again at once."""
        epoch = _HEADER_WORDS["epoch"]
        self._words[epoch] = (self._words[epoch] + 1) & _LARGEST
        call = _FUTEX_CALLS.get(platform.machine())
        if call is not None:  # elsewhere they look again when their sleep is over
            word = ctypes.c_uint32.from_buffer(self._map, epoch * 8)
            _libc().syscall(call, ctypes.byref(word), _FUTEX_WAKE, 2**31 - 1, None, None, 0)

    def close(self) -> None:
        """Unmap, and unlink if it was created here. May be called again."""
        for slot in self.slots:
            slot.words.release()
        self.slots = ()
        self._words.release()
        self._map.close()
        if self._unlink is not None:
            self._unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _cut_slots(self, slots: int) -> None:
        starts = range(HEADER_BYTES // 8, file_bytes(slots) // 8, SLOT_BYTES // 8)
        self.slots = tuple(Slot(self._words[start : start + SLOT_BYTES // 8]) for start in starts)


def remove_stale(folder: Path = SHARED_MEMORY) -> tuple[Path, ...]:
    """Remove gate files of this user whose creator no longer runs, and return them.

    A process that was killed leaves its file behind. A later process of the same id does not protect it: when
    the creator started is in the file.
    """
    removed = []
    for path in sorted(folder.glob(f"{_NAME_PREFIX}*")):
        pid = path.name.removeprefix(_NAME_PREFIX).split("-")[0]
        with contextlib.suppress(OSError):
            status = path.lstat()
            ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid()
            if ours and pid.isdecimal() and not _lives(int(pid), path):
                path.unlink()
                removed.append(path)
    return tuple(removed)


def _lives(pid: int, path: Path) -> bool:
    """Return whether the process that created the file still runs."""
    start = _start_of(pid)
    if start is None:
        return False
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return True  # being created by a process of that id
    words = memoryview(header).cast("Q")
    if words[_HEADER_WORDS["magic"]] != MAGIC:
        return True
    return bool(words[_HEADER_WORDS["creator_start"]] == start)


def _start_of(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; `None` if there is none."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(status.rpartition(")")[2].split()[19])


def _new_file(folder: Path | None, size: int) -> tuple[Path, int, str | None]:
    """Create the file in the first folder that takes it, its room reserved."""
    folders = [SHARED_MEMORY, Path(tempfile.gettempdir())] if folder is None else [folder]
    faults: list[str] = []
    for place in folders:
        path = place / f"{_NAME_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            faults.append(f"{place}: {error.strerror}")
            continue
        try:
            os.posix_fallocate(
                descriptor, 0, size
            )  # a full file system is to fail here, not by a signal later
        except OSError as error:
            os.close(descriptor)
            path.unlink()
            faults.append(f"{place}: {error.strerror}")
            continue
        note = f"the gate file lies in {place} since {'; '.join(faults)}" if faults else None
        return path, descriptor, note
    raise GateError(f"no gate file can be created ({'; '.join(faults)}); name a folder that can be written")


def _unlink(path: Path, creator: int) -> None:
    """Remove the file, unless this is a forked child of its creator."""
    if os.getpid() == creator:
        path.unlink(missing_ok=True)


def _word(words: dict[str, int], field: str) -> int:
    """Return the place of a field."""
    if field not in words:
        raise GateError(f"found no field {field!r}, allowed are {', '.join(words)}")
    return words[field]


def _libc() -> ctypes.CDLL:
    """Return the C library of this process."""
    return ctypes.CDLL(None, use_errno=True)
