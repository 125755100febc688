"""Strict reading of text files: every fault is named with its file and line."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from traces.errors import TraceError, shown


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file.

    Raises
    ------
    TraceError
        If the file cannot be read, is empty, or is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TraceError(f"cannot be read: {error.strerror}", path=path) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TraceError(
            f"found byte 0x{content[error.start]:02x}, allowed is UTF-8 text", path=path, line=line
        ) from None
    if not text.strip():
        raise TraceError("the file is empty", path=path)
    return text


class Table:
    """A CSV file with a header: columns by name, rows with their line numbers.

    Attributes
    ----------
    path
        The file.
    columns
        Position of each column by name, in the order of the file.

    Raises
    ------
    TraceError
        If the file cannot be read, the header repeats a column or lacks a required one; while iterating, if
        a row is shorter or longer than the header.
    """

    def __init__(self, path: Path, required: Sequence[str]) -> None:
        self.path = path
        self._reader = csv.reader(io.StringIO(read_text(path).rstrip("\r\n"), newline=""), strict=True)
        header = [name.strip() for name in self._next_row() or []]
        self.columns = {name: position for position, name in enumerate(header)}
        for position, name in enumerate(header):
            if self.columns[name] != position:
                raise TraceError(f"found column {shown(name)} twice", path=path, line=1)
        for name in required:
            if name not in self.columns:
                raise TraceError("the column is missing", path=path, line=1, field=name)

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        width = len(self.columns)
        while (row := self._next_row()) is not None:
            line = self._reader.line_num
            if len(row) != width:
                raise TraceError(
                    f"found {len(row)} fields, allowed are the {width} of the header",
                    path=self.path,
                    line=line,
                )
            yield line, row

    def _next_row(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except csv.Error as error:
            raise TraceError(str(error), path=self.path, line=self._reader.line_num) from None


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
