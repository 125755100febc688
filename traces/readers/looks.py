"""What a file or folder looks like from outside, by its first bytes or names: what formats are told by."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from traces.errors import TraceError
from traces.readers.source import HEAD, head, opened
from traces.readers.tables import MOST_COLUMNS, PARQUET_MAGIC, Table

MOST_NAMES: Final = 10_000
"""Of a folder; the pools of ServeGen, which have the most files, have up to some 2,000."""

_BYTE_ORDER = "\ufeff"
_HEAD_OF_ARCHIVE: Final = 2**20  # bytes, unpacked
_OTHER_PACKINGS: Final = {
    b"\xfd7zXZ\0": "xz",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"Rar!\x1a\x07": "rar",
    b"7z\xbc\xaf\x27\x1c": "7z",
}


@dataclass(frozen=True, slots=True)
class Look:
    """What a file or folder looks like from outside.

    Attributes
    ----------
    kind
        A `folder`, a `tar` archive, a `parquet` table, or `text` (which may be packed).
    names
        Entries of the folder, first members of the archive, or columns of the table or of a first line as
        CSV.
    first_line
        Of text: the first line that is not empty, as far as it stands in the first bytes.
    """

    kind: Literal["folder", "tar", "parquet", "text"]
    names: frozenset[str] = frozenset()
    first_line: str = ""

    def parted_by(self, mark: str) -> Look:
        """Return the look of a text whose columns are parted by another mark than a comma."""
        names = (name.strip().strip('"') for name in self.first_line.split(mark, MOST_COLUMNS))
        return Look(self.kind, frozenset(names), self.first_line)


def look_at(path: Path) -> Look:
    """Look at a file or folder: at its first bytes alone, however large it is.

    Raises
    ------
    TraceError
        If it is not there, cannot be read, is empty, damaged or packed in an unknown way, is neither a file
        nor a folder, or is a folder of more than `MOST_NAMES` entries.
    """
    try:
        if path.is_dir():
            return Look("folder", _entries(path))
    except OSError as error:
        raise TraceError(f"cannot be read: {error.strerror}", path=path) from None
    start = head(path)
    if start.startswith(PARQUET_MAGIC):
        return Look("parquet", frozenset(Table(path, required=()).columns))
    if _is_tar(start):
        return Look("tar", _first_members(path))
    for magic, packing in _OTHER_PACKINGS.items():
        if start.startswith(magic):
            raise TraceError(f"is packed as {packing}; unpack it, or pack it as gzip or zstd", path=path)
    text = start.decode(errors="backslashreplace").removeprefix(_BYTE_ORDER).lstrip()
    if not text and len(start) < HEAD:
        raise TraceError("the file is empty", path=path)
    first_line = text.partition("\n")[0].rstrip("\r")
    return Look("text", first_line=first_line).parted_by(",")


def _entries(folder: Path) -> frozenset[str]:
    names = frozenset(entry.name for entry in islice(folder.iterdir(), MOST_NAMES + 1))
    if len(names) > MOST_NAMES:
        raise TraceError(f"holds more than {MOST_NAMES} files; name one", path=folder)
    return names


def _is_tar(start: bytes) -> bool:
    """Whether bytes begin with the header of a member, which has a checksum."""
    try:
        tarfile.TarInfo.frombuf(start[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


def _first_members(path: Path) -> frozenset[str]:
    """Return the names in the first part of an archive; whether it is whole is for its reader to say."""
    with opened(path) as stream:
        start = stream.read(_HEAD_OF_ARCHIVE)
    names: set[str] = set()
    try:
        with tarfile.open(fileobj=BytesIO(start), mode="r|") as archive:
            for member in archive:
                names.add(member.name)
    except (tarfile.TarError, ValueError, RecursionError, OverflowError):  # where the part ends
        pass
    return frozenset(names)
