from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations, trace_or_refusal

from traces import Trace, TraceError
from traces.readers.azure_functions_2021 import read_azure_functions_2021

HEADER = "app,func,end_timestamp,duration"
ROWS = ["a1,f,57.5,57.25", "a2,f,10.25,10.5", "a1,f,0.0794909,0.078", "a1,g,3,0", "a2,f,10.25,10.5"]
VALID = "".join(f"{line}\n" for line in (HEADER, *ROWS)).encode()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place for one file after another."""
    return tmp_path_factory.mktemp("azure_functions_2021") / "trace.csv"


def write(path: Path, lines: list[str]) -> Path:
    """Write lines as a text file."""
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


def invocations(trace: Trace) -> dict[str, tuple[float, list[int]]]:
    """Return the mean duration and the arrivals (microseconds) of each function."""
    time_us = (trace.arrival_s * 10**6).round().astype(int)
    assert (time_us / 10**6 == trace.arrival_s).all()
    return {
        name: (mean, time_us[trace.span(name)].tolist())
        for name, mean in zip(trace.functions, trace.attributes["execution_s"].tolist(), strict=True)
    }


def parsed(content: bytes) -> dict[str, tuple[float, list[int]]]:
    """Parse a file the slow way."""
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    rows = [{key.strip(): value for key, value in row.items()} for row in rows]
    starts = [round((float(row["end_timestamp"]) - float(row["duration"])) * 10**6) for row in rows]
    names = [f"{row['app']}/{row['func']}" for row in rows]
    found: dict[str, tuple[float, list[int]]] = {}
    for name in names:
        durations = [float(row["duration"]) for row, other in zip(rows, names, strict=True) if other == name]
        own = [now - min(starts) for now, other in zip(starts, names, strict=True) if other == name]
        found[name] = (pytest.approx(sum(durations) / len(durations)), sorted(own))
    return found


def test_invocations_arrive_their_duration_before_their_end(file: Path) -> None:
    """Rows may stand in any order and start before the clock of the file; a function is one of one app."""
    trace = read_azure_functions_2021(write(file, [HEADER, *ROWS]))
    assert invocations(trace) == {
        "a1/f": (pytest.approx((57.25 + 0.078) / 2), [251_491, 500_000]),
        "a2/f": (10.5, [0, 0]),
        "a1/g": (0.0, [3_250_000]),
    }
    assert trace.duration_s == 3.250001
    assert trace.provenance["starts_at_s"] == -0.25
    assert trace.input_tokens is None


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(["f", "g"]),
            st.integers(0, 14 * 86_400 * 10**6),
            st.integers(0, 405 * 10**3),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_what_was_written_is_read_back(file: Path, rows: list[tuple[str, str, int, int]]) -> None:
    """Invocations on microseconds, with durations in milliseconds, come back by function in time order."""
    lines = [f"{app},{func},{(at + 10**3 * ms) / 10**6},{ms / 10**3}" for app, func, at, ms in rows]
    trace = read_azure_functions_2021(write(file, [HEADER, *lines]))
    first = min(at for _, _, at, _ in rows)
    written: dict[str, tuple[list[float], list[int]]] = {}
    for app, func, at, ms in rows:
        durations, starts = written.setdefault(f"{app}/{func}", ([], []))
        durations.append(ms / 10**3)
        starts.append(at - first)
    assert invocations(trace) == {
        name: (pytest.approx(np.mean(durations)), sorted(starts))
        for name, (durations, starts) in written.items()
    }
    assert trace.duration_s == (max(at for _, _, at, _ in rows) - first + 1) / 10**6


def test_packed_files_and_parquet_say_the_same(tmp_path: Path) -> None:
    """Gzip and Parquet with numbers give the trace of the plain file."""
    plain = write(tmp_path / "a.csv", [HEADER, *ROWS])
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    pq.write_table(pacsv.read_csv(plain), tmp_path / "a.parquet")
    expected = invocations(read_azure_functions_2021(plain))
    for name in ("a.csv.gz", "a.parquet"):
        assert invocations(read_azure_functions_2021(tmp_path / name)) == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",f,1,1", "app: found '', allowed is an id without slashes and blanks"),
        ("a/b,f,1,1", "app: found 'a/b'"),
        ("a,b/f,1,1", "func: found 'b/f'"),
        ("a,f ,1,1", "func: found 'f '"),
        ("a,f,-1,1", "end_timestamp: found '-1'"),
        ("a,f,nan,1", "end_timestamp: found 'nan'"),
        ("a,f,4294967296.5,1", "end_timestamp: found '4294967296.5'"),
        ("a,f,1e12,1", "end_timestamp: found '1e12'"),
        ("a,f,1,-0.001", "duration: found '-0.001'"),
        ("a,f,1,", "duration: found ''"),
        ("a,f,1,inf", "duration: found 'inf'"),
        ("a,f,1", "found 3 fields, allowed are the 4"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(file: Path, row: str, message: str) -> None:
    """The fault is named with file, line and column, and shown."""
    with pytest.raises(TraceError, match=f"trace.csv: line 7: {message}"):
        read_azure_functions_2021(write(file, [HEADER, *ROWS, row]))


def test_the_longest_times_allowed_stay_apart(file: Path) -> None:
    """The window still ends after the last arrival when the file's times are as far apart as they may be."""
    trace = read_azure_functions_2021(write(file, [HEADER, f"a,f,0,{2**32}", f"a,f,{2**32},0"]))
    assert trace.arrival_s.tolist() == [0.0, 2.0**33]
    assert trace.duration_s > 2.0**33


def test_a_file_without_invocations_or_columns_is_refused(file: Path) -> None:
    """What is missing is named."""
    for lines, message in (
        ([HEADER], "holds a header and no invocation"),
        ([HEADER.replace("func", "function"), *ROWS], "line 1: func: the column is missing"),
        ([HEADER.replace(",", ";"), *ROWS], "line 1: app: the column is missing"),
    ):
        with pytest.raises(TraceError, match=f"trace.csv: {message}"):
            read_azure_functions_2021(write(file, lines))


def test_a_long_file_is_one_trace(file: Path) -> None:
    """Functions are found again, and lines counted through, over the blocks in which a file is read."""
    apps = ["x" * 64, "y" * 64, "z" * 64]
    lines = [HEADER, *(f"{apps[i // 40_000 % 3]},f,{i % 1_000},0.001" for i in range(130_000))]
    trace = read_azure_functions_2021(write(file, lines))
    assert trace.functions == tuple(f"{app}/f" for app in apps)
    assert trace.counts.tolist() == [50_000, 40_000, 40_000]
    assert np.array_equal(trace.arrivals(2), np.repeat(np.arange(1_000), 40))
    lines[125_000] = "a,f,1,x"
    with pytest.raises(TraceError, match="line 125001: duration: found 'x'"):
        read_azure_functions_2021(write(file, lines))


@given(content=mutations(VALID))
def test_a_damaged_file_is_refused_or_read_as_it_says(file: Path, content: bytes) -> None:
    """Whatever the damage: one line naming the file, or what a slow parser reads."""
    trace = trace_or_refusal(read_azure_functions_2021, file, content)
    assert trace is None or invocations(trace) == parsed(content)


def test_the_real_rows_have_their_known_statistics(trace_dir: Path) -> None:
    """Count, span, rate, variation, peak, functions and durations agree with the published prefix."""
    path = trace_dir / "azure_functions_2021"
    path /= "AzureFunctionsInvocationTraceForTwoWeeksJan2021_first998.csv"
    trace = read_azure_functions_2021(path)
    assert invocations(trace) == parsed(path.read_bytes())
    assert len(trace) == 998
    assert len(trace.functions) == 49
    assert len({name.split("/")[0] for name in trace.functions}) == 21
    arrival_s, _ = trace.in_time_order()
    assert arrival_s[-1] == pytest.approx(6_464.8, abs=0.01)
    assert len(trace) / arrival_s[-1] == pytest.approx(0.154, abs=0.001)
    gap_s = np.diff(arrival_s)
    assert gap_s.std() / gap_s.mean() == pytest.approx(1.752, abs=0.001)
    per_minute = np.bincount((arrival_s // 60).astype(int))
    assert per_minute.max() / per_minute[:-1].mean() == pytest.approx(5.94, abs=0.005)  # of whole minutes
    share = np.cumsum(np.sort(trace.counts)[::-1]) / 998
    assert share[[0, 4, 9]] == pytest.approx([0.17, 0.45, 0.65], abs=0.006)
