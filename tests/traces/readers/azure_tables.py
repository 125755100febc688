"""Small files in the form of the Azure Functions Trace 2019, and reading them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from traces import Trace, read_azure_functions

HEADER = ["HashOwner", "HashApp", "HashFunction", "Trigger", "480", "481", "482"]
ROWS = [["o", "p1", "f1", "http", "2", "0", "1"], ["o", "p2", "f2", "timer", "0", "1", "0"]]
IDS = ["HashOwner", "HashApp", "HashFunction", "Trigger"]


def write(path: Path, rows: list[list[str]]) -> Path:
    """Write rows as a CSV file."""
    path.write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_day(folder: Path, day: int, counts: dict[str, dict[int, int]], trigger: str = "http") -> Path:
    """Write the counts of a whole day of some functions, each of the application `p` and its name."""
    rows = [
        ["o", f"p{name}", name, trigger, *(str(of_name.get(minute, 0)) for minute in range(1, 1441))]
        for name, of_name in counts.items()
    ]
    return write(
        folder / f"invocations_per_function_md.anon.d{day:02d}.csv",
        [[*IDS, *map(str, range(1, 1441))], *rows],
    )


def read(path: Path, **options: object) -> Trace:
    """Read with seed 1."""
    return read_azure_functions(path, seed=1, **options)  # type: ignore[arg-type]


def same(one: Trace, other: Trace) -> bool:
    """Whether two traces hold the same in all columns, provenance aside."""
    return (
        one.functions == other.functions
        and one.duration_s == other.duration_s
        and np.array_equal(one.offsets, other.offsets)
        and np.array_equal(one.arrival_s, other.arrival_s)
        and all(
            np.array_equal(column, other.attributes[name], equal_nan=column.dtype.kind == "f")
            for name, column in one.attributes.items()
        )
    )
