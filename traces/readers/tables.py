"""Strict reading of tables: columns by name, values checked in bulk, every fault with its file and line."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from traces.errors import TraceError, shown
from traces.readers.source import Block, Progress, blocks

PARQUET_MAGIC = b"PAR1"
_ROWS_A_BATCH = 2**18
_MOST_EXACT = 2**53  # whole numbers that a float64 holds exactly


class Batch:
    """Some consecutive rows of a table, in columns."""

    def __init__(self, path: Path, columns: pa.RecordBatch, first_line: int) -> None:
        self.path = path
        self.columns = columns
        self.first_line = first_line

    def __len__(self) -> int:
        rows: int = self.columns.num_rows
        return rows

    def fault(self, row: int, field: str, allowed: str) -> TraceError:
        """Return the error of one value, by its row in this batch."""
        found = self.columns.column(field)[row].as_py()
        line = self.first_line + row
        return TraceError(
            f"found {shown(found)}, allowed is {allowed}", path=self.path, line=line, field=field
        )

    def texts(self, field: str) -> pa.Array:
        """Return a column as text; a missing value is an error."""
        column = self.columns.column(field)
        if column.null_count:
            raise self.fault(int(np.argmax(column.is_null())), field, "text")
        return column.cast(pa.string())

    def numbers(self, field: str, *, least: float = 0.0, most: float = math.inf) -> NDArray[np.float64]:
        """Return a column as float64; anything but finite numbers from `least` to `most` is an error."""
        allowed = f"a finite number from {least:g}" + ("" if math.isinf(most) else f" to {most:g}")
        values = self._converted(field, pa.float64(), r"^\s*[+-]?[0-9.]+([eE][+-]?[0-9]+)?\s*$", allowed)
        within = np.isfinite(values) & (values >= least) & (values <= most)
        if not within.all():
            raise self.fault(int(np.argmin(within)), field, allowed)
        return values

    def whole_numbers(self, field: str, *, least: int = 0, most: int = _MOST_EXACT) -> NDArray[np.int64]:
        """Return a column as int64; anything but whole numbers from `least` to `most` is an error."""
        allowed = f"a whole number from {least} to {most}"
        values = self._converted(field, pa.int64(), r"^-?[0-9]{1,18}$", allowed)
        within = (values >= least) & (values <= most)
        if not within.all():
            raise self.fault(int(np.argmin(within)), field, allowed)
        return values

    def _converted(self, field: str, kind: pa.DataType, pattern: str, allowed: str) -> NDArray[Any]:
        column = self.columns.column(field)
        if column.null_count:
            raise self.fault(int(np.argmax(column.is_null())), field, allowed)
        if pa.types.is_string(column.type):
            matches = pc.match_substring_regex(column, pattern)
            if not pc.all(matches, min_count=0).as_py():
                raise self.fault(int(np.argmin(matches)), field, allowed)
            column = pc.utf8_trim_whitespace(column)
        elif not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise TraceError(
                f"found a column of {column.type}, allowed is {allowed}", path=self.path, field=field
            )
        try:
            values: NDArray[Any] = column.cast(kind).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            raise next(
                self.fault(row, field, allowed)
                for row in range(len(self))
                if not _casts(column[row : row + 1], kind)
            ) from None
        return values


class Table:
    """A table with named columns: CSV with a header (plain, gzip or zstd), or Parquet.

    Iterate over it for rows, each with its line (in Parquet its row, counted from 1), or call `batches` for
    columns.

    Attributes
    ----------
    path
        The file.
    columns
        Position of each column by name, in the order of the file.

    Raises
    ------
    TraceError
        If the file cannot be read, the header repeats a column or lacks a required one; while reading, if a
        row is shorter or longer than the header.
    """

    def __init__(self, path: Path, required: Sequence[str], *, progress: Progress | None = None) -> None:
        self.path = path
        self._progress = progress
        self._parquet = _parquet_file(path)
        names = self._header() if self._parquet is None else list(self._parquet.schema_arrow.names)
        self.columns = {name: position for position, name in enumerate(names)}
        line = 1 if self._parquet is None else None
        for position, name in enumerate(names):
            if self.columns[name] != position:
                raise TraceError(f"found column {shown(name)} twice", path=path, line=line)
        for name in required:
            if name not in self.columns:
                raise TraceError("the column is missing", path=path, line=line, field=name)

    def batches(self, wanted: Sequence[str] | None = None) -> Iterator[Batch]:
        """Read the rows in batches of columns, in bounded memory; of the `wanted` columns alone, if given."""
        if self._parquet is not None:
            yield from self._parquet_batches(wanted)
            return
        for block in self._blocks():
            columns = self._parsed(block)
            yield Batch(
                self.path, columns if wanted is None else columns.select(list(wanted)), block.first_line
            )

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        if self._parquet is not None:
            for batch in self._parquet_batches(None):
                texts = [batch.texts(name).to_pylist() for name in self.columns]
                for at, values in enumerate(zip(*texts, strict=True)):
                    yield batch.first_line + at, list(values)
            return
        width = len(self.columns)
        for block in self._blocks():
            reader = csv.reader(io.StringIO(block.data.decode(), newline=""), strict=True)
            try:
                for row in reader:
                    line = block.first_line + reader.line_num - 1
                    if len(row) != width:
                        raise self._wrong_width(len(row), line)
                    yield line, row
            except csv.Error as error:
                line = block.first_line + reader.line_num - 1
                raise TraceError(str(error), path=self.path, line=line) from None

    def _header(self) -> list[str]:
        first = next(blocks(self.path)).data.split(b"\n", 1)[0].decode().rstrip("\r")
        try:
            rows = list(csv.reader([first], strict=True))
        except csv.Error as error:
            raise TraceError(str(error), path=self.path, line=1) from None
        names = [name.strip() for name in rows[0]] if rows else []
        if not any(names):
            raise TraceError("found an empty line, allowed is a header", path=self.path, line=1)
        return names

    def _blocks(self) -> Iterator[Block]:
        """Return the blocks of text without the header, and without empty lines at the very end."""
        pending = None
        for block in blocks(self.path, progress=self._progress):
            if block.first_line == 1:
                block = Block(2, block.data.partition(b"\n")[2])
            if pending is not None:
                if block.data.strip(b"\r\n"):
                    if pending.data:
                        yield pending
                else:
                    block = Block(pending.first_line, pending.data + block.data)
            pending = block
        if pending is not None and (data := pending.data.rstrip(b"\r\n")):
            yield Block(pending.first_line, data)

    def _parsed(self, block: Block) -> pa.RecordBatch:
        names = list(self.columns)
        wrong: list[tuple[int, int]] = []

        def stop(row: Any) -> str:
            wrong.append((row.actual_columns, row.number))
            return "error"

        try:
            table = pacsv.read_csv(
                pa.BufferReader(block.data),
                read_options=pacsv.ReadOptions(
                    use_threads=False, block_size=len(block.data) + 1, column_names=names
                ),
                parse_options=pacsv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=stop),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid as error:
            if wrong:
                found, row = wrong[0]
                raise self._wrong_width(found, block.first_line + row - 1) from None
            raise TraceError(" ".join(str(error).split()), path=self.path, line=block.first_line) from None
        batch: pa.RecordBatch = table.combine_chunks().to_batches()[0]
        if batch.num_rows != block.data.count(b"\n") + (not block.data.endswith(b"\n")):
            raise TraceError("found a quoted line end", path=self.path, line=block.first_line)
        return batch

    def _parquet_batches(self, wanted: Sequence[str] | None) -> Iterator[Batch]:
        assert self._parquet is not None
        first = 1
        rows = self._parquet.metadata.num_rows
        columns = None if wanted is None else list(wanted)
        try:
            for batch in self._parquet.iter_batches(_ROWS_A_BATCH, columns=columns):
                yield Batch(self.path, batch, first)
                first += batch.num_rows
                if self._progress is not None:
                    self._progress(first - 1, rows)
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())
            raise TraceError(f"cannot be read, it is damaged ({reason})", path=self.path) from None

    def _wrong_width(self, found: int, line: int) -> TraceError:
        return TraceError(
            f"found {found} fields, allowed are the {len(self.columns)} of the header",
            path=self.path,
            line=line,
        )


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(4) == PARQUET_MAGIC
    except OSError:
        return False


def number(text: str, *, field: str, path: Path | None = None, line: int | None = None) -> float:
    """Return a finite number from 0.

    Raises
    ------
    TraceError
        If the text is anything else.
    """
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise TraceError(
            f"found {shown(text)}, allowed is a finite number from 0", path=path, line=line, field=field
        )
    return value


def _parquet_file(path: Path) -> pq.ParquetFile | None:
    if not is_parquet(path):
        return None
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise TraceError(f"cannot be read, it is damaged ({reason})", path=path) from None


def _casts(value: pa.Array, kind: pa.DataType) -> bool:
    try:
        value.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True
