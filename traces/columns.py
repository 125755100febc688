"""What the columns of a trace must hold, and the faults they are refused for."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from traces.errors import TraceError, shown

_INT32_MAX = np.iinfo(np.int32).max


def offsets_of(counts: ArrayLike) -> NDArray[np.int64]:
    """Return where each function's rows begin, and the end of the last, from the rows of each."""
    return np.concatenate([[0], np.cumsum(np.asarray(counts, dtype=np.int64))])


def first_fault(fault: NDArray[np.bool_]) -> int:
    """Return the row of the first fault between neighbours, 0 if there is none: row 0 has none before it."""
    return int(np.argmax(fault)) + 1 if fault.any() else 0


def read_only(column: NDArray[Any]) -> NDArray[Any]:
    """Return a view that cannot be written to."""
    view = column.view()
    view.flags.writeable = False
    return view


def as_column(values: ArrayLike, dtype: type[np.generic], name: str) -> NDArray[Any]:
    """Return one-dimensional values as a read-only column, if they fit its type without a loss of kind."""
    try:
        column = np.asarray(values)
        same_kind = column.size == 0 or np.can_cast(column.dtype, dtype, casting="same_kind")
        column = column.astype(dtype, copy=False)
    except (TypeError, ValueError):
        same_kind = False
    if not same_kind or column.ndim != 1:
        raise TraceError(f"allowed is one column of {np.dtype(dtype).name}", field=name)
    return read_only(column)


def token_column(values: ArrayLike, rows: int, name: str) -> NDArray[np.int32]:
    """Return one token count a request."""
    column = as_column(values, np.int64, name)
    if column.size != rows:
        raise TraceError(f"found {column.size} values for {rows} arrivals", field=name)
    if rows and not (column.min() >= 0 and column.max() <= _INT32_MAX):
        raise TraceError(
            f"found {column.min()} to {column.max()}, allowed are integers from 0 to {_INT32_MAX}", field=name
        )
    return read_only(column.astype(np.int32))


def function_column(values: ArrayLike, functions: int, name: str) -> NDArray[Any]:
    """Return one value a function."""
    column = np.asarray(values)
    if column.shape != (functions,):
        raise TraceError(
            f"found shape {column.shape}, allowed is one value a function ({functions})", field=name
        )
    return read_only(column)


def check_names(functions: tuple[str, ...], index: dict[str, int]) -> None:
    """Refuse names that are empty or stand twice."""
    for position, name in enumerate(functions):
        if not isinstance(name, str) or not name:
            raise TraceError(f"found {shown(name)}, allowed are names that are not empty", field="functions")
        if index[name] != position:
            raise TraceError(f"found {shown(name)} twice, allowed are unique names", field="functions")


def check_offsets(offsets: NDArray[np.int64], functions: int, arrivals: int) -> None:
    """Refuse offsets that do not cut the arrivals into functions."""
    if offsets.size != functions + 1:
        raise TraceError(
            f"found {offsets.size} values for {functions} functions, allowed is one more", field="offsets"
        )
    if offsets[0] != 0 or offsets[-1] != arrivals or any(end < start for start, end in pairwise(offsets)):
        raise TraceError(f"allowed is to rise from 0 to the number of arrivals ({arrivals})", field="offsets")


def check_arrivals(
    functions: tuple[str, ...], offsets: NDArray[np.int64], arrival_s: NDArray[np.float64], duration_s: float
) -> None:
    """Refuse arrivals that are outside the window or go back inside a function."""
    if not (math.isfinite(duration_s) and duration_s > 0):
        raise TraceError(f"found {shown(duration_s)}, allowed is a finite number above 0", field="duration_s")
    if not arrival_s.size:
        return

    def owner(row: int) -> str:
        return functions[int(np.searchsorted(offsets, row, side="right")) - 1]

    # min and max carry a NaN through, and every comparison with it is false
    if not (arrival_s.min() >= 0 and arrival_s.max() < duration_s):
        row = int(np.argmax(~((arrival_s >= 0) & (arrival_s < duration_s))))
        raise TraceError(
            f"found {arrival_s[row]} in function {shown(owner(row))}, allowed is 0 <= time < {duration_s:g}",
            field="arrival_s",
        )
    back = arrival_s[1:] < arrival_s[:-1]
    between = offsets[1:-1]
    back[between[(between > 0) & (between < arrival_s.size)] - 1] = False
    if row := first_fault(back):
        raise TraceError(
            f"found {arrival_s[row]} after {arrival_s[row - 1]} in function {shown(owner(row))}, "
            "allowed is ascending time",
            field="arrival_s",
        )
