"""The files of a folder or a tar archive, one after the other, in bounded memory, never unpacked to disk."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from traces.errors import TraceError, shown
from traces.readers.source import identity, opened, read_text

MOST_ENTRIES: Final = 10_000
LARGEST_ENTRY: Final = 32 * 2**20
LARGEST_ARCHIVE: Final = 512 * 2**20
"""Published pools of clients have files of up to 0.4 MB, and 12 MB in all."""

_END = 1024  # bytes of zeros that end an archive (POSIX.1-2017, pax, ustar interchange format)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file: its name without folders, what names it in messages, and its text."""

    name: str
    path: Path
    text: str


def entries(path: Path, wanted: Callable[[str], object]) -> Iterator[Entry]:
    """Read the wanted files of a folder (not of its folders), or of a tar archive, plain or packed.

    Parameters
    ----------
    wanted
        Told a file's name without folders.

    Raises
    ------
    TraceError
        If a file is no UTF-8 text or too large, there are too many, or the folder cannot be read; if the
        archive is damaged or cut off, unpacks to too much, or has a member that is no plain file or folder,
        or whose name leads out of it.
    """
    return _of_folder(path, wanted) if path.is_dir() else _of_archive(path, wanted)


def identities(path: Path, names: list[str]) -> list[dict[str, str]]:
    """Return the identity of an archive, or of the named files of a folder."""
    return [identity(path / name) for name in sorted(names)] if path.is_dir() else [identity(path)]


def _of_folder(folder: Path, wanted: Callable[[str], object]) -> Iterator[Entry]:
    try:
        names = [entry.name for entry in islice(folder.iterdir(), MOST_ENTRIES + 1)]
    except OSError as error:
        raise TraceError(f"cannot be read: {error.strerror}", path=folder) from None
    if len(names) > MOST_ENTRIES:
        raise TraceError(f"holds more than {MOST_ENTRIES} files", path=folder)
    for name in sorted(filter(wanted, names)):
        yield Entry(name, folder / name, read_text(folder / name))


def _of_archive(path: Path, wanted: Callable[[str], object]) -> Iterator[Entry]:
    with opened(path) as packed:
        stream = _Watched(packed, path)
        # tarfile lets a ValueError through here and there, of a number in a damaged header
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]  # reads only
                for count, member in enumerate(archive, start=1):
                    if count > MOST_ENTRIES:
                        raise TraceError(f"holds more than {MOST_ENTRIES} members", path=path)
                    _check_member(member, path)
                    name = PurePosixPath(member.name).name
                    if member.isreg() and wanted(name):
                        yield _entry(archive, member, path / name)
            while stream.read(2**20):
                pass
        except TraceError:
            raise
        except (tarfile.TarError, ValueError, RecursionError) as error:
            raise TraceError(f"is no tar archive, or is damaged or cut off ({error})", path=path) from None
        # tarfile takes a damaged or missing header for the end
        if stream.size < archive.offset + _END or stream.said > archive.offset:
            raise TraceError("is damaged or cut off", path=path)


def _check_member(member: tarfile.TarInfo, path: Path) -> None:
    """Refuse what an archive of a trace has no use for."""
    place = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()):
        raise TraceError("is no plain file or folder", path=path, field=f"member {shown(member.name)}")
    if place.is_absolute() or ".." in place.parts:
        raise TraceError(
            "leads out of the archive, allowed are names below it",
            path=path,
            field=f"member {shown(member.name)}",
        )


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> Entry:
    if not 0 <= member.size <= LARGEST_ENTRY:
        raise TraceError(f"has {member.size} bytes, allowed are {LARGEST_ENTRY >> 20} MiB", path=path)
    file = archive.extractfile(member)
    assert file is not None, "a plain file has a content"
    data = file.read()
    try:
        return Entry(path.name, path, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise TraceError(
            f"found byte 0x{data[error.start]:02x}, allowed is UTF-8 text",
            path=path,
            line=1 + data.count(b"\n", 0, error.start),
        ) from None


class _Watched:
    """A stream that is read up to a bound.

    Attributes
    ----------
    size
        The number of bytes read.
    said
        The number of bytes up to the last one that is not 0.
    """

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream = stream
        self._path = path
        self.size = 0
        self.said = 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; none at the end."""
        data = self._stream.read(size)
        if content := data.rstrip(b"\0"):
            self.said = self.size + len(content)
        self.size += len(data)
        if self.size > LARGEST_ARCHIVE:
            raise TraceError(
                f"unpacks to more than {LARGEST_ARCHIVE >> 20} MiB, which no such archive does",
                path=self._path,
            )
        return data
