"""Where fetched traces are kept: a folder each, complete and verified."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from traces.errors import TraceError
from traces.public.attribution import write_attribution
from traces.public.catalog import find_public_trace, public_traces
from traces.public.download import download
from traces.public.entry import PublicFile, PublicTrace
from traces.readers.source import Progress

FOLDER_VARIABLE: Final = "DILU_TRACES"
"""The environment variable that names the folder of fetched traces."""


def default_folder() -> Path:
    """Return the folder of fetched traces: what `DILU_TRACES` names, or one in the user's cache."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).expanduser()
    import pooch  # type: ignore[import-untyped]  # slow to import, and seldom needed

    return Path(pooch.os_cache("dilu-lab"))


def local_path(trace: PublicTrace | str, folder: Path | str | None = None) -> Path | None:
    """Return the folder of a trace that is there, complete and with the right checksums; `None` if it is not.

    A trace whose files are got by hand and have no known checksums cannot be told complete: `None`.

    Parameters
    ----------
    trace
        The trace or its name.
    folder
        Where fetched traces are kept; `default_folder()` if not given.

    Raises
    ------
    TraceError
        If there is no trace of this name.
    """
    trace = _known(trace)
    place = _place(trace, folder)
    try:
        is_complete = all(_is_there(place / file.name, file) for file in trace.files)
    except TraceError:
        return None
    return place if trace.files and is_complete else None


def fetch(
    trace: PublicTrace | str, folder: Path | str | None = None, *, progress: Progress | None = None
) -> Path:
    """Download what is missing of a public trace, and verify all of it.

    Files that are there are kept: nothing is downloaded twice, and nothing is overwritten. A file that comes
    whole and with the right checksum gets its name, any other leaves nothing; the next fetch takes up what
    failed or was stopped. `ATTRIBUTION.txt` beside the files says whose they are.

    Parameters
    ----------
    trace
        The trace or its name; one of your own is fetched as well.
    folder
        Where fetched traces are kept, each in a folder of its name; `default_folder()` if not given.
    progress
        Told how many bytes of the trace are there and how many it has, 0 if that is not known.

    Returns
    -------
    The trace's folder.

    Raises
    ------
    TraceError
        If there is no trace of this name, it or one of its files has to be got by hand, a file is there with
        another checksum, or one cannot be downloaded or saved; it says what to do.
    """
    trace = _known(trace)
    place = _place(trace, folder)
    if not trace.files:
        raise TraceError(f"has to be got by hand: {trace.by_hand} ({trace.origin})", path=place)
    missing = [file for file in trace.files if not _is_there(place / file.name, file)]
    if missing and trace.by_hand is not None:
        raise TraceError(
            f"has to be got by hand: {trace.by_hand} ({trace.origin}); "
            f"the SHA-256 of what is saved here is {missing[0].sha256}",
            path=place / missing[0].name,
        )
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TraceError(f"cannot be made: {error.strerror or error}", path=place) from None
    write_attribution(trace, place)
    there = [place / file.name for file in trace.files if file not in missing]
    told = _Told(sum(path.stat().st_size for path in there), trace.size_bytes or 0, progress)
    download(trace, missing, place, told.received)
    return place


class _Told:
    """Adds up what came, for whom wants to know."""

    def __init__(self, there: int, total: int, progress: Progress | None) -> None:
        self._there = there
        self._total = total
        self._progress = progress
        self.received(0)

    def received(self, length: int) -> None:
        self._there += length
        if self._progress is not None:
            self._progress(self._there, self._total)


def _known(trace: PublicTrace | str) -> PublicTrace:
    return find_public_trace(trace) if isinstance(trace, str) else trace


def _place(trace: PublicTrace, folder: Path | str | None) -> Path:
    return (default_folder() if folder is None else Path(folder)).absolute() / trace.name


def _is_there(path: Path, file: PublicFile) -> bool:
    """Whether a file is there as the list says; `TraceError` if something else is."""
    if not os.path.lexists(path):
        return False
    if not path.is_file():
        raise TraceError("is not a regular file; move it away", path=path)
    try:
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise TraceError(f"cannot be read: {error.strerror or error}", path=path) from None
    if sha256 != file.sha256:
        raise TraceError(
            f"found SHA-256 {sha256}, allowed is {file.sha256}; move the file away and fetch again", path=path
        )
    return True


def locate(path: Path | str, folder: Path | str | None = None) -> Path:
    """Return where a trace lies that is named by its path, or as a public one that was fetched.

    Parameters
    ----------
    path
        A path; or the name of a public trace, or `NAME/FILE` for a file of one. What is there goes before a
        public trace of the same name.
    folder
        Where fetched traces are kept; `default_folder()` if not given.

    Raises
    ------
    TraceError
        If it is the name of a public trace that is not here.
    """
    path = Path(path)
    name = path.parts[0] if path.parts else ""
    if path.exists() or not any(name == trace.name for trace in public_traces()):
        return path
    place = local_path(name, folder)
    if place is None:
        if find_public_trace(name).by_hand is None:
            raise TraceError(f"is not fetched; `dilu traces fetch {name}` gets it", path=path)
        raise TraceError(f"has to be got by hand; `dilu traces list {name}` says how", path=path)
    return place.joinpath(*path.parts[1:])
