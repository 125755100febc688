"""Mean execution time and memory of functions of the Azure Functions Trace 2019, and the fits beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from traces.errors import TraceError, shown
from traces.readers.source import Progress
from traces.readers.tables import Table
from traces.streams import stream
from traces.synthesis.published import (
    LN_EXECUTION_S,
    MEMORY_C,
    MEMORY_K,
    MEMORY_LIMIT_MB,
    MEMORY_SCALE_MB,
)

_MEGABYTE: Final = 2**20  # publisher does not say which; committed memory is counted in pages of 4 KiB
_MICROSECONDS: Final = 1_000_000
_MILLISECONDS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Averages:
    """One value by function or application.

    Attributes
    ----------
    repeated
        Rows of something that had a row in the same file already.
    """

    values: Mapping[str, float]
    repeated: int

    def of(self, functions: Sequence[str], apps: Mapping[str, str]) -> NDArray[np.float64]:
        """Return the value of each function: its own, its application's, or NaN."""
        values = self.values
        return np.array(
            [values.get(function, values.get(apps[function], math.nan)) for function in functions],
            dtype=np.float64,
        )


def read_execution_s(files: Sequence[Path], told: Callable[[Path], Progress | None]) -> Averages:
    """Read the mean execution times of functions, over all files."""
    return _read(files, told, ("HashFunction",), "Average", "Count", 1 / _MILLISECONDS)


def read_memory_bytes(files: Sequence[Path], told: Callable[[Path], Progress | None]) -> Averages:
    """Read the mean memory of functions where the files have it, else of applications, over all files."""
    return _read(files, told, ("HashFunction", "HashApp"), "AverageAllocatedMb", "SampleCount", _MEGABYTE)


def fitted_execution_s(function: str, seed: int) -> float:
    """Draw a mean execution time from the paper's fit, of whole microseconds and at least one."""
    mean, deviation = LN_EXECUTION_S
    draw = stream(seed, "azure-functions-2019 execution", function).standard_normal()
    return max(1, round(math.exp(mean + deviation * draw) * _MICROSECONDS)) / _MICROSECONDS


def fitted_memory_bytes(app: str, seed: int) -> float:
    """Draw the memory of an application from the paper's fit below the platform's limit, in whole bytes."""
    below_limit = 1 - (1 + (MEMORY_LIMIT_MB / MEMORY_SCALE_MB) ** MEMORY_C) ** -MEMORY_K
    draw = stream(seed, "azure-functions-2019 memory", app).random() * below_limit
    megabytes = MEMORY_SCALE_MB * ((1 - draw) ** (-1 / MEMORY_K) - 1) ** (1 / MEMORY_C)
    return float(round(megabytes * _MEGABYTE))


def _read(
    files: Sequence[Path],
    told: Callable[[Path], Progress | None],
    keys: tuple[str, ...],
    column: str,
    weight: str,
    unit: float,
) -> Averages:
    """Read a column by the first of the keys that a file has, times the unit; average rows of one key."""
    parts: dict[str, list[tuple[float, float]]] = {}
    repeated = 0
    for path in files:
        table = Table(path, required=(column,), progress=told(path))
        key = next((key for key in keys if key in table.columns), None)
        if key is None:
            raise TraceError("the column is missing", path=path, line=table.header_line, field=keys[0])
        is_weighted = weight in table.columns
        seen: set[str] = set()
        for batch in table.batches([key, column, *([weight] if is_weighted else [])]):
            names = batch.texts(key).to_pylist()
            values = (batch.numbers(column) * unit).tolist()
            weights = batch.numbers(weight).tolist() if is_weighted else [1.0] * len(batch)
            for row, name in enumerate(names):
                if name in seen:
                    if not is_weighted:
                        raise TraceError(
                            f"found {shown(name)} twice and no column {weight} to average by",
                            path=path,
                            line=batch.first_line + row,
                            field=key,
                        )
                    repeated += 1
                seen.add(name)
                parts.setdefault(name, []).append((values[row], weights[row]))
    return Averages({name: _mean(of_name) for name, of_name in parts.items()}, repeated)


def _mean(parts: Sequence[tuple[float, float]]) -> float:
    """Return the weighted mean; a single value as it stands, and the first if nothing has a weight."""
    weights = math.fsum(weight for _, weight in parts)
    if len(parts) == 1 or weights == 0:
        return parts[0][0]
    return math.fsum(value * weight for value, weight in parts) / weights
