from __future__ import annotations

from pathlib import Path

import pytest

from traces import TraceError
from traces.readers.tables import Table, number


def rows_of(path: Path, content: bytes) -> list[tuple[int, list[str]]]:
    """Write a file and read it as a table with a required column `a`."""
    path.write_bytes(content)
    return list(Table(path, required=("a",)))


def test_rows_come_with_their_lines(tmp_path: Path) -> None:
    """Quotes, either line end, a byte-order mark and blank lines at the end are read as CSV means them."""
    content = b'\xef\xbb\xbfb,a\r\n1,"x,y"\r\n2,"two\nlines"\r\n3,z\r\n\r\n'
    assert rows_of(tmp_path / "t.csv", content) == [
        (2, ["1", "x,y"]),
        (4, ["2", "two\nlines"]),
        (5, ["3", "z"]),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "t.csv: the file is empty"),
        (b" \n\n", "t.csv: line 1: found an empty line, allowed is a header"),
        (b"a,b\n1,2\n3\n", "t.csv: line 3: found 1 fields, allowed are the 2 of the header"),
        (b"a,b\n1,2,3\n", "t.csv: line 2: found 3 fields"),
        (b"a,b\n1,2\n\n3,4\n", "t.csv: line 3: found 0 fields"),
        (b"b,c\n1,2\n", "t.csv: line 1: a: the column is missing"),
        (b"a,b,a\n1,2,3\n", "t.csv: line 1: found column 'a' twice"),
        (b"a,b\n1,2\n\xff,3\n", "t.csv: line 3: found byte 0xff, allowed is UTF-8 text"),
        (b'a,b\n1,"2\n', "t.csv: line 2: unexpected end of data"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    """Each fault of form is named with file and line."""
    with pytest.raises(TraceError, match=message):
        rows_of(tmp_path / "t.csv", content)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A missing file and a directory raise the package's own error."""
    for path, message in ((tmp_path / "none.csv", "cannot be read"), (tmp_path, "is not a regular file")):
        with pytest.raises(TraceError, match=message):
            Table(path, required=())


@pytest.mark.parametrize("text", ["", "nan", "inf", "-1", "1_0", "x", "1,5"])
def test_a_number_is_finite_and_from_0(text: str) -> None:
    """What Python would take for a number, but a table must not hold, is refused."""
    with pytest.raises(TraceError, match="f: found"):
        number(text, field="f")
    assert number("1e-3", field="f") == 0.001
