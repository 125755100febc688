"""Frozen dataclasses as the rows of a CSV file, read strictly: a column a field, in the order of the fields.

A row is one line, handed to the system as one write and flushed, and is whole only with its newline. `None`
is an empty cell; the repeats of a tuple are parted by semicolons; numbers are written so that they read back
exactly. No text holds a comma, so nothing is quoted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from profiles.errors import ProfileError

Row = TypeVar("Row")


def write_rows(path: Path, rows: Iterable[Row], row_type: type[Row]) -> None:
    """Write a file of rows beside, then rename it."""
    text = _line(_columns(row_type)) + "".join(_line(_cells(row)) for row in rows)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8", newline="")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def append_rows(path: Path, rows: Iterable[Row], row_type: type[Row]) -> None:
    """Add rows to a file, after its header, and flush them; remove a last line that was left unfinished.

    Raises
    ------
    ProfileError
        If the file has another header.
    """
    header = _line(_columns(row_type)).encode()
    with path.open("a+b", buffering=0) as file:
        file.seek(0)
        there = file.read()
        whole = there[: there.rfind(b"\n") + 1]
        if whole and not whole.startswith(header):
            found = whole.splitlines()[0].decode(errors="replace")
            raise ProfileError(f"{path}: line 1: found {found}, allowed is {header.decode().strip()}")
        if len(whole) < len(there):
            file.truncate(len(whole))
        if not whole:
            file.write(header)
        for row in rows:
            file.write(_line(_cells(row)).encode())


def read_rows(path: Path, row_type: type[Row]) -> list[Row]:
    """Read a file of rows; a last line without its newline was left unfinished, and is left out.

    Raises
    ------
    ProfileError
        If the file is missing or malformed, naming line and column.
    """
    try:
        *lines, _unfinished = path.read_bytes().decode("utf-8").replace("\r\n", "\n").split("\n")
    except OSError as error:
        raise ProfileError(f"{path}: found no readable file ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{path}: found bytes that are not UTF-8 text") from None
    columns = _columns(row_type)
    if not lines or lines[0] != ",".join(columns):
        found = lines[0] if lines else "an empty file"
        raise ProfileError(f"{path}: line 1: found {found}, allowed is {','.join(columns)}")
    hints = get_type_hints(row_type)
    readers = [(name, hints[name]) for name in columns]
    numbered = enumerate(lines[1:], start=2)
    return [_row(f"{path}: line {number}", line, row_type, readers) for number, line in numbered]


def _columns(row_type: type[Any]) -> list[str]:
    return [field.name for field in fields(row_type)]


def _line(cells: list[str]) -> str:
    return ",".join(cells) + "\n"


def _cells(row: Any) -> list[str]:
    return [_cell(getattr(row, name)) for name in _columns(type(row))]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ";".join(_cell(part) for part in value)
    return repr(float(value)) if isinstance(value, float) else str(value)


def _row(where: str, line: str, row_type: type[Row], readers: list[tuple[str, Any]]) -> Row:
    cells = line.split(",")
    if len(cells) != len(readers):
        raise ProfileError(f"{where}: found {len(cells)} cells, allowed are {len(readers)}")
    pairs = zip(cells, readers, strict=True)
    values = {name: _value(f"{where}: {name}", cell, hint) for cell, (name, hint) in pairs}
    try:
        return row_type(**values)
    except ProfileError as error:
        raise ProfileError(f"{where}: {error}") from None


def _value(where: str, cell: str, hint: Any) -> object:
    """Read a cell as the type of its field says."""
    members: tuple[Any, ...] = getattr(hint, "__args__", ())
    if type(None) in members:
        return None if cell == "" else _value(where, cell, members[0])
    if hint is bool:
        if cell not in ("true", "false"):
            raise ProfileError(f"{where}: found {cell!r}, allowed are true and false")
        return cell == "true"
    if hint is int or hint is float:
        return _number(where, cell, hint)
    if getattr(hint, "__origin__", None) is tuple:
        return tuple(_number(where, part, float) for part in cell.split(";"))
    return cell


def _number(where: str, cell: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(cell)
    except ValueError:
        allowed = "a whole number" if kind is int else "a number"
        raise ProfileError(f"{where}: found {cell!r}, allowed is {allowed}") from None
