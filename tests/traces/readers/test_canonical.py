from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept_traces import SMALL, same

from traces import Trace, TraceError
from traces.readers import canonical, source
from traces.readers.canonical import CHECKSUM_KEY, METADATA_KEY, read_parquet, write_trace

DOCUMENT = Path(__file__).parents[3] / "docs" / "trace-format.md"
INT32_MAX = 2**31 - 1

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5) | st.sampled_from(
    ["\n", "a\nb", "\0", '"', "é", "\U0001f600", "client-0", "x" * 300]
)
attribute_types = st.sampled_from(
    ["text", "bool", "int8", "int64", "uint64", "float16", "float32", "float64"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)


@st.composite
def attributes_of(draw: st.DrawFn, rows: int) -> np.ndarray[Any, Any]:
    """Draw a column of one value a function."""
    kind = draw(attribute_types)
    if kind == "text":
        return np.array(draw(st.lists(st.text(max_size=4), min_size=rows, max_size=rows)), dtype=str)
    dtype = np.dtype(kind)
    if kind == "bool":
        values: st.SearchStrategy[Any] = st.booleans()
    elif dtype.kind == "f":
        values = st.floats(width=dtype.itemsize * 8)  # type: ignore[arg-type]
    else:
        values = st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    return np.array(draw(st.lists(values, min_size=rows, max_size=rows)), dtype=dtype)


@st.composite
def any_trace(draw: st.DrawFn) -> Trace:
    """Draw a trace with whatever a trace may have."""
    functions = draw(st.lists(names, max_size=4, unique=True))
    duration_s = draw(st.floats(1e-3, 1e300))
    times = st.lists(st.floats(0, duration_s, exclude_max=True), max_size=6).map(sorted)
    arrivals = {name: draw(times) for name in functions}
    trace = Trace.from_functions(arrivals, duration_s=duration_s)
    tokens = {
        name: draw(
            st.lists(
                st.integers(0, INT32_MAX) | st.integers(0, 9), min_size=len(trace), max_size=len(trace)
            ).map(lambda values: np.array(values, dtype=np.int32))
        )
        for name in ("input_tokens", "output_tokens")
        if draw(st.booleans())
    }
    attributes = {
        name: draw(attributes_of(len(functions))) for name in draw(st.sets(st.text(max_size=5), max_size=3))
    }
    return Trace(
        functions=trace.functions,
        offsets=trace.offsets,
        arrival_s=trace.arrival_s,
        duration_s=duration_s,
        attributes=attributes,
        provenance=draw(st.dictionaries(st.text(), json_values, max_size=3)),
        **tokens,
    )


def names_in(folder: Path) -> list[str]:
    """Return what a folder holds."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a place for a file."""
    return tmp_path / "trace.parquet"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for one file after another."""
    return tmp_path_factory.mktemp("canonical")


@given(any_trace(), st.integers(1, 8))
def test_what_is_written_is_read_back_to_the_bit(folder: Path, trace: Trace, rows_a_group: int) -> None:
    """Odd names, functions without requests, one kind of tokens, attributes of any type, many row groups."""
    path = folder / "any.parquet"
    with patch.object(canonical, "ROWS_A_GROUP", rows_a_group):
        write_trace(path, trace)
        first = path.read_bytes()
        write_trace(path, trace)
    assert path.read_bytes() == first
    assert same(read_parquet(path), trace)
    assert names_in(folder) == ["any.parquet"]


def test_real_attributes_and_provenance_are_kept(trace_dir: Path, file: Path) -> None:
    """A sample of Azure Functions, transformed, reads back as the very same trace in its order."""
    from traces import apply_transforms, read_azure_functions

    trace = read_azure_functions(trace_dir / "azure_functions_2019" / "sample500_invocations.csv")
    trace = apply_transforms(trace, [{"top": 50}], seed=0)
    write_trace(file, trace)
    assert same(read_parquet(file), trace)
    assert len(trace) > 2 * canonical.ROWS_A_GROUP
    assert file.stat().st_size < 2 * len(trace)


def test_the_columns_are_open_to_others(file: Path) -> None:
    """Pandas reads the columns by their names, and what pandas writes of them is read as a table again."""
    write_trace(file, SMALL)
    frame = pd.read_parquet(file)
    assert frame["function"].tolist() == ["b", "b", "a", "a", "a"]
    assert frame["arrival_s"].tolist() == SMALL.arrival_s.tolist()
    assert frame["output_tokens"].tolist() == [50, 40, 30, 20, 10]
    frame.to_parquet(file)
    trace = read_parquet(file)
    assert trace.functions == ("b", "a")
    assert trace.provenance["source"] == "a table of requests"


@pytest.mark.parametrize("packing", ["uneven times", "even times"])
def test_times_that_are_all_the_same_stay_readable(file: Path, packing: str) -> None:
    """A file that would expand like a bomb is not packed so far, and no other one is changed by that."""
    rows = 200_000
    even = packing == "even times"
    times = np.full(rows, 0.5) if even else np.sort(np.random.default_rng(0).random(rows))
    trace = Trace.from_functions({"f": times}, duration_s=1.0)
    with patch.object(source, "EXPANSION_FROM", 1000):
        write_trace(file, trace)
        assert same(read_parquet(file), trace)
    packed = {pq.read_metadata(file).row_group(0).column(column).compression for column in (0, 1)}
    assert packed == {"UNCOMPRESSED" if even else "ZSTD"}


def test_names_are_kept_with_their_rows_alone(file: Path) -> None:
    """Many functions in many row groups do not store every name in every group."""
    functions = tuple(f"{number:064d}" for number in range(2000))
    trace = Trace(functions=functions, offsets=np.arange(2001) * 2, arrival_s=np.zeros(4000), duration_s=1.0)
    with patch.object(canonical, "ROWS_A_GROUP", 100):
        write_trace(file, trace)
    columns = pq.read_metadata(file)
    stored = sum(
        columns.row_group(group).column(0).total_uncompressed_size for group in range(columns.num_row_groups)
    )
    assert stored < 2 * 2000 * 68
    assert same(read_parquet(file), trace)


@pytest.mark.parametrize(
    ("trace", "fault"),
    [
        pytest.param(Trace.from_functions({"\ud800": [0]}, duration_s=1), "functions: found", id="surrogate"),
        pytest.param(
            Trace.from_functions({"f": []}, duration_s=1, attributes={"x": np.array([1j])}),
            "attributes.x: found values of complex128, allowed are numbers, truth values and text",
            id="complex",
        ),
        pytest.param(
            Trace.from_functions({"f": []}, duration_s=1, attributes={"x": np.array([None])}),
            "attributes.x: found values of object",
            id="object",
        ),
    ],
)
def test_what_cannot_be_kept_is_refused_before_a_file_is_made(file: Path, trace: Trace, fault: str) -> None:
    """No file is better than one that reads back as something else."""
    with pytest.raises(TraceError, match=re.escape(fault)):
        write_trace(file, trace)
    assert not list(file.parent.iterdir())


def test_more_metadata_than_a_reader_takes_is_refused(file: Path) -> None:
    """The bound is checked when it is written, not found out when it is read."""
    with patch.object(canonical, "MOST_METADATA", 100), pytest.raises(TraceError, match=r"take \d+ bytes"):
        write_trace(file, SMALL)


@pytest.mark.parametrize("name", [".", "/", "", "there", "missing/x.parquet", "a\0b", "x" * 300, "fifo"])
def test_where_no_file_can_be_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A folder, a pipe, a missing folder, a name too long: what was there stays, and nothing is added."""
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    os.mkfifo("fifo")
    with pytest.raises(TraceError, match="cannot be written") as caught:
        write_trace(name, SMALL)
    assert caught.value.path == Path(name)
    assert names_in(tmp_path) == ["fifo", "there"]
    assert not names_in(tmp_path / "there")


def test_a_folder_that_takes_no_file_is_one_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where writing is not allowed, or the disk is full, the system's reason is told."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(TraceError, match="cannot be written: Permission denied"):
        write_trace(file, SMALL)


def test_who_reads_the_old_file_can_go_on(file: Path) -> None:
    """A file that is there is not written into: another one takes its place."""
    write_trace(file, SMALL)
    before = file.read_bytes()
    with file.open("rb") as old:
        write_trace(file, Trace.from_functions({"new": [0.5]}, duration_s=1.0))
        assert old.read() == before
    assert read_parquet(file).functions == ("new",)


def test_what_fails_on_the_way_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error or an interruption between the row groups takes the half file away with it."""
    write_trace(file, SMALL)
    before = file.read_bytes()
    write_table = pq.ParquetWriter.write_table
    written = []

    def interrupted(self: pq.ParquetWriter, *args: Any, **options: Any) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(write_table(self, *args, **options))

    monkeypatch.setattr(pq.ParquetWriter, "write_table", interrupted)
    monkeypatch.setattr(canonical, "ROWS_A_GROUP", 2)
    with pytest.raises(KeyboardInterrupt):
        write_trace(file, SMALL)
    assert file.read_bytes() == before
    assert names_in(file.parent) == [file.name]


def test_a_process_that_is_killed_leaves_no_half_file(file: Path) -> None:
    """The name is given to whole files alone, even if nothing can be cleaned up."""
    program = """
import os, signal, sys
import numpy as np
import pyarrow.parquet as pq
from traces import Trace, write_trace
write_table = pq.ParquetWriter.write_table
def killed(*args, **options):
    write_table(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
pq.ParquetWriter.write_table = killed
write_trace(sys.argv[1], Trace.from_functions({"f": np.arange(1e6)}, duration_s=1e6))
"""
    done = subprocess.run([sys.executable, "-c", program, str(file)], check=False, cwd=DOCUMENT.parents[1])
    assert done.returncode == -signal.SIGKILL
    assert not file.exists()


def test_the_checksum_is_the_one_described(file: Path) -> None:
    """Anyone can compute it from what the document says."""
    write_trace(file, SMALL)
    metadata = pq.read_schema(file).metadata
    described = metadata[METADATA_KEY]
    for name, kind, values in (
        ("offsets", "<i8", [0, 2, 2, 5]),
        ("arrival_s", "<f8", [0.5, 1.0, 0.25, 0.25, 2.0]),
        ("input_tokens", "<i4", [1, 2, 3, 4, 5]),
        ("output_tokens", "<i4", [50, 40, 30, 20, 10]),
    ):
        described += name.encode() + np.array(values, dtype=kind).tobytes()
    assert metadata[CHECKSUM_KEY] == f"{zlib.crc32(described):08x}".encode()


def test_progress_is_told_in_rows(file: Path) -> None:
    """Who waits is told how many of the rows are read, up to the last one."""
    write_trace(file, SMALL)
    told: list[tuple[int, int]] = []
    read_parquet(file, progress=lambda done, of: told.append((done, of)))
    assert told[-1] == (5, 5)


def test_the_document_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its example makes a trace, and the keys and columns that it names are those of a file."""
    text = DOCUMENT.read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert example is not None
    monkeypatch.chdir(tmp_path)
    exec(example[1], {})
    trace = read_parquet("mine.parquet")
    assert trace.functions == ("chat", "embed")
    assert trace.arrivals("chat").tolist() == [0.0, 1.5]
    assert trace.input_tokens is not None
    assert trace.input_tokens[trace.span("chat")].tolist() == [512, 80]
    assert trace.duration_s == 2.0
    write_trace("written.parquet", trace)
    schema = pq.read_schema("written.parquet")
    assert {name for name in schema.names if f"`{name}`" not in text} == set()
    about = json.loads(schema.metadata[METADATA_KEY])
    assert {key for key in about if f"| `{key}` |" not in text} == set()
    assert f"`{METADATA_KEY.decode()}`" in text
    assert f"`{CHECKSUM_KEY.decode()}`" in text
    assert f"{canonical.ROWS_A_GROUP:,} rows" in text
