"""The workload of a run: every request's arrival, grouped by function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recording.schema import ARRIVALS, RecordingError
from recording.writer import TableWriter


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Columns of all requests; those of function `f` stand at `offsets[f]` up to `offsets[f + 1]`.

    Attributes
    ----------
    offsets
        int64, one more than there are functions.
    arrival_s
        float64, sorted in each function.
    output_tokens
        int32, 0 where a request has its function's own number; `None` where all have.
    """

    offsets: NDArray[np.int64]
    arrival_s: NDArray[np.float64]
    output_tokens: NDArray[np.int32] | None

    @classmethod
    def from_functions(
        cls,
        arrivals: Sequence[NDArray[np.float64]],
        output_tokens: Sequence[NDArray[np.int32] | None] | None = None,
    ) -> Arrivals:
        """Join the arrivals (and tokens) of each function."""
        counts = [len(times) for times in arrivals]
        offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        joined = np.concatenate([*arrivals, np.empty(0)])
        if output_tokens is None or all(tokens is None for tokens in output_tokens):
            return cls(offsets, joined, None)
        own = [
            np.zeros(count, np.int32) if tokens is None else tokens.astype(np.int32)
            for tokens, count in zip(output_tokens, counts, strict=True)
        ]
        return cls(offsets, joined, np.concatenate(own))

    def __len__(self) -> int:
        return len(self.arrival_s)

    def of(self, function: int) -> slice:
        """Where the requests of one function stand."""
        return slice(int(self.offsets[function]), int(self.offsets[function + 1]))


def write_arrivals(path: Path, arrivals: Arrivals) -> None:
    """Write `arrivals.parquet`, function by function."""
    writer = TableWriter(path, ARRIVALS)
    for function in range(len(arrivals.offsets) - 1):
        here = arrivals.of(function)
        times = arrivals.arrival_s[here]
        if arrivals.output_tokens is None:
            tokens = pa.nulls(len(times), pa.int32())
        else:
            own = arrivals.output_tokens[here]
            tokens = pa.array(own, pa.int32(), mask=own == 0)
        columns = [pa.array(np.full(len(times), function, np.int32)), pa.array(times), tokens]
        writer.append(pa.Table.from_arrays(columns, schema=ARRIVALS.arrow))
    writer.close()


def read_arrivals(path: Path, functions: int) -> Arrivals:
    """Read `arrivals.parquet` of a run with this many functions.

    Raises
    ------
    RecordingError
        If the file is missing, corrupt, or not grouped by function.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise RecordingError(f"{path}: not found; it stands beside the systems' folders") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise RecordingError(f"{path}: cannot be read as Parquet ({first_line(error)})") from None
    if table.schema.names != [column.name for column in ARRIVALS.columns]:
        raise RecordingError(
            f"{path}: found columns {table.schema.names}, allowed are those of {ARRIVALS.name}"
        )
    function = table.column("function").to_numpy()
    if len(function) and (function[0] < 0 or function[-1] >= functions or np.any(np.diff(function) < 0)):
        raise RecordingError(
            f"{path}: function: not grouped in the order of the manifest's {functions} functions"
        )
    tokens = table.column("output_tokens")
    return Arrivals(
        offsets=np.searchsorted(function, np.arange(functions + 1)).astype(np.int64),
        arrival_s=table.column("arrival_s").to_numpy(),
        output_tokens=None
        if tokens.null_count == len(tokens)
        else pc.fill_null(tokens, pa.scalar(0, pa.int32())).to_numpy(),
    )


def first_line(error: BaseException) -> str:
    """Shorten a message of Arrow, which may have many lines, to its first."""
    return str(error).partition("\n")[0]
