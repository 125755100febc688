from __future__ import annotations

import csv
import gzip
import io
import math
import os
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from traces import TraceError
from traces.readers import source, tables
from traces.readers.tables import Batch, Table, is_parquet, number


def rows_of(path: Path, content: bytes, *, block: int = source.BLOCK) -> list[tuple[int, list[str]]]:
    """Write a file and read it as a table with a required column `a`, in blocks of some bytes."""
    path.write_bytes(content)
    with patch.object(source, "BLOCK", block):
        return list(Table(path, required=("a",)))


def batch_of(columns: dict[str, Any], first_line: int = 2) -> Batch:
    """Return columns as a batch of the file `t.csv`."""
    return Batch(Path("t.csv"), pa.RecordBatch.from_pydict(columns), first_line)


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    """Write columns as a Parquet file."""
    pq.write_table(pa.table(columns), path, **options)
    return path


def read_by_lines(content: bytes, width: int) -> tuple[list[tuple[int, list[str]]], set[int]]:
    """Read the lines below the header one by one; return the rows, and the lines that are no row."""
    lines = content.decode().split("\n")
    while lines and not lines[-1].strip("\r"):
        lines.pop()
    rows: list[tuple[int, list[str]]] = []
    faults: set[int] = set()
    for number_of_line, line in enumerate(lines[1:], start=2):
        try:
            row = next(csv.reader([line.removesuffix("\r")], strict=True), [])
        except csv.Error:
            row = []
        if len(row) == width and line.removesuffix("\r") and "\r" not in line.removesuffix("\r"):
            rows.append((number_of_line, row))
        else:
            faults.add(number_of_line)
    return rows, faults


@given(
    rows=st.lists(st.lists(st.text('a1,";é ', max_size=4), min_size=2, max_size=2), max_size=8),
    line_end=st.sampled_from(["\n", "\r\n"]),
    after=st.integers(0, 4),
    is_cut=st.booleans(),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    block=st.integers(1, 40),
)
def test_what_is_written_is_read_with_its_lines(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[str]],
    line_end: str,
    after: int,
    is_cut: bool,
    mark: bytes,
    block: int,
) -> None:
    """Quotes, either line end, a mark of byte order, empty lines after the end or no line end at all."""
    text = io.StringIO()
    csv.writer(text, lineterminator=line_end).writerows([["b", "a"], *rows])
    content = mark + text.getvalue().encode()
    content = content.removesuffix(line_end.encode()) if is_cut else content + line_end.encode() * after
    path = tmp_path_factory.mktemp("table") / "t.csv"
    assert rows_of(path, content, block=block) == list(enumerate(rows, start=2))
    with patch.object(source, "BLOCK", block):
        columns = [batch.texts("a").to_pylist() for batch in Table(path, required=()).batches(["a"])]
    assert all(columns)
    assert [value for column in columns for value in column] == [row[1] for row in rows]


@given(
    body=st.text('a1,",,\n\n\r ', max_size=40).map(lambda text: text.replace("\r", "\r\n")),
    width=st.integers(1, 3),
    block=st.integers(1, 40),
)
@example(body="\n\n1,2\n", width=2, block=1)
@example(body="\n1\n", width=1, block=40)
@example(body='"1\n2",3\n', width=2, block=40)
@example(body='1,"2', width=2, block=40)
def test_any_text_is_read_line_by_line_or_refused_with_a_line_at_fault(
    tmp_path_factory: pytest.TempPathFactory, body: str, width: int, block: int
) -> None:
    """Two parsers and any edges of blocks find what a reader of single lines finds."""
    content = (",".join(["a", "b", "c"][:width]) + "\n" + body).encode()
    rows, faults = read_by_lines(content, width)
    path = tmp_path_factory.mktemp("table") / "t.csv"
    try:
        found, refusal = rows_of(path, content, block=block), None
    except TraceError as error:
        found, refusal = [], error
    if faults:
        assert refusal is not None
        assert refusal.line in faults
    else:
        assert (found, refusal) == (rows, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "t.csv: the file is empty"),
        (b" \n\n", "t.csv: line 1: found an empty line, allowed is a header"),
        (b"a,b\n1,2\n3\n", "t.csv: line 3: found 1 fields, allowed are the 2 of the header"),
        (b"a,b\n1,2,3\n", "t.csv: line 2: found 3 fields"),
        (b"a,b\n1,2\n\n3,4\n", "t.csv: line 3: found an empty line"),
        (b"a\n1\n\r\n3\n", "t.csv: line 3: found an empty line"),
        (b"a,b\n1,2\n" + b"\n" * 30 + b"3,4\n", "t.csv: line 3: found an empty line"),
        (b"b,c\n1,2\n", "t.csv: line 1: a: the column is missing$"),
        (
            b"b;a\n1;2\n",
            "t.csv: line 1: a: the column is missing; found fields parted by ';', allowed is ','",
        ),
        (b"b\ta\n1\t2\n", "t.csv: line 1: a: the column is missing; found fields parted by '.t', allowed"),
        (b"a,b,a\n1,2,3\n", "t.csv: line 1: found column 'a' twice"),
        (b"a,b\n1,2\n\xff,3\n", "t.csv: line 3: found byte 0xff, allowed is UTF-8 text"),
        (b'a,b\n1,"2\n', "t.csv: line 2: unexpected end of data"),
        (b'a,b\n1,2\n3,"4"5\n', "t.csv: line 3: ',' expected after '\"'"),
        (b'a,b\n1,2\n"3\n4",5\n', "t.csv: line 3: "),
        (b'a,"b\n1,2\n', "t.csv: line 1: unexpected end of data"),
    ],
)
@pytest.mark.parametrize("block", [1, 9, 1000])
def test_a_broken_file_is_refused_with_its_line(
    tmp_path: Path, content: bytes, message: str, block: int
) -> None:
    """Each fault of form is named with file and line, in whichever block it lies."""
    with pytest.raises(TraceError, match=message):
        rows_of(tmp_path / "t.csv", content, block=block)


def test_names_of_columns_are_bounded_in_number(tmp_path: Path) -> None:
    """A header of a million names is no table of a trace."""
    header = ",".join(f"c{position}" for position in range(tables.MOST_COLUMNS + 1))
    with pytest.raises(TraceError, match="line 1: found 10001 columns, allowed are 10000"):
        rows_of(tmp_path / "t.csv", header.encode())
    (tmp_path / "t.csv").write_text(header.rpartition(",")[0])
    assert len(Table(tmp_path / "t.csv", required=()).columns) == tables.MOST_COLUMNS


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A missing file, a folder and a pipe raise the package's own error, the pipe without waiting."""
    pipe = tmp_path / "pipe.parquet"
    os.mkfifo(pipe)
    for path, message in (
        (tmp_path / "none.csv", "cannot be read"),
        (tmp_path, "is not a regular file"),
        (pipe, "is not a regular file"),
    ):
        assert not is_parquet(path)
        with pytest.raises(TraceError, match=message):
            Table(path, required=())


def test_packed_tables_are_read_and_empty_lines_cost_no_memory(tmp_path: Path) -> None:
    """A hundred megabytes of empty lines after the last row are the end of the file."""
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"\n" * 2**20) * 100)
    tracemalloc.start()
    try:
        assert list(Table(path, required=())) == [(2, ["1", "2"])]
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["", "nan", "inf", "-1", "1_0", "x", "1,5", "\u0661", "1e400", "0x1", "."])
def test_a_number_is_finite_and_from_0(text: str) -> None:
    """What Python would take for a number, but a table must not hold, is refused."""
    with pytest.raises(TraceError, match="f: found"):
        number(text, field="f")
    assert number("1e-3", field="f") == 0.001


NUMBER_LIKE = (
    st.text("0123456789.eE+-x_ nanif\u0661", max_size=8) | st.floats().map(repr) | st.integers().map(str)
)


@given(texts=st.lists(NUMBER_LIKE, min_size=1, max_size=5))
@example(texts=["1", "+1", " 1 ", "5.", ".5", "1e5", "1E+05", "1e-400", "-0", "00012"])
def test_a_column_of_numbers_is_read_as_each_number_is(texts: list[str]) -> None:
    """The bulk conversion takes what `number` takes, to the same last bit, and names one that it does not."""
    singly: list[float | None] = []
    for text in texts:
        try:
            singly.append(number(text, field="x"))
        except TraceError:
            singly.append(None)
    batch = batch_of({"x": texts}, first_line=10)
    if None not in singly:
        assert batch.numbers("x").tolist() == singly
    else:
        with pytest.raises(TraceError, match=r"^t.csv: line 1\d: x: found") as refusal:
            batch.numbers("x")
        assert refusal.value.line is not None
        assert singly[refusal.value.line - 10] is None


@given(
    columns=st.lists(
        st.lists(st.integers(-20, 2**54).map(str) | NUMBER_LIKE, min_size=2, max_size=2),
        min_size=1,
        max_size=3,
    ),
    most=st.sampled_from([5, 2**31 - 1, 2**53]),
)
@example(columns=[["007", "0"]], most=5)
@example(columns=[["1", "9" * 30]], most=2**53)
def test_whole_numbers_are_digits_within_bounds(columns: list[list[str]], most: int) -> None:
    """One column or many at once: digits alone, a minus sign only where the bound allows it."""
    names = [f"c{position}" for position in range(len(columns))]
    batch = batch_of(dict(zip(names, columns, strict=True)))
    fits = [
        all(text.isascii() and text.isdigit() and int(text) <= most for text in column) for column in columns
    ]
    for name, column, is_fit in zip(names, columns, fits, strict=True):
        if is_fit:
            assert batch.whole_numbers(name, most=most).tolist() == [int(text) for text in column]
        else:
            with pytest.raises(TraceError, match=f"line [23]: {name}: found .*, allowed is a whole number"):
                batch.whole_numbers(name, most=most)
    if all(fits):
        assert batch.whole_number_rows(names, most=most).T.tolist() == [
            [int(text) for text in column] for column in columns
        ]
    else:
        with pytest.raises(TraceError, match=f"{names[fits.index(False)]}: found"):
            batch.whole_number_rows(names, most=most)


def test_bounds_hold_on_both_sides() -> None:
    """The least and the most that a caller allows are allowed, and nothing beyond them."""
    batch = batch_of({"x": ["-3", "4"]})
    assert batch.whole_numbers("x", least=-3, most=4).tolist() == [-3, 4]
    assert batch.numbers("x", least=-3, most=4).tolist() == [-3.0, 4.0]
    for bounds, line in (((-2, 4), 2), ((-3, 3), 3)):
        for read in (batch.whole_numbers, batch.numbers):
            with pytest.raises(TraceError, match=f"line {line}: x: found '.*from {bounds[0]} to {bounds[1]}"):
                read("x", least=bounds[0], most=bounds[1])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("column", "read", "found"),
    [
        (pa.array([3, 2, 1], pa.int8()), "whole_numbers", [3, 2, 1]),
        (pa.array([3, 2, 1], pa.uint64()), "whole_numbers", [3, 2, 1]),
        (pa.array([3.0, 2.0, 1.0]), "whole_numbers", [3, 2, 1]),
        (pa.array(["3", "2", "1"], pa.large_string()), "whole_numbers", [3, 2, 1]),
        (pa.array(["3", "2", "1"]).dictionary_encode(), "whole_numbers", [3, 2, 1]),
        (pa.array([3, 2, 1], pa.int32()), "numbers", [3.0, 2.0, 1.0]),
        (pa.array([0.5, 2, 1], pa.float32()), "numbers", [0.5, 2.0, 1.0]),
        (pa.array(["3", "b", ""]).dictionary_encode(), "texts", ["3", "b", ""]),
        (pa.array([b"3", b"b", b""]), "texts", ["3", "b", ""]),
        (pa.array([3, 2, 1]), "texts", ["3", "2", "1"]),
    ],
)
def test_kinds_of_parquet_columns_are_taken_for_what_they_say(
    tmp_path: Path, column: pa.Array, read: str, found: list[object]
) -> None:
    """Text and numbers of any width, coded or not."""
    path = parquet(tmp_path / "t.parquet", {"x": column, "y": [0, 0, 0]})
    assert is_parquet(path)
    batches = list(Table(path, required=("x",)).batches(["x"]))
    assert [batch.first_line for batch in batches] == [1]
    values = getattr(batches[0], read)("x")
    assert (values.to_pylist() if isinstance(values, pa.Array) else values.tolist()) == found
    if read == "whole_numbers":
        assert batches[0].whole_number_rows(["x", "x"]).tolist() == [[value, value] for value in found]


@pytest.mark.parametrize(
    ("column", "read", "message"),
    [
        (pa.array([1, 1, None]), "whole_numbers", "line 3: x: found None, allowed is a whole number"),
        (pa.array([1.0, 1.0, None]), "numbers", "line 3: x: found None, allowed is a finite number"),
        (pa.array(["a", None, "b"]), "texts", "line 2: x: found None, allowed is text"),
        (pa.array([1, 1, -1]), "whole_numbers", "line 3: x: found -1"),
        (pa.array([1.0, 1.5, 2.5]), "whole_numbers", "line 2: x: found 1.5"),
        (pa.array([1.0, math.nan, 1.0]), "whole_numbers", "line 2: x: found nan"),
        (pa.array([1.0, 2.0, math.inf]), "numbers", "line 3: x: found inf"),
        (pa.array([1, 2, 2**63], pa.uint64()), "whole_numbers", "line 3: x: found 9223372036854775808"),
        (pa.array([True, False, True]), "whole_numbers", "x: found a column of bool"),
        (pa.array([[1], [2], [3]]), "numbers", "x: found a column of list"),
        (pa.array([[1], [2], [3]]), "texts", "x: found a column of list"),
        (pa.array([b"a", b"\xff", b"c"]), "texts", "x: found a column of binary"),
        (pa.array([None, None, None]), "whole_numbers", "line 1: x: found None"),
    ],
)
def test_kinds_of_parquet_columns_that_do_not_fit_are_refused(
    tmp_path: Path, column: pa.Array, read: str, message: str
) -> None:
    """The file and the column are named, and the row where it is one row's fault."""
    path = parquet(tmp_path / "t.parquet", {"x": column})
    with pytest.raises(TraceError, match=f"t.parquet: {message}"):
        [getattr(batch, read)("x") for batch in Table(path, required=("x",)).batches()]


def test_parquet_is_read_in_batches_with_its_rows(tmp_path: Path) -> None:
    """Batches are bounded in values, count rows from 1 through all groups, and are never empty."""
    path = parquet(tmp_path / "t.parquet", {"x": list(range(1000)), "y": ["a"] * 1000}, row_group_size=300)
    told: list[tuple[int, int]] = []
    with patch.object(tables, "_VALUES_A_BATCH", 300):
        found = list(Table(path, required=(), progress=lambda *done: told.append(done)).batches())
    assert max(map(len, found)) <= 150
    assert [
        line for batch in found for line in range(batch.first_line, batch.first_line + len(batch))
    ] == list(range(1, 1001))
    assert np.concatenate([batch.whole_numbers("x") for batch in found]).tolist() == list(range(1000))
    assert told[-1] == (1000, 1000)
    assert [row for _, row in Table(path, required=())][:2] == [["0", "a"], ["1", "a"]]


def test_groups_without_rows_make_no_batch(tmp_path: Path) -> None:
    """Some programs write them; the rows after them keep their numbers."""
    path = tmp_path / "t.parquet"
    rows = pa.table({"x": [1, 2]})
    with pq.ParquetWriter(path, rows.schema) as writer:
        for part in (rows[:0], rows, rows[:0], rows, rows[:0]):
            writer.write_table(part)
    with patch.object(tables, "_VALUES_A_BATCH", 2):
        found = list(Table(path, required=("x",)).batches())
    assert [(batch.first_line, len(batch)) for batch in found] == [(1, 2), (3, 2)]
    pq.write_table(rows[:0], path)
    assert list(Table(path, required=("x",)).batches()) == []


def test_a_parquet_bomb_is_refused(tmp_path: Path) -> None:
    """Rows that a few bytes stand for do not fill the memory."""
    path = parquet(tmp_path / "t.parquet", {"x": np.zeros(2_000_000)})
    assert path.stat().st_size < 10_000
    with (
        patch.object(source, "EXPANSION_FROM", 2**22),
        pytest.raises(TraceError, match="unpacks to more than 300 times its size"),
    ):
        [len(batch) for batch in Table(path, required=()).batches()]


@given(data=st.data())
def test_a_damaged_parquet_file_is_read_or_refused_by_the_package(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Bytes changed or cut off never escape as anything but a TraceError that names the file."""
    path = parquet(
        tmp_path_factory.mktemp("table") / "t.parquet",
        {"x": list(range(50)), "y": [f"f{row % 3}" for row in range(50)]},
        write_page_checksum=True,
    )
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(len(content) // 2, len(content))) :]
    path.write_bytes(bytes(content))
    refusal = f"{path}: "
    try:
        for batch in Table(path, required=("x",)).batches(["x"]):
            batch.whole_numbers("x")
    except TraceError as error:
        refusal = str(error)
    assert refusal.startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("names", "message"),
    [(["x", "x"], "found column 'x' twice"), (["y", "z"], "x: the column is missing")],
)
def test_names_of_parquet_columns_are_checked(tmp_path: Path, names: Sequence[str], message: str) -> None:
    """A name that stands twice or is missing is refused, without a line."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=list(names)), path)
    with pytest.raises(TraceError, match=f"t.parquet: {message}"):
        Table(path, required=("x",))


def test_an_encrypted_parquet_file_is_refused(tmp_path: Path) -> None:
    """Its first bytes are those of no text."""
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PARE" + bytes(range(200, 250)) + b"PARE")
    with pytest.raises(TraceError, match=r"t.parquet: line 1: found byte"):
        Table(path, required=())
