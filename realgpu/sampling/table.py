"""Samples in columns: preallocated, bounded, written beside a run."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TIME = "time_s"


class SampleTable:
    """Columns of float64 with a unit each, filled row by row up to a capacity.

    Parameters
    ----------
    units
        Each column's unit; the first is `time_s`. What was not read is NaN.
    capacity
        Most rows kept: the first ones. Later ones are counted in `unrecorded`.
    """

    def __init__(self, units: Mapping[str, str], capacity: int) -> None:
        self.units = dict(units)
        self.unrecorded = 0
        self._rows = np.empty((capacity, len(self.units)), dtype=np.float64, order="F")
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, row: Mapping[str, float | None]) -> None:
        """Add a row; `None` is a value that was not read."""
        if self._length == len(self._rows):
            self.unrecorded += 1
            return
        for place, name in enumerate(self.units):
            value = row.get(name)
            self._rows[self._length, place] = np.nan if value is None else value
        self._length += 1

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """Return the rows so far as columns, copied."""
        length = self._length
        return {name: self._rows[:length, place].copy() for place, name in enumerate(self.units)}

    def write(self, path: Path) -> None:
        """Write the rows so far: Parquet or CSV, by the path's suffix.

        Parquet keeps each column's unit in its field's metadata; what was not read is null, or empty in CSV.

        Raises
        ------
        ValueError
            If the suffix is neither.
        """
        if path.suffix == ".parquet":
            self._write_parquet(path)
        elif path.suffix == ".csv":
            self._write_csv(path)
        else:
            raise ValueError(f"{path}: found suffix {path.suffix!r}, allowed are .parquet and .csv")

    def _write_parquet(self, path: Path) -> None:
        import pyarrow as pa  # a bare GPU host has no need of it for CSV
        import pyarrow.parquet as pq

        fields = [pa.field(name, pa.float64(), metadata={"unit": unit}) for name, unit in self.units.items()]
        arrays = [pa.array(column, from_pandas=True) for column in self.columns().values()]
        pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), path)

    def _write_csv(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.units)
            for row in zip(*self.columns().values(), strict=True):
                writer.writerow("" if np.isnan(value) else repr(float(value)) for value in row)
