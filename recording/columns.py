"""From rows to Arrow columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recording.schema import BATCH_DTYPE, BATCHES, Table


def table_of_batches(packed: bytes) -> pa.Table:
    """Packed rows (`BATCH`) as an Arrow table."""
    rows = np.frombuffer(packed, BATCH_DTYPE)
    arrays = [pa.array(np.ascontiguousarray(rows[c.name]), c.type) for c in BATCHES.columns]
    return pa.Table.from_arrays(arrays, schema=BATCHES.arrow)


def batches_of_table(table: pa.Table | pa.RecordBatch) -> NDArray[np.void]:
    """Rows of `batches` as an array of `BATCH_DTYPE`: the inverse of `table_of_batches`."""
    rows = np.empty(table.num_rows, BATCH_DTYPE)
    for column in BATCHES.columns:
        rows[column.name] = table.column(column.name).to_numpy()
    return rows


def table_of_rows(rows: Sequence[tuple[object, ...]], table: Table) -> pa.Table:
    """Rows, as tuples in the order of the table's columns, as an Arrow table."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(table.columns)
    arrays = [pa.array(list(values), c.type) for values, c in zip(columns, table.columns, strict=True)]
    return pa.Table.from_arrays(arrays, schema=table.arrow)
