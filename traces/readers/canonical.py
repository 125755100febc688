"""The project's own form of a trace: one Parquet file, which reads back as the very same trace.

Columns `function`, `arrival_s` and, where there are tokens, `input_tokens` and `output_tokens`; a row a
request, grouped by function, ascending in time. What belongs to functions or to the whole (names, attributes,
the window, provenance) is JSON under one key of the schema's metadata, with a checksum of it and of the rows
under another. A file without these keys is read as well, if it has the columns: see `read_parquet`. The form
is described in `docs/trace-format.md`.
"""

from __future__ import annotations

import errno
import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from traces.columns import offsets_of
from traces.errors import TraceError, shown
from traces.readers.source import Progress, check_expansion, head, identity
from traces.readers.tables import PARQUET_MAGIC, Batch, Table
from traces.trace import Trace

METADATA_KEY: Final = b"dilu-lab.trace"
CHECKSUM_KEY: Final = b"dilu-lab.trace.crc32"
VERSION: Final = 1

ROWS_A_GROUP: Final = 2**18
MOST_METADATA: Final = 70 * 10**6
"""Parquet takes texts of up to 100 MB, and pyarrow keeps the metadata a second time, as base64."""

LATEST_S: Final = 1e9
"""Of tables made elsewhere: 30 years, and less than what clocks count since 1970."""

_TOKENS = ("input_tokens", "output_tokens")
_INT32_MAX = 2**31 - 1
_NUMBERS = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
_FRACTIONS = ("float16", "float32", "float64")


def write_trace(path: Path | str, trace: Trace) -> None:
    """Write a trace as one Parquet file, whole or not at all; the same trace gives the same bytes.

    It is written beside `path` and takes the place of a file that is there.

    Raises
    ------
    TraceError
        If the file cannot be written; if attributes are no columns of numbers, truth values or text, or a
        name is no text that UTF-8 has.
    """
    path = Path(path)
    about = _described(trace)
    try:
        if path.exists() and not path.is_file():
            raise OSError(errno.EEXIST, "what is there is no regular file")
        with _taking_the_place_of(path) as file:
            unpacked = _write(file, trace, about, compression="zstd")
            if not _is_readable(unpacked, file.tell(), path):
                file.seek(0)
                _write(file, trace, about, compression="none")
    except (OSError, ValueError) as error:  # a ValueError: a name that no file can have
        reason = error.strerror if isinstance(error, OSError) else None
        raise TraceError(f"cannot be written: {reason or error}", path=path) from None


def read_parquet(path: Path | str, *, progress: Progress | None = None) -> Trace:
    """Read a trace from Parquet: what `write_trace` wrote, or a table of requests made elsewhere.

    A table made elsewhere has a column `function` (text) and a column `arrival_s` (seconds from 0); its rows
    are in the order of time, of each function at least. `input_tokens` and `output_tokens` are taken as well,
    other columns are not. Functions are those of the rows, by first appearance; the window ends with the
    second of the last request.

    Raises
    ------
    TraceError
        If the file cannot be read, is of another version of the format, lacks a column, or is not as it was
        written; if a time is not a finite number from 0 or goes back, a number of tokens is not a whole
        number from 0, or a value is missing.
    """
    path = Path(path)
    if not head(path).startswith(PARQUET_MAGIC):
        raise TraceError("is not Parquet", path=path)
    table = Table(path, required=("function", "arrival_s"), progress=progress)
    about = _about(path)
    functions, columns = _rows(table, about)
    owner = _grouped(path, columns)
    if about is None:
        return _made_elsewhere(path, functions, owner, columns)
    try:
        trace = Trace(
            functions=functions,
            offsets=offsets_of(np.bincount(owner, minlength=len(functions))),
            duration_s=about.duration_s,
            attributes=about.attributes,
            provenance=about.provenance,
            arrival_s=columns["arrival_s"],
            input_tokens=columns.get("input_tokens"),
            output_tokens=columns.get("output_tokens"),
        )
    except TraceError as error:
        raise TraceError(f"its metadata and its rows contradict each other ({error})", path=path) from None
    if _checksum(about.text, trace) != about.checksum:
        raise TraceError(
            "is damaged or was changed after it was written; without its metadata it is read as any table",
            path=path,
        )
    return trace


@dataclass(frozen=True, slots=True)
class _About:
    """What the metadata says of a trace: its text, the checksum beside it, and what it means."""

    text: bytes
    checksum: bytes
    functions: tuple[str, ...]
    duration_s: float
    attributes: Mapping[str, NDArray[Any]]
    provenance: Mapping[str, object]


def _about(path: Path) -> _About | None:
    """Return what the metadata says; `None` if the file was made elsewhere."""
    metadata = pq.read_schema(path).metadata or {}
    if METADATA_KEY not in metadata and CHECKSUM_KEY not in _footer(path):
        return None
    text, checksum = (metadata.get(key, b"") for key in (METADATA_KEY, CHECKSUM_KEY))
    try:
        said = json.loads(text)
        version = said["version"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise TraceError("its metadata is damaged", path=path) from None
    if type(version) is not int or version != VERSION:
        raise TraceError(
            f"found version {shown(version)} of the format, allowed is {VERSION}", path=path, field="version"
        )
    try:
        names, duration_s, provenance = said["functions"], said["duration_s"], said["provenance"]
        attributes = {name: _column(**column) for name, column in said["attributes"].items()}
        if not isinstance(duration_s, float) or not isinstance(provenance, dict):
            raise TypeError
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise TypeError
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        raise TraceError("its metadata is damaged", path=path) from None
    return _About(text, checksum, tuple(names), duration_s, attributes, provenance)


def _footer(path: Path) -> bytes:
    """Return the end of a Parquet file: where damage ends it early, metadata is there and not seen."""
    with path.open("rb") as file:
        start = file.seek(-8, os.SEEK_END)
        size = int.from_bytes(file.read(4), "little")
        file.seek(max(start - size, 0))
        return file.read(size)


def _rows(table: Table, about: _About | None) -> tuple[tuple[str, ...], dict[str, NDArray[Any]]]:
    """Return the functions, and the columns `owner` (positions of functions), `arrival_s` and tokens."""
    tokens = [name for name in _TOKENS if name in table.columns]
    index = {name: at for at, name in enumerate(about.functions)} if about else {}
    parts: dict[str, list[NDArray[Any]]] = {
        "owner": [np.empty(0, np.int32)],
        "arrival_s": [np.empty(0)],
        **{name: [np.empty(0, np.int32)] for name in tokens},
    }
    latest_s = math.inf if about else LATEST_S
    for batch in table.batches(["function", "arrival_s", *tokens]):
        parts["owner"].append(_owners(batch, index, is_complete=about is not None))
        parts["arrival_s"].append(batch.numbers("arrival_s", most=latest_s))
        for name in tokens:
            parts[name].append(batch.whole_numbers(name, most=_INT32_MAX).astype(np.int32))
    return tuple(index), {name: np.concatenate(parts.pop(name)) for name in list(parts)}


def _owners(batch: Batch, index: dict[str, int], *, is_complete: bool) -> NDArray[np.int32]:
    """Return the position in `index` of each row's function; new ones are added unless it is complete."""
    column = batch.columns.column("function")
    is_coded = pa.types.is_dictionary(column.type) and pa.types.is_string(column.type.value_type)
    if column.null_count or not is_coded:
        column = batch.texts("function").dictionary_encode()
    codes = column.indices.to_numpy()
    used = pc.unique(column.indices).to_numpy()  # by first appearance
    try:
        names = column.dictionary.take(pa.array(used)).to_pylist()
    except UnicodeDecodeError:
        raise TraceError("found bytes that are no UTF-8 text", path=batch.path, field="function") from None
    position = np.zeros(len(column.dictionary), dtype=np.int32)
    for code, name in zip(used.tolist(), names, strict=True):
        if not name:
            raise batch.fault(int(np.argmax(codes == code)), "function", "a name that is not empty")
        if is_complete and name not in index:
            raise batch.fault(int(np.argmax(codes == code)), "function", "one that its metadata names")
        position[code] = index.setdefault(name, len(index))
    owners: NDArray[np.int32] = position[codes]
    return owners


def _grouped(path: Path, columns: dict[str, NDArray[Any]]) -> NDArray[np.int32]:
    """Take the owners out of the columns, and group the rows by them, as those of `write_trace` are already.

    Raises
    ------
    TraceError
        If the times of a function go back.
    """
    owner: NDArray[np.int32] = columns.pop("owner")
    order = None
    if (owner[1:] < owner[:-1]).any():
        narrowest = np.min_scalar_type(int(owner.max()))  # numpy sorts 16 bits by radix, far faster than 32
        order = np.argsort(owner.astype(narrowest), kind="stable")
        owner = owner[order]
        for name in columns:
            columns[name] = columns[name][order]
    times = columns["arrival_s"]
    back = (times[1:] < times[:-1]) & (owner[1:] == owner[:-1])
    if back.any():
        at = int(np.argmax(back)) + 1
        raise TraceError(
            f"found {times[at]} after {times[at - 1]} of the same function, allowed is ascending time",
            path=path,
            line=1 + (at if order is None else int(order[at])),
            field="arrival_s",
        )
    return owner


def _made_elsewhere(
    path: Path,
    functions: tuple[str, ...],
    owner: NDArray[np.int32],
    columns: dict[str, NDArray[Any]],
) -> Trace:
    """Return the trace of a table that says nothing of its window."""
    if not functions:
        raise TraceError("holds no request", path=path)
    return Trace(
        functions=functions,
        offsets=offsets_of(np.bincount(owner, minlength=len(functions))),
        duration_s=math.floor(columns["arrival_s"].max()) + 1.0,
        arrival_s=columns["arrival_s"],
        input_tokens=columns.get("input_tokens"),
        output_tokens=columns.get("output_tokens"),
        provenance={"source": "a table of requests", "files": [identity(path)], "transforms": []},
    )


def _described(trace: Trace) -> bytes:
    """Return what the metadata is to say."""
    try:
        "".join(trace.functions).encode()
    except UnicodeEncodeError as error:
        raise TraceError(
            f"found character {shown(error.object[error.start])}, allowed is what UTF-8 has",
            field="functions",
        ) from None
    text = json.dumps(
        {
            "version": VERSION,
            "duration_s": trace.duration_s,
            "functions": trace.functions,
            "attributes": {
                name: _described_column(name, trace.attributes[name]) for name in trace.attributes
            },
            "provenance": dict(trace.provenance),
        },
        allow_nan=False,
        separators=(",", ":"),
    ).encode()
    if len(text) > MOST_METADATA:
        raise TraceError(
            f"found {len(trace.functions)} functions, whose names and attributes take {len(text)} bytes; "
            f"allowed are {MOST_METADATA}",
            field="functions",
        )
    return text


def _described_column(name: str, column: NDArray[Any]) -> dict[str, object]:
    """Return a column of attributes as JSON has it: NaN is null, and infinity is text."""
    kind = "text" if column.dtype.kind == "U" else column.dtype.name
    if kind not in ("text", *_NUMBERS, *_FRACTIONS):
        raise TraceError(
            f"found values of {column.dtype}, allowed are numbers, truth values and text",
            field=f"attributes.{name}",
        )
    values = column.tolist()
    if kind in _FRACTIONS:
        values = [
            value if math.isfinite(value) else None if math.isnan(value) else str(value) for value in values
        ]
    return {"type": kind, "values": values}


def _column(type: str, values: list[Any]) -> NDArray[Any]:  # noqa: A002  # the name in the file
    """Return what `_described_column` described; an error if it cannot have."""
    if type in _FRACTIONS:
        return np.array([math.nan if value is None else float(value) for value in values], dtype=type)
    if type not in ("text", *_NUMBERS):
        raise ValueError
    column = np.array(values, dtype=str if type == "text" else type)
    if column.tolist() != values:
        raise ValueError
    return column


def _checksum(about: bytes, trace: Trace) -> bytes:
    """Return the CRC-32 of the metadata and of all columns, each after its name, as little-endian numbers."""
    crc = zlib.crc32(about)
    for name in ("offsets", "arrival_s", *_TOKENS):
        column = getattr(trace, name)
        if column is not None:
            crc = zlib.crc32(name.encode(), crc)
            crc = zlib.crc32(np.ascontiguousarray(column, column.dtype.newbyteorder("<")).data, crc)
    return b"%08x" % crc


def _write(file: BinaryIO, trace: Trace, about: bytes, *, compression: str) -> int:
    """Write the rows and the metadata; return the size of the columns in memory (bytes)."""
    tokens = {name: column for name in _TOKENS if (column := getattr(trace, name)) is not None}
    schema = pa.schema(
        [
            pa.field("function", pa.dictionary(pa.int32(), pa.string()), nullable=False),
            pa.field("arrival_s", pa.float64(), nullable=False),
            *(pa.field(name, pa.int32(), nullable=False) for name in tokens),
        ],
        metadata={METADATA_KEY: about, CHECKSUM_KEY: _checksum(about, trace)},
    )
    names = pa.array(trace.functions, pa.string())
    writer = pq.ParquetWriter(
        file,
        schema,
        compression=compression,
        use_dictionary=["function"],
        column_encoding={"arrival_s": "BYTE_STREAM_SPLIT"} | dict.fromkeys(tokens, "DELTA_BINARY_PACKED"),
    )
    size = 0
    with writer:
        for start in range(0, max(len(trace), 1), ROWS_A_GROUP):
            rows = slice(start, min(start + ROWS_A_GROUP, len(trace)))
            columns = [
                _function_column(trace, rows, names),
                pa.array(trace.arrival_s[rows]),
                *(pa.array(column[rows]) for column in tokens.values()),
            ]
            size += sum(column.nbytes for column in columns)
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=ROWS_A_GROUP)
    return size


def _function_column(trace: Trace, rows: slice, names: pa.Array) -> pa.DictionaryArray:
    """Return the functions of some rows, with the names of these functions alone."""
    first, end = np.searchsorted(trace.offsets, [rows.start, rows.stop], side="right").tolist()
    first, end = max(first - 1, 0), min(end, len(names))
    bounds = np.clip(trace.offsets[first : end + 1], rows.start, rows.stop)
    codes = np.repeat(np.arange(end - first, dtype=np.int32), bounds[1:] - bounds[:-1])
    return pa.DictionaryArray.from_arrays(pa.array(codes), names[first:end])


def _is_readable(unpacked: int, size: int, path: Path) -> bool:
    """Whether a file does not expand so far that no reader takes it, as it does if all times are the same."""
    try:
        check_expansion(
            2 * unpacked, size, path
        )  # twice: what a reader has in memory may be laid out otherwise
    except TraceError:
        return False
    return True


@contextmanager
def _taking_the_place_of(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of another once it is whole, and is gone if it never is."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with beside.open("w+b") as file:
            yield file
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
