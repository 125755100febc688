"""Strict reading of tables: columns by name, values checked in bulk, every fault with its file and line."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from traces.errors import TraceError, shown
from traces.readers.source import Block, Progress, blocks, check_expansion, opened

PARQUET_MAGIC = b"PAR1"
MOST_COLUMNS: Final = 10_000
_ROWS_A_BATCH, _VALUES_A_BATCH = 2**18, 2**22
_MOST_EXACT = 2**53  # whole numbers that a float64 holds exactly
_NUMBER = re.compile(r"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*")


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
        column = self._complete(field, "text")
        try:
            return column.cast(pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise self._wrong_kind(field, "text") from None

    def numbers(self, field: str, *, least: float = 0.0, most: float = math.inf) -> NDArray[np.float64]:
        """Return a column as float64; anything but finite numbers from `least` to `most` is an error."""
        allowed = f"a finite number from {least:g}" + ("" if math.isinf(most) else f" to {most:g}")
        column = self._complete(field, allowed)
        if pa.types.is_string(column.type):
            column = pc.ascii_trim(column, " \t")
        values = self._cast(column, pa.float64(), field, allowed)
        return self._within(values, np.isfinite(values), field, least, most, allowed)

    def whole_numbers(self, field: str, *, least: int = 0, most: int = _MOST_EXACT) -> NDArray[np.int64]:
        """Return a column as int64; anything but whole numbers from `least` to `most` is an error."""
        allowed = f"a whole number from {least} to {most}"
        column = self._complete(field, allowed)
        if pa.types.is_string(column.type) and not _all_digits(column):
            matches = pc.match_substring_regex(column, r"^-?[0-9]+$")
            if not pc.all(matches, min_count=0).as_py():
                raise self.fault(int(np.argmin(matches)), field, allowed)
        values = self._cast(column, pa.int64(), field, allowed)
        return self._within(values, np.True_, field, least, most, allowed)

    def whole_number_rows(self, fields: Sequence[str], *, most: int = _MOST_EXACT) -> NDArray[np.int64]:
        """Return many columns at once as int64[rows, fields]; see `whole_numbers`.

        One call for all columns instead of one for each: a table has as many columns as a day has minutes.
        """
        columns = pa.chunked_array([], pa.string())
        if all(pa.types.is_string(self.columns.schema.field(field).type) for field in fields):
            columns = pa.chunked_array([self.columns.column(field) for field in fields], pa.string())
        if len(columns) and not columns.null_count and _all_digits(columns):
            try:
                values: NDArray[np.int64] = columns.cast(pa.int64()).to_numpy()
            except pa.ArrowInvalid:
                values = np.full(1, -1)
            if values.min() >= 0 and values.max() <= most:
                return values.reshape(len(fields), len(self)).T
        return np.stack([self.whole_numbers(field, most=most) for field in fields], axis=1)

    def _complete(self, field: str, allowed: str) -> pa.Array:
        """Return a column as it stands, text as one type of text; a missing value is an error."""
        column = self.columns.column(field)
        if column.null_count:
            raise self.fault(int(np.argmax(column.is_null())), field, allowed)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        return column.cast(pa.string()) if is_text else column

    def _cast(self, column: pa.Array, kind: pa.DataType, field: str, allowed: str) -> NDArray[Any]:
        is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        if not (pa.types.is_string(column.type) or is_number):
            raise self._wrong_kind(field, allowed)
        try:
            values: NDArray[Any] = column.cast(kind).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            raise self.fault(_first_uncast(column, kind), field, allowed) from None
        return values

    def _within(
        self, values: NDArray[Any], is_fit: Any, field: str, least: float, most: float, allowed: str
    ) -> NDArray[Any]:
        fits = (values >= least) & (values <= most) & is_fit
        if not fits.all():
            raise self.fault(int(np.argmin(fits)), field, allowed)
        return values

    def _wrong_kind(self, field: str, allowed: str) -> TraceError:
        kind = self.columns.schema.field(field).type
        return TraceError(f"found a column of {kind}, allowed is {allowed}", path=self.path, field=field)


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
    header_line
        The line of the names; `None` in Parquet.

    Raises
    ------
    TraceError
        If the file cannot be read, the header repeats a column or lacks a required one; while reading, if a
        line is empty, or has fewer or more fields than the header.
    """

    def __init__(self, path: Path, required: Sequence[str], *, progress: Progress | None = None) -> None:
        self.path = path
        self._progress = progress
        self._parquet = _parquet_file(path)
        names = self._header() if self._parquet is None else list(self._parquet.schema_arrow.names)
        self.columns = {name: position for position, name in enumerate(names)}
        self.header_line = 1 if self._parquet is None else None
        if len(names) > MOST_COLUMNS:
            raise TraceError(
                f"found {len(names)} columns, allowed are {MOST_COLUMNS} at most",
                path=path,
                line=self.header_line,
            )
        for position, name in enumerate(names):
            if self.columns[name] != position:
                raise TraceError(f"found column {shown(name)} twice", path=path, line=self.header_line)
        for name in required:
            if name not in self.columns:
                raise TraceError(
                    f"the column is missing{_delimiter(names)}", path=path, line=self.header_line, field=name
                )

    def batches(self, wanted: Sequence[str] | None = None) -> Iterator[Batch]:
        """Read the rows in batches of columns, in bounded memory; of the `wanted` columns alone, if given.

        No batch is empty.
        """
        if self._parquet is not None:
            yield from self._parquet_batches(list(self.columns if wanted is None else wanted))
            return
        for block in self._blocks():
            parsed = self._quoted(block) if b'"' in block.data else self._parsed(block, wanted)
            yield Batch(
                self.path, parsed if wanted is None else parsed.select(list(wanted)), block.first_line
            )

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        for batch in self.batches():
            texts = [batch.texts(name).to_pylist() for name in self.columns]
            for line, values in enumerate(zip(*texts, strict=True), start=batch.first_line):
                yield line, list(values)

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
        """Return the lines below the header, without empty ones at the very end of the file."""
        first_empty = 0
        for block in blocks(self.path, progress=self._progress):
            first_line, data = block.first_line, block.data
            if first_line == 1:
                first_line, data = 2, data.partition(b"\n")[2]
            text = data.rstrip(b"\r\n")
            if text:
                if first_empty:
                    raise self._empty_line(first_empty)
                yield Block(first_line, text)
            if not first_empty and data.count(b"\n", len(text)) > bool(text):
                first_empty = first_line + text.count(b"\n") + bool(text)

    def _parsed(self, block: Block, wanted: Sequence[str] | None) -> pa.RecordBatch:
        """Parse lines without quotes."""
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
                parse_options=pacsv.ParseOptions(
                    quote_char=False, ignore_empty_lines=False, invalid_row_handler=stop
                ),
                convert_options=pacsv.ConvertOptions(
                    include_columns=wanted,
                    column_types=dict.fromkeys(names, pa.string()),
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid:
            found, row = wrong[0]
            raise self._wrong_width(found, block.first_line + row - 1) from None
        batch: pa.RecordBatch = table.combine_chunks().to_batches()[0]
        # an empty line passes for one of empty fields, and is looked for where there is one
        if pc.any(pc.equal(pc.binary_length(batch.column(0)), 0)).as_py():
            lines = block.data.split(b"\n")
            above = next((row for row, line in enumerate(lines) if not line.rstrip(b"\r")), None)
            if above is not None:
                raise self._empty_line(block.first_line + above)
        return batch

    def _quoted(self, block: Block) -> pa.RecordBatch:
        """Parse lines with quotes by the stricter parser, which does not take `"a"b` for a value."""
        rows: list[list[str]] = []
        reader = csv.reader(io.StringIO(block.data.decode(), newline=""), strict=True)
        try:
            for row in reader:
                line = block.first_line + len(rows)
                if not row:
                    raise self._empty_line(line)
                if len(row) != len(self.columns):
                    raise self._wrong_width(len(row), line)
                rows.append(row)
                if reader.line_num != len(rows):
                    raise TraceError("found a quoted line end", path=self.path, line=line)
        except csv.Error as error:
            raise TraceError(str(error), path=self.path, line=block.first_line + len(rows)) from None
        columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
        return pa.RecordBatch.from_arrays(columns, names=list(self.columns))

    def _parquet_batches(self, wanted: list[str]) -> Iterator[Batch]:
        assert self._parquet is not None
        rows, size = self._parquet.metadata.num_rows, self.path.stat().st_size
        first, unpacked = 1, 0
        batch_rows = max(1, min(_ROWS_A_BATCH, _VALUES_A_BATCH // max(1, len(wanted))))
        try:
            for batch in self._parquet.iter_batches(batch_rows, columns=wanted):
                unpacked += batch.nbytes
                check_expansion(unpacked, size, self.path)
                yield Batch(self.path, batch, first)
                first += batch.num_rows
                if self._progress is not None:
                    self._progress(first - 1, rows)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self.path, error) from None

    def _empty_line(self, line: int) -> TraceError:
        return TraceError("found an empty line", path=self.path, line=line)

    def _wrong_width(self, found: int, line: int) -> TraceError:
        return TraceError(
            f"found {found} fields, allowed are the {len(self.columns)} of the header",
            path=self.path,
            line=line,
        )


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, by its first bytes."""
    try:
        with opened(path) as file:
            return file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
    except TraceError:
        return False


def number(text: str, *, field: str, path: Path | None = None, line: int | None = None) -> float:
    """Return a finite number from 0.

    Raises
    ------
    TraceError
        If the text is anything else.
    """
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not (math.isfinite(value) and value >= 0):
        raise TraceError(
            f"found {shown(text)}, allowed is a finite number from 0", path=path, line=line, field=field
        )
    return value


def _parquet_file(path: Path) -> pq.ParquetFile | None:
    if not is_parquet(path):
        return None
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        file.schema_arrow.names  # noqa: B018
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from None
    return file


def _damaged(path: Path, error: Exception) -> TraceError:
    reason = " ".join(str(error).split())
    return TraceError(f"cannot be read, it is damaged ({reason})", path=path)


def _delimiter(names: Sequence[str]) -> str:
    """Return what a header of one name looks parted by, in words."""
    other = next((mark for mark in ";\t|" if len(names) == 1 and mark in names[0]), None)
    return "" if other is None else f"; found fields parted by {shown(other)}, allowed is ','"


def _all_digits(texts: pa.Array | pa.ChunkedArray) -> bool:
    fits: bool = pc.all(pc.ascii_is_decimal(texts), min_count=0).as_py()
    return fits


def _first_uncast(column: pa.Array, kind: pa.DataType) -> int:
    """Return the first row whose value does not fit a type, of a column of which not all do."""
    first, rows = 0, len(column)
    while rows > 1:
        half = rows // 2
        try:
            column.slice(first, half).cast(kind)
        except pa.ArrowInvalid:
            rows = half
        else:
            first, rows = first + half, rows - half
    return first
