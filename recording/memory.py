"""Sinks without files: one that keeps the tables in memory, one that keeps nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recording.columns import table_of_batches, table_of_rows
from recording.schema import BATCH_DTYPE, BATCHES, SYSTEM_TABLES, Table
from recording.sink import RowSink


class MemoryRecorder(RowSink):
    """Keeps a run's tables in memory, for tests, benchmarks and short studies.

    Parameters
    ----------
    quotas
        Whether to keep every quota as well.
    """

    def __init__(self, *, quotas: bool = False) -> None:
        self.records_quotas = quotas
        self._batches = bytearray()
        self._rows: dict[str, list[tuple[object, ...]]] = {table.name: [] for table in SYSTEM_TABLES}

    def batches(self, buffer: bytes | bytearray) -> None:
        """Take packed rows of `batches`."""
        self._batches += buffer

    def row(self, table: Table, values: tuple[object, ...]) -> None:
        """Take one row of another table."""
        self._rows[table.name].append(values)

    def batch_chunks(self) -> Iterator[NDArray[np.void]]:
        """All rows of `batches` (`BATCH_DTYPE`; a copy), in pieces; here there is one."""
        yield np.frombuffer(bytes(self._batches), BATCH_DTYPE)

    def table(self, table: Table) -> pa.Table:
        """One table of `recording.schema`, as Arrow."""
        if table.name == BATCHES.name:
            return table_of_batches(bytes(self._batches))
        return table_of_rows(self._rows[table.name], table)

    def columns(self, table: Table) -> dict[str, NDArray[Any]]:
        """One table as NumPy columns; null is NaN, list columns are object arrays."""
        arrow = self.table(table)
        return {name: arrow.column(name).to_numpy() for name in arrow.column_names}


class NullRecorder(RowSink):
    """Keeps nothing; for measuring a world by itself."""

    def batches(self, buffer: bytes | bytearray) -> None:
        """Drop the rows."""

    def row(self, table: Table, values: tuple[object, ...]) -> None:
        """Drop the row."""
