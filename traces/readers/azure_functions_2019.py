"""Reader of the Azure Functions Trace 2019: counts a minute, mean durations and memory of each function.

M. Shahrad et al., Serverless in the Wild: Characterizing and Optimizing the Serverless Workload at a Large
Cloud Provider, USENIX ATC 2020. Format: `AzureFunctionsDataset2019.md` of github.com/Azure/AzurePublicDataset
(data under CC BY 4.0). Row samples of it, such as those of github.com/vhive-serverless/invitro, have the same
columns in another order: columns are found by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from traces.columns import offsets_of
from traces.errors import TraceError, shown
from traces.parameters import number, whole
from traces.processes import MICROSECONDS, seconds, spread_evenly, spread_uniformly
from traces.readers.azure_averages import (
    fitted_execution_s,
    fitted_memory_bytes,
    read_execution_s,
    read_memory_bytes,
)
from traces.readers.azure_day_files import find_day_files
from traces.readers.source import Progress, identity
from traces.readers.tables import Table
from traces.streams import lot, stream
from traces.trace import Trace

Spread = Literal["even", "poisson"]
Missing = Literal["fit", "nan"]

_MINUTE_S: Final = 60
_MINUTES_A_DAY: Final = 1440
_HIGHEST_COUNT: Final = 10**9  # a minute, of one function; the whole platform's busiest minute is below it
_MOST_INVOCATIONS: Final = 10**9  # 8 GB of arrivals; one day of the whole trace has nearly as many
_LAID_AT_ONCE: Final = 2**16  # arrivals, so that the columns beside them stay in the cache


def read_azure_functions(
    path: Path | str,
    *,
    spread: Spread = "even",
    sample: str | None = None,
    days: int = 1,
    top: int | None = None,
    thin: float | None = None,
    missing: Missing = "fit",
    seed: int = 0,
    progress: Progress | None = None,
) -> Trace:
    """Read invocations with the durations and memory that stand beside them.

    The files count invocations that *finished* in each minute; they are taken as arrivals of that minute.
    Time 0 is the start of the first minute column, whichever that is, and the window ends with the last
    minute. Functions are named by `HashFunction`, which is unique over applications, and keep the order of
    the file. Attributes: `execution_s` (mean, without cold starts), `memory_bytes` (committed memory as the
    file has it: the publisher measures applications, and some samples divide their memory evenly over the
    functions; a megabyte is 2**20 bytes) and `trigger`.

    The publisher's durations and memory hold some functions and applications more than once a day; such rows
    are averaged, weighted by `Count` and `SampleCount`, which is what the publisher gives these columns for.

    Parameters
    ----------
    path
        A file of invocations, or a folder with files named `*invocations*` and `.csv`, `.csv.gz`, `.csv.zst`
        or `.parquet`.
    spread
        Where the k invocations of a minute lie. `even`: at (i + 0.5) / k of it, which puts the single
        invocations of all functions on the same half minute. `poisson`: independent and uniform; each
        function has its own stream of `seed`.
    sample
        Which file of a folder: one of the parts of its name between `_`, `-` and `.`, such as `sample500` or
        `d01`. Without it, the file with the most functions is taken (the first by name among equals), or with
        `days` the first day; the provenance says so.
    days
        How many of the publisher's consecutive days (`d01` to `d14`), from the one chosen. Functions are
        those of any day; where one is absent, it has no invocations. Averages over days are weighted as
        those in a day; the trigger is that of the first day that knows it, as many are `others` on `d01`
        alone.
    top
        Keep only so many functions, those with the most invocations: `traces.transforms.top` before arrivals
        are laid, for the days of 46,000 functions and nearly a billion invocations that fit no machine.
    thin
        Keep this fraction of the functions: `traces.transforms.thin` likewise, before `top`.
    missing
        What a function has that the durations or the memory lack, or all if there is no such file (memory of
        `d13` and `d14` was not published). `fit`: a draw from the paper's fit, of the function's or the
        application's own stream: LogNormal(-0.38, 2.36) seconds, Burr XII up to the platform's limit of 1.5
        GB. `nan`: NaN. The provenance counts them.
    seed
        Of `spread="poisson"`, `thin` and `missing="fit"`.
    progress
        Told how many bytes of all the files were read.

    Raises
    ------
    TraceError
        If a file cannot be read, is empty or damaged; a column is missing; a line is too short or too long; a
        count is not a whole number from 0; a function stands twice; the folder holds no such file or not all
        days; more than a billion invocations are left; or a parameter is not what it may be.
    """
    for field, value, choice in (("spread", spread, Spread), ("missing", missing, Missing)):
        if value not in get_args(choice):
            raise TraceError(f"found {shown(value)}, allowed are {', '.join(get_args(choice))}", field=field)
    days, seed = whole(days, "days", 1), whole(seed, "seed", 0)
    top = None if top is None else whole(top, "top", 1)
    files = find_day_files(Path(path), sample, days)
    told = files.progress_of(progress)
    is_kept = _thinning(thin, seed)
    read = [_read_day(file, is_kept, told(file)) for file in files.invocations]
    if days > 1:
        _check_whole_days(files.invocations, read)
    functions, totals = _most_invoked(read, top)
    if totals.sum() > _MOST_INVOCATIONS:
        raise TraceError(
            f"holds {totals.sum()} invocations, allowed are {_MOST_INVOCATIONS}; choose by top or thin",
            path=files.invocations[0],
        )
    apps = {function: day.apps[row] for day in read for function, row in day.rows.items()}
    execution = read_execution_s(files.durations, told)
    memory = read_memory_bytes(files.memory, told)
    execution_s, memory_bytes = execution.of(functions, apps), memory.of(functions, apps)
    lacking = {
        "execution_s": int(np.isnan(execution_s).sum()),
        "memory_bytes": int(np.isnan(memory_bytes).sum()),
    }
    if missing == "fit":
        _fill(execution_s, functions, lambda function: fitted_execution_s(function, seed))
        _fill(memory_bytes, functions, lambda function: fitted_memory_bytes(apps[function] or function, seed))
    return Trace(
        functions=tuple(functions),
        offsets=offsets_of(totals),
        arrival_s=_arrivals(functions, totals, read, spread, seed),
        duration_s=float(sum(day.minutes for day in read) * _MINUTE_S),
        attributes={
            "execution_s": execution_s,
            "memory_bytes": memory_bytes,
            "trigger": np.array(_triggers(functions, read), dtype=np.str_),
        },
        provenance={
            "source": "Azure Functions Trace 2019",
            "citation": "Shahrad et al., Serverless in the Wild, USENIX ATC 2020",
            "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
            "files": [identity(file) for file in files],
            "chosen_by": files.chosen_by,
            "first_minute": read[0].first_minute,
            "minutes": sum(day.minutes for day in read),
            "missing": {
                "rule": missing,
                **lacking,
                "days_without_durations": days - len(files.durations),
                "days_without_memory": days - len(files.memory),
            },
            "averaged_rows": {"durations": execution.repeated, "memory": memory.repeated},
            "transforms": [
                *([] if thin is None else [{"transform": "thin", "fraction": float(thin), "seed": seed}]),
                *([] if top is None else [{"transform": "top", "k": top}]),
                {"transform": "spread within the minute", "spread": spread}
                | ({"seed": seed} if spread == "poisson" else {}),
            ],
        },
    )


def _thinning(thin: float | None, seed: int) -> Callable[[str], bool]:
    """Return which functions `traces.transforms.thin` keeps."""
    if thin is None:
        return lambda function: True
    fraction = number(thin, "thin", lambda value: 0 < value <= 1, "a number above 0 and up to 1")
    return cache(lambda function: lot(seed, "thin", function) < fraction)


@dataclass(frozen=True, slots=True)
class _Day:
    """One file of invocations: of each function, the minutes that have some and how many.

    Nine of ten minutes have none, so that the counts of a whole day are tens of megabytes and not 265.
    """

    rows: dict[str, int]
    apps: list[str]
    triggers: list[str]
    offsets: NDArray[np.int64]
    minute: NDArray[np.int16]
    count: NDArray[np.int32]
    first_minute: int
    minutes: int

    def counts(self, row: int) -> NDArray[np.int32]:
        """Return int32[minutes] of one function."""
        cells = slice(int(self.offsets[row]), int(self.offsets[row + 1]))
        counts = np.zeros(self.minutes, dtype=np.int32)
        counts[self.minute[cells]] = self.count[cells]
        return counts

    def totals(self) -> NDArray[np.int64]:
        """Return the invocations of each row."""
        return np.diff(offsets_of(self.count)[self.offsets])


def _read_day(path: Path, is_kept: Callable[[str], bool], progress: Progress | None) -> _Day:
    table = Table(path, required=("HashApp", "HashFunction", "Trigger"), progress=progress)
    first_minute, minutes = _minute_columns(table)
    lines: dict[str, int] = {}
    rows: list[str] = []
    apps: list[str] = []
    triggers: list[str] = []
    cells: list[NDArray[np.int64]] = []
    minute: list[NDArray[np.int16]] = []
    count: list[NDArray[np.int32]] = []
    for batch in table.batches(["HashFunction", "HashApp", "Trigger", *minutes]):
        functions = batch.texts("HashFunction").to_pylist()
        for line, function in enumerate(functions, start=batch.first_line):
            _check_id(function, lines, path, line)
        counts = batch.whole_number_rows(minutes, most=_HIGHEST_COUNT).astype(np.int32, order="C")
        kept = np.flatnonzero([is_kept(function) for function in functions])
        counts = counts[kept]
        rows += [functions[position] for position in kept.tolist()]
        apps += batch.texts("HashApp").take(kept).to_pylist()
        triggers += batch.texts("Trigger").take(kept).to_pylist()
        cells.append(np.count_nonzero(counts, axis=1))
        has_some = np.flatnonzero(counts)
        minute.append((has_some % len(minutes)).astype(np.int16))
        count.append(counts.reshape(-1)[has_some])
    if not lines:
        raise TraceError("holds a header and no function", path=path)
    return _Day(
        rows={function: row for row, function in enumerate(rows)},
        apps=apps,
        triggers=triggers,
        offsets=offsets_of(np.concatenate(cells)),
        minute=np.concatenate(minute),
        count=np.concatenate(count),
        first_minute=first_minute,
        minutes=len(minutes),
    )


def _check_id(function: str, lines: dict[str, int], path: Path, line: int) -> None:
    """Refuse what does not name a function, or one that a line above names."""
    if not function:
        raise TraceError("found an empty id", path=path, line=line, field="HashFunction")
    if lines.setdefault(function, line) != line:
        raise TraceError(
            f"found {shown(function)} again, first on line {lines[function]}",
            path=path,
            line=line,
            field="HashFunction",
        )


def _minute_columns(table: Table) -> tuple[int, list[str]]:
    """Return the minute of the first minute column, and the names of all, which must be a run."""
    names = [name for name in table.columns if len(name) < 10 and name.isascii() and name.isdigit()]
    if not names:
        raise TraceError("holds no minute column (1, 2, ...)", path=table.path, line=table.header_line)
    first_minute, first = int(names[0]), table.columns[names[0]]
    for step, name in enumerate(names):
        if (name, table.columns[name]) != (str(first_minute + step), first + step):
            raise TraceError(
                f"found minute column {name}, allowed is an unbroken run from {first_minute}",
                path=table.path,
                line=table.header_line,
            )
    return first_minute, names


def _check_whole_days(files: Sequence[Path], read: Sequence[_Day]) -> None:
    """Refuse days that leave out minutes: one would begin before the other has ended."""
    for path, day in zip(files, read, strict=True):
        if (day.first_minute, day.minutes) != (1, _MINUTES_A_DAY):
            last = day.first_minute + day.minutes - 1
            raise TraceError(
                f"found minutes {day.first_minute} to {last}, allowed with more days than one are 1 to 1440",
                path=path,
                field="days",
            )


def _most_invoked(read: Sequence[_Day], top: int | None) -> tuple[list[str], NDArray[np.int64]]:
    """Return the functions of all days, or so many of the most invoked, and the invocations of each."""
    functions = list(dict.fromkeys(function for day in read for function in day.rows))
    position = {function: at for at, function in enumerate(functions)}
    totals = np.zeros(len(functions), dtype=np.int64)
    for day in read:
        totals[[position[function] for function in day.rows]] += day.totals()
    if top is None:
        return functions, totals
    most_first = np.argsort(-totals, kind="stable")
    chosen = np.sort(most_first[:top])
    return [functions[at] for at in chosen.tolist()], totals[chosen]


def _triggers(functions: Sequence[str], read: Sequence[_Day]) -> list[str]:
    """Return each function's trigger on the first day that knows it, else `others`."""
    triggers: dict[str, str] = {}
    for day in read:
        for function, row in day.rows.items():
            if triggers.get(function, "others") == "others":
                triggers[function] = day.triggers[row]
    return [triggers[function] for function in functions]


def _fill(values: NDArray[np.float64], functions: Sequence[str], value_of: Callable[[str], float]) -> None:
    """Replace what is NaN by a value of the function."""
    for position in np.flatnonzero(np.isnan(values)).tolist():
        values[position] = value_of(functions[position])


def _arrivals(
    functions: Sequence[str], totals: NDArray[np.int64], read: Sequence[_Day], spread: Spread, seed: int
) -> NDArray[np.float64]:
    arrival_s = np.empty(int(totals.sum()))
    laid = 0
    for function in functions:
        rng = stream(seed, "azure-functions-2019", function) if spread == "poisson" else None
        first_minute = 0
        for day in read:
            if (row := day.rows.get(function)) is not None:
                laid += _lay(day.counts(row), first_minute, rng, arrival_s[laid:])
            first_minute += day.minutes
    return arrival_s


def _lay(
    counts: NDArray[np.int32],
    first_minute: int,
    rng: np.random.Generator | None,
    arrival_s: NDArray[np.float64],
) -> int:
    """Write the arrivals of one function and day, evenly without `rng`; return how many there are."""
    step_us = _MINUTE_S * MICROSECONDS
    ends = np.cumsum(counts, dtype=np.int64)
    laid, minute = 0, 0
    while laid < ends[-1]:
        next_minute = max(minute + 1, int(np.searchsorted(ends, laid + _LAID_AT_ONCE, side="right")))
        some = counts[minute:next_minute]
        time_us = spread_evenly(some, step_us) if rng is None else spread_uniformly(some, step_us, rng)
        time_us += (first_minute + minute) * step_us
        arrival_s[laid : laid + time_us.size] = seconds(time_us)
        laid, minute = laid + time_us.size, next_minute
    return laid
