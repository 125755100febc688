"""Reader of the Azure Functions Trace 2019: counts a minute, mean durations and memory of each function.

M. Shahrad et al., Serverless in the Wild: Characterizing and Optimizing the Serverless Workload at a Large
Cloud Provider, USENIX ATC 2020. Format: `AzureFunctionsDataset2019.md` of github.com/Azure/AzurePublicDataset
(data under CC BY 4.0). Row samples of it, such as those of github.com/vhive-serverless/invitro, have the same
columns in another order: columns are found by name.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from traces.errors import TraceError, shown
from traces.processes import MICROSECONDS, seconds, spread_evenly, spread_uniformly
from traces.readers.source import read_text
from traces.readers.tables import Table, number
from traces.streams import stream
from traces.trace import Trace

Spread = Literal["even", "poisson"]

_MINUTE_S = 60
_MILLISECONDS = 1000.0
_MEGABYTE = 2**20  # the publisher does not say which; committed memory is counted in pages of 4 KiB
_HIGHEST_COUNT = 10**9  # a minute, of one function; the whole platform's busiest minute is below it

# The text of an invocation file's name that the names of its companions replace; the publisher's names first.
_COMPANIONS = {
    "durations": (
        ("invocations_per_function_md", "function_durations_percentiles"),
        ("invocations", "durations"),
    ),
    "memory": (("invocations_per_function_md", "app_memory_percentiles"), ("invocations", "memory")),
}


def read_azure_functions(
    path: Path | str, *, seed: int, spread: Spread = "even", sample: str | None = None
) -> Trace:
    """Read one invocation file of the trace with the durations and memory beside it.

    The file counts invocations that *finished* in each minute; they are taken as arrivals of that minute.
    Time 0 is the start of the first minute column, whichever that is. Functions are named by `HashFunction`
    and keep the order of the file. Attributes: `execution_s` (mean, without cold starts), `memory_bytes`
    (committed memory as the file has it: the publisher measures applications, and some samples divide their
    memory evenly over the functions; a megabyte is 2**20 bytes) and `trigger`; NaN where a file or row is
    missing.

    Parameters
    ----------
    path
        An invocation file, or a directory with files named `*invocations*.csv`.
    seed
        Seed of `spread="poisson"`; each function has its own stream.
    spread
        Where the k invocations of a minute lie. `even`: at (i + 0.5) / k of it, which puts the single
        invocations of all functions on the same half minute. `poisson`: independent and uniform.
    sample
        Which file of a directory: one of the parts of its name between `_`, `-` and `.`, such as
        `sample500` or `d01`. Without it, the file with the most functions is taken (the first by name among
        equals), and the provenance says so.

    Raises
    ------
    TraceError
        If a file cannot be read, is not UTF-8 or is empty; a row is truncated; a column is missing; a count
        is not a whole number from 0; a function stands twice; or the directory holds no such file.
    """
    if spread not in get_args(Spread):
        raise TraceError(f"found {shown(spread)}, allowed are {', '.join(get_args(Spread))}", field="spread")
    invocations, chosen_by = _invocation_file(Path(path), sample)
    counts, triggers, apps, first_minute = _read_invocations(invocations)
    minutes = next(iter(counts.values())).size
    companions = {kind: _companion(invocations, kind) for kind in _COMPANIONS}
    execution_s = _read_attribute(companions["durations"], ("HashFunction",), "Average", 1 / _MILLISECONDS)
    memory_bytes = _read_attribute(
        companions["memory"], ("HashFunction", "HashApp"), "AverageAllocatedMb", _MEGABYTE
    )
    totals = [int(column.sum()) for column in counts.values()]
    offsets = np.concatenate([[0], np.cumsum(totals, dtype=np.int64)])
    return Trace(
        functions=tuple(counts),
        offsets=offsets,
        arrival_s=_arrivals(counts, offsets, spread, seed),
        duration_s=float(minutes * _MINUTE_S),
        attributes={
            "execution_s": _joined(execution_s, counts, apps),
            "memory_bytes": _joined(memory_bytes, counts, apps),
            "trigger": np.array(triggers),
        },
        provenance={
            "source": "Azure Functions Trace 2019",
            "citation": "Shahrad et al., Serverless in the Wild, USENIX ATC 2020",
            "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
            "files": [_identity(file) for file in (invocations, *companions.values()) if file is not None],
            "chosen_by": chosen_by,
            "first_minute": first_minute,
            "minutes": minutes,
            "transforms": [
                {"transform": "spread within the minute", "spread": spread}
                | ({"seed": int(seed)} if spread == "poisson" else {})
            ],
        },
    )


def _invocation_file(path: Path, sample: str | None) -> tuple[Path, str]:
    """Return the invocation file that a path and a sample name, and by which rule it was chosen."""
    if not path.is_dir():
        return path, "named by the caller"
    found = sorted(path.glob("*invocations*.csv"))
    if not found:
        raise TraceError("holds no file named *invocations*.csv", path=path)
    if sample is not None:
        named = [file for file in found if sample in _name_parts(file)]
        if len(named) != 1:
            names = ", ".join(file.name for file in found)
            raise TraceError(
                f"found {shown(sample)}, which names {len(named)} of {names}", path=path, field="sample"
            )
        return named[0], f"sample {sample}"
    if len(found) == 1:
        return found[0], "only invocation file of the directory"
    most = max(found, key=lambda file: sum(1 for line in read_text(file).split("\n") if line.strip()))
    return most, "most functions in the directory"


def _name_parts(file: Path) -> list[str]:
    return file.name.replace("-", "_").replace(".", "_").split("_")


def _companion(invocations: Path, kind: str) -> Path | None:
    for own, other in _COMPANIONS[kind]:
        if own in invocations.name:
            candidate = invocations.with_name(invocations.name.replace(own, other))
            if candidate.is_file():
                return candidate
    return None


def _read_invocations(
    path: Path,
) -> tuple[dict[str, NDArray[np.int32]], list[str], list[str], int]:
    """Return the counts a minute by function, the trigger and application of each, and the first minute."""
    table = Table(path, required=("HashApp", "HashFunction", "Trigger"))
    first, last, first_minute = _minute_columns(table)
    function_at, app_at, trigger_at = (table.columns[name] for name in ("HashFunction", "HashApp", "Trigger"))
    names = list(table.columns)
    counts: dict[str, NDArray[np.int32]] = {}
    lines: dict[str, int] = {}
    triggers: list[str] = []
    apps: list[str] = []
    for line, row in table:
        function = row[function_at]
        if not function:
            raise TraceError("found an empty id", path=path, line=line, field="HashFunction")
        if function in counts:
            raise TraceError(
                f"found {shown(function)} again, first on line {lines[function]}",
                path=path,
                line=line,
                field="HashFunction",
            )
        counts[function] = _parse_counts(row[first:last], names[first:last], path, line)
        lines[function] = line
        triggers.append(row[trigger_at])
        apps.append(row[app_at])
    if not counts:
        raise TraceError("holds a header and no function", path=path)
    return counts, triggers, apps, first_minute


def _minute_columns(table: Table) -> tuple[int, int, int]:
    """Positions [first, last) of the minute columns, and the minute of the first."""
    minutes = [(int(name), at) for name, at in table.columns.items() if name.isascii() and name.isdigit()]
    if not minutes:
        raise TraceError("holds no minute column (1, 2, ...)", path=table.path, line=1)
    first_minute, first = minutes[0]
    for step, (minute, at) in enumerate(minutes):
        if (minute, at) != (first_minute + step, first + step):
            raise TraceError(
                f"found minute column {minute}, allowed is an unbroken run from {first_minute}",
                path=table.path,
                line=1,
            )
    return first, first + len(minutes), first_minute


def _parse_counts(fields: list[str], columns: list[str], path: Path, line: int) -> NDArray[np.int32]:
    # digits and commas alone, checked first, let the fast parser find nothing to complain of
    digits = "".join(fields)
    if "" not in fields and digits.isascii() and digits.isdigit():
        counts: NDArray[np.int64] = np.fromstring(",".join(fields), dtype=np.int64, sep=",")
        if counts.max() <= _HIGHEST_COUNT:
            return counts.astype(np.int32)
    for column, text in zip(columns, fields, strict=True):
        if not (text.isascii() and text.isdigit() and float(text) <= _HIGHEST_COUNT):
            raise TraceError(
                f"found {shown(text)}, allowed are whole numbers from 0 to {_HIGHEST_COUNT}",
                path=path,
                line=line,
                field=f"minute {column}",
            )
    raise AssertionError("a row was refused in which every count is allowed")


def _read_attribute(path: Path | None, keys: tuple[str, ...], column: str, unit: float) -> dict[str, float]:
    """Read one value by the first of the keys that the file has, times the unit."""
    if path is None:
        return {}
    table = Table(path, required=(column,))
    key = next((key for key in keys if key in table.columns), None)
    if key is None:
        raise TraceError("the column is missing", path=path, line=1, field=keys[0])
    key_at, value_at = table.columns[key], table.columns[column]
    values: dict[str, float] = {}
    for line, row in table:
        if row[key_at] in values:
            raise TraceError(f"found {shown(row[key_at])} twice", path=path, line=line, field=key)
        values[row[key_at]] = number(row[value_at], path=path, line=line, field=column) * unit
    return values


def _joined(values: dict[str, float], functions: dict[str, Any], apps: list[str]) -> NDArray[np.float64]:
    return np.array(
        [
            values.get(function, values.get(app, math.nan))
            for function, app in zip(functions, apps, strict=True)
        ]
    )


def _arrivals(
    counts: dict[str, NDArray[np.int32]], offsets: NDArray[np.int64], spread: Spread, seed: int
) -> NDArray[np.float64]:
    # function by function: the working set stays that of one function beside the result
    step_us = _MINUTE_S * MICROSECONDS
    arrival_s = np.empty(int(offsets[-1]))
    for position, (function, column) in enumerate(counts.items()):
        if spread == "even":
            time_us = spread_evenly(column, step_us)
        else:
            rng = stream(seed, "azure-functions-2019", function)
            time_us = spread_uniformly(column, step_us, rng)
        arrival_s[offsets[position] : offsets[position + 1]] = seconds(time_us)
    return arrival_s


def _identity(path: Path) -> dict[str, str]:
    return {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
