"""Which files a day of the Azure Functions Trace 2019 consists of, and which days follow it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

from traces.errors import TraceError, shown
from traces.readers.source import Progress
from traces.readers.tables import Table

SUFFIXES: Final = (".csv", ".csv.gz", ".csv.zst", ".parquet")

# The text of an invocation file's name that the names of its companions replace; the publisher's names first.
_DURATIONS: Final = (
    ("invocations_per_function_md", "function_durations_percentiles"),
    ("invocations", "durations"),
)
_MEMORY: Final = (("invocations_per_function_md", "app_memory_percentiles"), ("invocations", "memory"))
_DAY: Final = re.compile(r"(?<![0-9A-Za-z])d([0-9]{2})(?![0-9A-Za-z])")


@dataclass(frozen=True, slots=True)
class DayFiles:
    """The files of consecutive days; durations and memory of those days that have them.

    Attributes
    ----------
    chosen_by
        By which rule the first day was chosen.
    """

    invocations: tuple[Path, ...]
    durations: tuple[Path, ...]
    memory: tuple[Path, ...]
    chosen_by: str

    def __iter__(self) -> Iterator[Path]:
        return iter((*self.invocations, *self.durations, *self.memory))

    def progress_of(self, whole: Progress | None) -> Callable[[Path], Progress | None]:
        """Return what to tell of each file, so that `whole` is told bytes of all files, read one by one."""
        sizes = [file.stat().st_size if file.is_file() else 0 for file in self]
        before = dict(zip(self, accumulate(sizes, initial=0), strict=False))
        size = dict(zip(self, sizes, strict=True))

        def of_file(file: Path) -> Progress | None:
            if whole is None:
                return None
            # a file may count in something else than bytes, such as rows
            return lambda done, of: whole(before[file] + size[file] * done // max(of, 1), sum(sizes))

        return of_file


def find_day_files(path: Path, sample: str | None, days: int) -> DayFiles:
    """Find the files of `days` days, from the one that a path and a sample choose.

    Raises
    ------
    TraceError
        If a folder holds no file of invocations, or a day is not there.
    """
    first, chosen_by = _first_day(path, sample, days)
    invocations = _from_day(first, days)
    durations, memory = (
        tuple(file for day in invocations if (file := _companion(day, names)) is not None)
        for names in (_DURATIONS, _MEMORY)
    )
    return DayFiles(invocations, durations, memory, chosen_by)


def _first_day(path: Path, sample: str | None, days: int) -> tuple[Path, str]:
    if not path.is_dir():
        return path, "named by the caller"
    try:
        # what is no file, such as a pipe, is nothing to read
        found = sorted(file for file in path.iterdir() if _holds_invocations(file.name) and file.is_file())
    except OSError as error:
        raise TraceError(f"cannot be read: {error.strerror}", path=path) from None
    if not found:
        raise TraceError(f"holds no file named *invocations* and {', '.join(SUFFIXES)}", path=path)
    if sample is not None:
        named = [file for file in found if sample in re.split(r"[-_.]", file.name)]
        if len(named) != 1:
            names = ", ".join(file.name for file in found)
            raise TraceError(
                f"found {shown(sample)}, which names {len(named)} of {names}", path=path, field="sample"
            )
        return named[0], f"sample {sample}"
    if len(found) == 1:
        return found[0], "only invocation file of the directory"
    if days > 1:
        return next(
            (file for file in found if _DAY.search(file.name)), found[0]
        ), "first day of the directory"
    return max(found, key=_functions), "most functions in the directory"


def _holds_invocations(name: str) -> bool:
    return "invocations" in name and name.endswith(SUFFIXES)


def _functions(file: Path) -> int:
    rows = Table(file, required=("HashFunction",)).batches(["HashFunction"])
    return sum(len(batch) for batch in rows)


def _from_day(first: Path, days: int) -> tuple[Path, ...]:
    if days == 1:
        return (first,)
    found = list(_DAY.finditer(first.name))
    if len(found) != 1:
        raise TraceError(f"found {days}, but the name of the file has no day (d01)", path=first, field="days")
    start, end = found[0].span()
    files = [first]
    for day in range(int(found[0][1]) + 1, int(found[0][1]) + days):
        name = f"{first.name[:start]}d{day:02d}{first.name[end:]}"
        following = _with_any_suffix(first.with_name(name))
        if following is None:
            raise TraceError(f"found {days}, but there is no {name}", path=first.parent, field="days")
        files.append(following)
    return tuple(files)


def _companion(invocations: Path, names: tuple[tuple[str, str], ...]) -> Path | None:
    for own, other in names:
        if own in invocations.name:
            found = _with_any_suffix(invocations.with_name(invocations.name.replace(own, other)))
            if found is not None:
                return found
    return None


def _with_any_suffix(file: Path) -> Path | None:
    """Return a file that is there: this one, or the same packed or stored in another way."""
    own = next(
        (suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if file.name.endswith(suffix)), ""
    )
    stem = file.name.removesuffix(own)
    candidates = [file, *(file.with_name(stem + suffix) for suffix in SUFFIXES if own)]
    return next((candidate for candidate in candidates if candidate.is_file()), None)
