"""The bytes of a trace file: plain, gzip or zstd by their content, in whole lines, in bounded memory."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
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

MOST_EXPANSION: Final = 300
"""Counts of idle functions shrink 100-fold; what expands further is no trace."""

EXPANSION_FROM: Final = 256 * 2**20
"""Up to this many bytes anything may expand."""

_GZIP, _ZSTD, _BYTE_ORDER = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xef\xbb\xbf"
_LONE_RETURN = re.compile(rb"\r(?!\n)")
_ZSTD_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")  # what pzstd begins with


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
    has_text = False
    with opened(path, progress=progress) as stream:
        rest = stream.read(len(_BYTE_ORDER)).removeprefix(_BYTE_ORDER)
        while chunk := stream.read(BLOCK):
            data = rest + chunk
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            if end:
                block = _checked(Block(line, data[:end]), path)
                has_text = has_text or not block.data.isspace()
                yield block
                line += block.data.count(b"\n")
            if len(rest) > LONGEST_LINE:
                raise TraceError(
                    f"is longer than {LONGEST_LINE} bytes, which no trace has", path=path, line=line
                )
    if rest:
        has_text = has_text or not rest.isspace()
        yield _checked(Block(line, rest), path)
    if not has_text:
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
            raise TraceError(f"is longer than {MOST_TEXT} bytes, which no such file is", path=path)
        parts.append(block.data)
    return b"".join(parts).decode()


def head(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked: what its format is recognised by."""
    with opened(path) as stream:
        return stream.read(HEAD)


def identity(path: Path) -> dict[str, str]:
    """Return a file's name and SHA-256, for the provenance of what was read from it."""
    with _regular_file(path) as file:
        return {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


@contextmanager
def opened(path: Path, *, progress: Progress | None = None) -> Iterator[BinaryIO]:
    """Open a regular file for reading what it says, unpacked if it is gzip or zstd.

    A read returns as many bytes as asked for unless the end comes first.

    Raises
    ------
    TraceError
        If there is no such file, it is something else than a file, or may not be read; while reading, what
        `blocks` says of damage and expansion.
    """
    with _regular_file(path) as file:
        yield _Unpacked(file, path, progress)  # type: ignore[misc]  # of a BinaryIO, no more than read is used


def check_expansion(unpacked: int, size: int, path: Path) -> None:
    """Refuse a file of `size` bytes that has become more bytes than a trace does."""
    if unpacked > max(EXPANSION_FROM, MOST_EXPANSION * size):
        raise TraceError(
            f"unpacks to more than {MOST_EXPANSION} times its size, which no trace does", path=path
        )


def _regular_file(path: Path) -> BufferedReader:
    """Open what is a file and no pipe, device or folder: those may never end, or never begin."""
    try:
        is_regular = stat.S_ISREG(path.stat().st_mode)
        file = path.open("rb") if is_regular else None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = error.strerror if isinstance(error, OSError) else error
        raise TraceError(f"cannot be read: {reason}", path=path) from None
    if file is None:
        raise TraceError("is not a regular file", path=path)
    return file


class _Unpacked:
    """A stream of unpacked bytes that watches how far they expand."""

    def __init__(self, file: BinaryIO, path: Path, progress: Progress | None) -> None:
        self._file = file
        self._path = path
        self._progress = progress
        self._size = os.fstat(file.fileno()).st_size
        self._unpacked = 0
        magic = file.read(4)
        file.seek(0)
        self._stream: BinaryIO | gzip.GzipFile | pa.CompressedInputStream = file
        if magic.startswith(_GZIP):
            self._stream = gzip.GzipFile(fileobj=file)
        elif magic == _ZSTD or _ZSTD_SKIPPABLE.match(magic):
            self._stream = pa.CompressedInputStream(file, "zstd")
        self._is_packed = self._stream is not file

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        try:
            data: bytes = self._stream.read(size)
        except (EOFError, zlib.error, OSError) as error:  # pyarrow's errors of damage are OSErrors too
            reason = " ".join(str(error).split()) or type(error).__name__
            fault = "cannot be unpacked, it is damaged or cut off" if self._is_packed else "cannot be read"
            raise TraceError(f"{fault} ({reason})", path=self._path) from None
        self._unpacked += len(data)
        check_expansion(self._unpacked, self._size, self._path)
        if self._progress is not None:
            self._progress(min(self._file.tell(), self._size) if data else self._size, self._size)
        return data


def _checked(block: Block, path: Path) -> Block:
    """Refuse what is no UTF-8 text, or ends a line with a carriage return alone."""
    fault, is_text = -1, False
    if not block.data.isascii():
        try:
            block.data.decode()
        except UnicodeDecodeError as error:
            fault = error.start
    if fault < 0:
        fault = block.data.find(b"\0")
    if fault < 0 and b"\r" in block.data and (lone := _LONE_RETURN.search(block.data)):
        fault, is_text = lone.start(), True
    if fault >= 0:
        line = block.first_line + block.data.count(b"\n", 0, fault)
        if is_text:
            raise TraceError("found a carriage return inside a line", path=path, line=line)
        raise TraceError(f"found byte 0x{block.data[fault]:02x}, allowed is UTF-8 text", path=path, line=line)
    return block
