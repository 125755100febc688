"""The bytes of a trace file: plain, gzip or zstd by their content, in whole lines, in bounded memory."""

from __future__ import annotations

import gzip
import hashlib
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa

from traces.errors import TraceError

Progress = Callable[[int, int], None]
"""Told how many bytes of a file were read, and how many it has."""

BLOCK: Final = 4 * 2**20
LONGEST_LINE: Final = 8 * 2**20
"""Lines of the formats here have up to some 10 kB: the minutes of a day, the block ids of a long prompt."""

MOST_TEXT: Final = 64 * 2**20
"""Of a file that is taken in whole."""

HEAD: Final = 64 * 2**10

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# Counts of idle functions shrink 100-fold; what expands further beyond this size is no trace.
_MOST_EXPANSION, _EXPANSION_FROM = 300, 256 * 2**20


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of UTF-8 text, the number of the first one, and what they say."""

    first_line: int
    data: bytes


def blocks(path: Path, *, progress: Progress | None = None) -> Iterator[Block]:
    """Read a text file in blocks of whole lines, a mark of byte order left out.

    Raises
    ------
    TraceError
        If the file cannot be read, is cut off or damaged, is empty, expands without end, has a line longer
        than `LONGEST_LINE`, or holds bytes that are no UTF-8 text.
    """
    line = 1
    rest = b""
    found = False
    with opened(path, progress=progress) as stream:
        for chunk in _chunks(stream, path):
            data = rest + chunk
            if line == 1 and not found:
                data = data.removeprefix(b"\xef\xbb\xbf")
            end = data.rfind(b"\n") + 1
            data, rest = data[:end], data[end:]
            if data:
                _check_text(data, path, line)
                found = found or bool(data.strip())
                yield Block(line, data)
                line += data.count(b"\n")
            if len(rest) > LONGEST_LINE:
                raise TraceError(
                    f"is longer than {LONGEST_LINE >> 20} MiB, which no trace has", path=path, line=line
                )
    if rest:
        _check_text(rest, path, line)
        found = found or bool(rest.strip())
        yield Block(line, rest)
    if not found:
        raise TraceError("the file is empty", path=path)


def read_text(path: Path) -> str:
    """Return the text of a small file whole.

    Raises
    ------
    TraceError
        As `blocks`, and if the text is longer than `MOST_TEXT`.
    """
    parts: list[bytes] = []
    size = 0
    for block in blocks(path):
        size += len(block.data)
        if size > MOST_TEXT:
            raise TraceError(f"is longer than {MOST_TEXT >> 20} MiB, which no such file is", path=path)
        parts.append(block.data)
    return b"".join(parts).decode()


def head(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked: what its format is recognised by."""
    with opened(path) as stream:
        return next(_chunks(stream, path, HEAD), b"")


def identity(path: Path) -> dict[str, str]:
    """Return a file's name and SHA-256, for the provenance of what was read from it."""
    try:
        with path.open("rb") as file:
            return {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError as error:
        raise TraceError(f"cannot be read: {error.strerror}", path=path) from None


@contextmanager
def opened(path: Path, *, progress: Progress | None = None) -> Iterator[BinaryIO]:
    """Open a regular file for reading what it says, unpacked if it is gzip or zstd.

    Raises
    ------
    TraceError
        If there is no such file, it is something else than a file, or may not be read; while reading, what
        `blocks` says of damage and expansion.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise TraceError("is not a regular file", path=path)
        file = path.open("rb")
    except OSError as error:
        raise TraceError(f"cannot be read: {error.strerror}", path=path) from None
    with file:
        yield _Unpacked(file, path, progress)  # type: ignore[misc]  # of a BinaryIO, no more than read is used


class _Unpacked:
    """A stream of unpacked bytes that watches how far they expand."""

    def __init__(self, file: BinaryIO, path: Path, progress: Progress | None) -> None:
        self._file = file
        self._path = path
        self._progress = progress
        self._size = path.stat().st_size
        self._unpacked = 0
        magic = file.read(4)
        file.seek(0)
        self._stream: BinaryIO | gzip.GzipFile | pa.CompressedInputStream = file
        if magic.startswith(_GZIP):
            self._stream = gzip.GzipFile(fileobj=file)
        elif magic == _ZSTD:
            self._stream = pa.CompressedInputStream(file, "zstd")

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; none at the end."""
        try:
            data: bytes = self._stream.read(size)
        except (EOFError, zlib.error, OSError) as error:  # pyarrow's errors of damage are OSErrors too
            reason = " ".join(str(error).split()) or type(error).__name__
            raise TraceError(
                f"cannot be unpacked, it is damaged or cut off ({reason})", path=self._path
            ) from None
        self._unpacked += len(data)
        if self._unpacked > max(_EXPANSION_FROM, _MOST_EXPANSION * self._size):
            raise TraceError(
                f"unpacks to more than {_MOST_EXPANSION} times its size, which no trace does", path=self._path
            )
        if self._progress is not None:
            self._progress(self._size if not data else min(self._file.tell(), self._size), self._size)
        return data


def _chunks(stream: BinaryIO, path: Path, size: int = BLOCK) -> Iterator[bytes]:
    while chunk := stream.read(size):
        yield chunk


def _check_text(data: bytes, path: Path, first_line: int) -> None:
    """Refuse what is no UTF-8 text, or ends a line with a carriage return alone."""
    fault = data.find(b"\0")
    if fault < 0 and not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            fault = error.start
    if fault >= 0:
        line = first_line + data.count(b"\n", 0, fault)
        raise TraceError(f"found byte 0x{data[fault]:02x}, allowed is UTF-8 text", path=path, line=line)
    if b"\r" in data and data.count(b"\r") != data.count(b"\r\n"):
        lone = next(at for at in range(len(data)) if data[at] == 13 and data[at + 1 : at + 2] != b"\n")
        line = first_line + data.count(b"\n", 0, lone)
        raise TraceError("found a carriage return inside a line", path=path, line=line)
