from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept_traces import SMALL, TOKENS, same

from traces import TraceError
from traces.readers import canonical, source
from traces.readers.canonical import CHECKSUM_KEY, METADATA_KEY, read_parquet, write_trace


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a place for a file."""
    return tmp_path / "trace.parquet"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for one file after another."""
    return tmp_path_factory.mktemp("canonical")


def changed(
    path: Path,
    *,
    about: Callable[[dict[str, Any]], object] = lambda about: None,
    rows: Callable[[pa.Table], pa.Table] = lambda rows: rows,
    with_checksum: bool = True,
) -> Path:
    """Change the metadata or the rows of the small trace; the checksum of the old rows fits the metadata."""
    write_trace(path, SMALL)
    table = pq.read_table(path)
    said = json.loads(table.schema.metadata[METADATA_KEY])
    about(said)
    text = json.dumps(said).encode()
    metadata = {METADATA_KEY: text}
    if with_checksum:
        metadata[CHECKSUM_KEY] = canonical._checksum(text, SMALL)
    pq.write_table(rows(table).replace_schema_metadata(metadata), path)
    return path


def elsewhere(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    """Write a table of requests that says nothing more."""
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.mark.parametrize(
    ("about", "fault"),
    [
        (lambda about: about.update(version=2), "version: found version 2 of the format, allowed is 1"),
        (lambda about: about.update(version=True), "version: found version True"),
        (lambda about: about.update(version="1"), "version: found version '1'"),
        (lambda about: about.pop("version"), "its metadata is damaged"),
        (lambda about: about.pop("functions"), "its metadata is damaged"),
        (lambda about: about.update(functions=["b", "idle", "b"]), "its metadata is damaged"),
        (lambda about: about.update(functions=["b", 1, "a"]), "its metadata is damaged"),
        (lambda about: about.update(functions=3), "its metadata is damaged"),
        (lambda about: about.update(functions=["b", "idle"]), "line 3: function: found 'a', allowed is one"),
        (lambda about: about.update(functions=["b", "", "a"]), "contradict each other (functions: found ''"),
        (lambda about: about["functions"].append("new"), "contradict each other (execution_s: found shape"),
        (lambda about: about.update(duration_s=1.5), "contradict each other (arrival_s: found 2.0"),
        (lambda about: about.update(duration_s=math.nan), "contradict each other (duration_s: found nan"),
        (lambda about: about.update(duration_s=10**400), "its metadata is damaged"),
        (lambda about: about.update(duration_s="3"), "its metadata is damaged"),
        (lambda about: about.update(attributes=[]), "its metadata is damaged"),
        (lambda about: about["attributes"].update(x=[1, 2, 3]), "its metadata is damaged"),
        (lambda about: about["attributes"]["trigger"].update(type="object"), "its metadata is damaged"),
        (lambda about: about["attributes"]["trigger"].update(type="int64"), "its metadata is damaged"),
        (lambda about: about["attributes"]["execution_s"].update(type="int8"), "its metadata is damaged"),
        (lambda about: about["attributes"]["trigger"].update(values=[1, 2, 3]), "its metadata is damaged"),
        (lambda about: about["attributes"].update(x={"type": "int8", "values": [1.5, 2, 3]}), "its metadata"),
        (lambda about: about["attributes"].update(x={"type": "int8", "values": [128, 2, 3]}), "its metadata"),
        (lambda about: about["attributes"]["execution_s"]["values"].append(1), "contradict each other"),
        (lambda about: about["attributes"]["trigger"].update(values=["a", ["b"], "c"]), "its metadata is"),
        (lambda about: about.update(provenance=None), "its metadata is damaged"),
        (lambda about: about["provenance"].update(x=math.inf), "contradict each other (provenance"),
    ],
)
def test_metadata_that_cannot_be_is_refused(
    file: Path, about: Callable[[dict[str, Any]], object], fault: str
) -> None:
    """Another version, missing parts, wrong types, and what contradicts the rows, each in one line."""
    with pytest.raises(TraceError) as caught:
        read_parquet(changed(file, about=about))
    assert str(caught.value).startswith(f"{file}: ")
    assert fault in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'"version"'])
def test_metadata_that_is_no_object_is_refused(file: Path, text: bytes) -> None:
    """Bytes under the key that say nothing are damage."""
    write_trace(file, SMALL)
    table = pq.read_table(file).replace_schema_metadata({METADATA_KEY: text})
    pq.write_table(table, file)
    with pytest.raises(TraceError, match="its metadata is damaged"):
        read_parquet(file)


def with_column(table: pa.Table, name: str, values: list[Any], kind: pa.DataType | None = None) -> pa.Table:
    """Return a table with one column replaced."""
    return table.set_column(table.column_names.index(name), name, pa.array(values, kind))


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (lambda rows: rows.slice(0, 4), "is damaged or was changed"),
        (lambda rows: rows.drop_columns(["output_tokens"]), "is damaged or was changed"),
        (lambda rows: rows.drop_columns(["arrival_s"]), "arrival_s: the column is missing"),
        (lambda rows: rows.rename_columns(["function", "arrival_s", *TOKENS[::-1]]), "is damaged or was"),
        (lambda rows: with_column(rows, "input_tokens", [1, 2, 3, 4, 6]), "is damaged or was changed"),
        (lambda rows: with_column(rows, "arrival_s", [0.5, 1, 0.25, 0.25, 2.1]), "is damaged or was changed"),
        (lambda rows: with_column(rows, "arrival_s", [0.5, 0.4, 0.25, 0.25, 2]), "line 2: arrival_s: found"),
        (lambda rows: with_column(rows, "arrival_s", [0.5, 1, -1, 0.25, 2]), "line 3: arrival_s: found -1.0"),
        (
            lambda rows: with_column(rows, "arrival_s", [0.5, 1, 0, 0, math.nan]),
            "line 5: arrival_s: found nan",
        ),
        (lambda rows: with_column(rows, "arrival_s", [0.5, 1, None, 0, 1]), "line 3: arrival_s: found None"),
        (
            lambda rows: with_column(rows, "function", ["b", "b", "a", "a", "x"]),
            "line 5: function: found 'x'",
        ),
        (lambda rows: with_column(rows, "function", ["b", "b", "b", "a", "a"]), "line 3: arrival_s: found"),
        (
            lambda rows: with_column(rows, "function", ["b", "b", None, "a", "a"]),
            "line 3: function: found None",
        ),
        (lambda rows: with_column(rows, "output_tokens", [50, 40, 30, 20, -1]), "line 5: output_tokens"),
        (lambda rows: with_column(rows, "output_tokens", [50, 40, 30, 20, 2**31]), "line 5: output_tokens"),
    ],
)
def test_rows_that_are_not_those_written_are_refused(
    file: Path, rows: Callable[[pa.Table], pa.Table], fault: str
) -> None:
    """Rows lost, changed or wrong: the row where there is one, and never a trace with another's metadata."""
    with pytest.raises(TraceError) as caught:
        read_parquet(changed(file, rows=rows))
    assert str(caught.value).startswith(f"{file}: ")
    assert fault in str(caught.value)


def test_the_checksum_is_asked_for(file: Path) -> None:
    """Metadata without a checksum is damaged, and the helper that damages files else changes nothing."""
    assert same(read_parquet(changed(file)), SMALL)
    with pytest.raises(TraceError, match="is damaged or was changed"):
        read_parquet(changed(file, with_checksum=False))


def test_metadata_that_damage_hides_is_missed(file: Path) -> None:
    """Zeros in the footer may end it early: the rows are all there, but not what belongs to them."""
    write_trace(file, SMALL)
    content = file.read_bytes()
    key_at = content.index(METADATA_KEY)
    refusals = 0
    for at in range(key_at - 24, key_at):
        file.write_bytes(content[:at] + bytes(8) + content[at + 8 :])
        try:
            assert same(read_parquet(file), SMALL)
        except TraceError as error:
            refusals += "its metadata is damaged" in str(error)
    assert refusals


@given(st.data())
def test_damaged_bytes_are_refused_or_harmless(folder: Path, data: st.DataObject) -> None:
    """Wherever bytes are cut or changed, the result is one error or the very same trace."""
    path = folder / "damaged.parquet"
    write_trace(path, SMALL)
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    after = data.draw(st.integers(at, min(at + 8, len(content))) | st.just(len(content)))
    path.write_bytes(content[:at] + data.draw(st.binary(max_size=8)) + content[after:])
    refusal = None
    try:
        trace = read_parquet(path)
    except TraceError as error:
        refusal = str(error)
    if refusal is None:
        assert same(trace, SMALL)
    else:
        assert refusal.startswith(f"{path}: ")
        assert len(refusal.splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"function,arrival_s\nf,0\n", b"PAR", b"PAR1", b"PAR1" * 20])
def test_what_is_no_parquet_is_one_error(file: Path, content: bytes) -> None:
    """Text of the right columns is refused as what it is not; so is a file that only begins like Parquet."""
    file.write_bytes(content)
    with pytest.raises(TraceError) as caught:
        read_parquet(file)
    assert str(caught.value).startswith(f"{file}: ")


@pytest.mark.parametrize("name", ["none.parquet", ".", "a\0b", "x" * 300])
def test_what_cannot_be_opened_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A missing file, a folder, names that no file can have."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TraceError):
        read_parquet(name)


frame_functions = st.sampled_from(["object", "string", "string[pyarrow]", "category", "unused"])
requests = st.lists(st.tuples(st.sampled_from("cab"), st.integers(0, 9), st.integers(0, 9)), min_size=1)


@given(
    requests,
    frame_functions,
    st.sampled_from(["float64", "float32", "int64", "uint8", "Int64", "double[pyarrow]"]),
    st.sampled_from(["int64", "int32", "uint8", "float64", "Int64"]),
    st.sets(st.sampled_from(TOKENS)),
    st.integers(1, 7),
    st.booleans(),
)
def test_what_pandas_writes_is_read(
    folder: Path,
    rows: list[tuple[str, int, int]],
    function_type: str,
    time_type: str,
    token_type: str,
    tokens: set[str],
    rows_a_group: int,
    is_indexed: bool,
) -> None:
    """Any type that pandas has for text and numbers, categories without rows, an index, other columns."""
    path = folder / "frame.parquet"
    rows = sorted(rows, key=lambda row: row[1])
    functions = pd.Series([row[0] for row in rows])
    if function_type == "unused":
        functions = pd.Series(pd.Categorical(functions, categories=["unused", "b", "a", "c"]))
    else:
        functions = functions.astype(function_type)
    frame = pd.DataFrame({"arrival_s": pd.Series([row[1] for row in rows]).astype(time_type)})
    frame["function"], frame["other"] = functions, [[1]] * len(rows)
    for name in tokens:
        frame[name] = pd.Series([row[2] for row in rows]).astype(token_type)
    if is_indexed:
        frame = frame.set_index(np.arange(len(rows)) * 2)
    frame.to_parquet(path, row_group_size=rows_a_group)
    trace = read_parquet(path)
    assert trace.functions == tuple(dict.fromkeys(row[0] for row in rows))
    for name in trace.functions:
        mine = [row for row in rows if row[0] == name]
        assert trace.arrivals(name).tolist() == [row[1] for row in mine]
        for column in TOKENS:
            counts = getattr(trace, column)
            assert (counts is not None) == (column in tokens)
            assert counts is None or counts[trace.span(name)].tolist() == [row[2] for row in mine]
    assert trace.duration_s == rows[-1][1] + 1
    assert not trace.attributes
    assert trace.provenance == {
        "source": "a table of requests",
        "files": [source.identity(path)],
        "transforms": [],
    }


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"function": ["f"]}, "arrival_s: the column is missing"),
        ({"arrival_s": [0.0]}, "function: the column is missing"),
        ({"function": pa.array([], "string"), "arrival_s": pa.array([], "double")}, "holds no request"),
        ({"function": ["f", "g", "f"], "arrival_s": [1.0, 0, 0.5]}, "line 3: arrival_s: found 0.5 after 1.0"),
        ({"function": ["f", ""], "arrival_s": [1.0, 2]}, "line 2: function: found '', allowed is a name"),
        ({"function": ["f", None], "arrival_s": [1.0, 2]}, "line 2: function: found None"),
        ({"function": ["f", "f"], "arrival_s": [1.0, None]}, "line 2: arrival_s: found None"),
        ({"function": ["f", "f"], "arrival_s": [1.0, math.inf]}, "line 2: arrival_s: found inf"),
        (
            {"function": ["f"], "arrival_s": [1700000000000]},
            "found 1700000000000, allowed is a finite number",
        ),
        ({"function": ["f"], "arrival_s": [1700000000.0]}, "from 0 to 1e+09"),
        ({"function": ["f"], "arrival_s": pa.array([0], pa.timestamp("ns"))}, "found a column of timestamp"),
        ({"function": ["f"], "arrival_s": [[0.0]]}, "found a column of list"),
        ({"function": [["f"]], "arrival_s": [0.0]}, "found a column of list"),
        ({"function": ["f"], "arrival_s": [0.0], "input_tokens": [1.5]}, "line 1: input_tokens: found 1.5"),
        ({"function": ["f"], "arrival_s": [0.0], "input_tokens": [True]}, "found a column of bool"),
        (
            {"function": ["f"], "arrival_s": [0.0], "output_tokens": [None]},
            "line 1: output_tokens: found Non",
        ),
    ],
)
def test_a_table_with_a_fault_is_refused(file: Path, columns: dict[str, Any], fault: str) -> None:
    """The row, the column, what was found: also times since 1970, which are not from the start of a trace."""
    with pytest.raises(TraceError) as caught:
        read_parquet(elsewhere(file, columns))
    assert str(caught.value).startswith(f"{file}: ")
    assert fault in str(caught.value)


def test_names_that_are_no_text_are_refused(file: Path) -> None:
    """Bytes that are no UTF-8 do not come through as text, which Parquet does not check."""
    names = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe")]
    )
    with pytest.raises(TraceError, match="function: found bytes that are no UTF-8 text"):
        read_parquet(elsewhere(file, {"function": names, "arrival_s": [0.0]}))
