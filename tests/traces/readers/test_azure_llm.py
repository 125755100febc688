from __future__ import annotations

import csv
import gzip
import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations, trace_or_refusal

from traces import Trace, TraceError
from traces.readers.azure_llm import read_azure_llm

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
ROWS = ["2023-11-16 18:15:46.6805900,374,44", "2023-11-16 18:15:50.9951690,396,109"]
VALID = "\r\n".join(
    [HEADER, *ROWS, "2023-11-16 18:15:50.9951690,879,55", "2023-12-01 00:00:00.0000001,91,16"]
).encode()

Request = tuple[int, int, int]
"""Ticks of 100 ns since the first request, input and output tokens."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place for one file after another."""
    return tmp_path_factory.mktemp("azure_llm") / "trace_conv.csv"


def write(path: Path, lines: list[str]) -> Path:
    """Write lines as a text file."""
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


def requests(trace: Trace) -> list[Request]:
    """Return what a trace of one function holds."""
    assert trace.input_tokens is not None
    assert trace.output_tokens is not None
    ticks = (trace.arrival_s * 10**7).round().astype(int)
    assert (ticks / 10**7 == trace.arrival_s).all()
    return list(zip(ticks.tolist(), trace.input_tokens.tolist(), trace.output_tokens.tolist(), strict=True))


def parsed(content: bytes) -> list[Request]:
    """Parse a file the slow way."""
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    rows = [{key.strip(): value for key, value in row.items()} for row in rows]
    ticks = [tick(row["TIMESTAMP"]) for row in rows]
    return [
        (now - ticks[0], int(row["ContextTokens"]), int(row["GeneratedTokens"]))
        for now, row in zip(ticks, rows, strict=True)
    ]


def tick(text: str) -> int:
    """Return a time in ticks of 100 ns since 1970."""
    match = re.fullmatch(r"(.{19})(?:\.(\d+))?(.*)", text)
    assert match is not None
    time = datetime.fromisoformat(match[1] + match[3])
    since_1970 = time - datetime(1970, 1, 1, tzinfo=time.tzinfo and UTC)
    return since_1970 // timedelta(seconds=1) * 10**7 + int((match[2] or "").ljust(7, "0"))


def test_times_are_exact_to_a_tick_of_100_ns(file: Path) -> None:
    """Arrivals count from the first request, over a leap day, and the window ends a tick after the last."""
    times = ["2024-02-28 23:59:59.9999999", "2024-02-29 00:00:00.0000001", "2024-03-01 00:00:00"]
    trace = read_azure_llm(write(file, [HEADER, *(f"{time},1,2" for time in times)]))
    assert trace.functions == ("conversation",)
    assert trace.arrival_s.tolist() == [0.0, 2e-7, 86400.0000001]
    assert trace.duration_s == 86400.0000002
    assert trace.provenance["starts_at"] == "2024-02-28T23:59:59.999999900"


@given(
    gaps=st.lists(st.integers(0, 10**7) | st.integers(0, 10**13), max_size=20),
    tokens=st.lists(
        st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1)), min_size=21, max_size=21
    ),
    digits=st.sampled_from([0, 6, 7]),
    zone=st.sampled_from(["", "Z", "+00:00", "-07:30"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    ends=st.booleans(),
)
def test_what_was_written_is_read_back(
    file: Path,
    gaps: list[int],
    tokens: list[tuple[int, int]],
    digits: int,
    zone: str,
    line_end: str,
    ends: bool,
) -> None:
    """Every number of digits, time zone and line end of the published files gives back the same requests."""
    grain = 10 ** (7 - digits)
    ticks = np.concatenate([[0], np.cumsum([gap // grain * grain for gap in gaps], dtype=np.int64)])
    written = [(int(now), *counts) for now, counts in zip(ticks, tokens[: ticks.size], strict=True)]
    lines = [HEADER]
    for now, *counts in written:
        whole, fraction = divmod(now, 10**7)
        time = datetime(2024, 2, 28, 23, 59, 58) + timedelta(seconds=whole)
        shown = f"{time}.{fraction:07d}"[: 20 + digits] if digits and fraction else str(time)
        lines.append(f"{shown}{zone},{counts[0]},{counts[1]}")
    file.write_bytes((line_end.join(lines) + line_end * ends).encode())
    trace = read_azure_llm(file)
    assert requests(trace) == written
    assert trace.duration_s == (written[-1][0] + 1) / 10**7


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "+02:00"])
def test_packed_files_and_parquet_say_the_same(tmp_path: Path, unit: str, zone: str | None) -> None:
    """Gzip, zstd, Parquet with text and Parquet with times of any unit give the trace of the plain file."""
    grain = {"s": 0, "ms": 3, "us": 6, "ns": 7}[unit]
    times = [f"2024-02-29 12:00:{second:02d}{'.1234567'[: grain and grain + 1]}" for second in (0, 1, 1, 59)]
    texts = [time + ("Z" if zone else "") for time in times]
    plain = write(tmp_path / "a.csv", [HEADER, *(f"{text},{i},{i * i}" for i, text in enumerate(texts))])
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    with pa.CompressedOutputStream(tmp_path / "a.csv.zst", "zstd") as packed:
        packed.write(plain.read_bytes())
    clock = pa.array(np.array(times, dtype=f"datetime64[{unit}]")).cast(pa.timestamp(unit, zone))
    for name, column in (("text.parquet", pa.array(texts)), ("clock.parquet", clock)):
        columns = {"ContextTokens": range(4), "TIMESTAMP": column, "GeneratedTokens": [0, 1, 4, 9]}
        pq.write_table(pa.table({key: pa.array(values) for key, values in columns.items()}), tmp_path / name)
    expected = read_azure_llm(plain)
    assert requests(expected) == parsed(plain.read_bytes())
    for other in ("a.csv.gz", "a.csv.zst", "text.parquet", "clock.parquet"):
        trace = read_azure_llm(tmp_path / other)
        assert requests(trace) == requests(expected)
        assert trace.provenance["starts_at"] == expected.provenance["starts_at"]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("AzureLLMInferenceTrace_conv.csv", "conversation"),
        ("AzureLLMInferenceTrace_conv_1week.csv.gz", "conversation"),
        ("AzureLLMInferenceTrace_code.csv", "code"),
        ("converted.v2.csv", "converted"),
    ],
)
def test_the_function_is_named_by_the_file_or_the_caller(tmp_path: Path, name: str, function: str) -> None:
    """A part of the published name says which service it is; `function` says it before that."""
    path = write(tmp_path / name, [HEADER, *ROWS])
    assert read_azure_llm(path).functions == (function,)
    assert read_azure_llm(path, function="chat").functions == ("chat",)
    with pytest.raises(TraceError, match="function: found '', allowed is a name"):
        read_azure_llm(path, function="")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2023-02-30 00:00:00,1,1", "TIMESTAMP: found '2023-02-30 00:00:00', .*that the calendar has"),
        ("2023-02-29 00:00:00.1,1,1", "TIMESTAMP: found .*that the calendar has"),
        ("2023-11-16 24:00:00,1,1", "TIMESTAMP: found .*that the calendar has"),
        ("2023-11-16 18:59:60,1,1", "TIMESTAMP: found .*that the calendar has"),
        ("2023-11-16 19:00:00.12345678,1,1", "TIMESTAMP: found .*without a zone, as in the first row"),
        ("2023-11-16 19:00:00.,1,1", "TIMESTAMP: found"),
        ("2023-11-16 19:00:00Z,1,1", "TIMESTAMP: found .*without a zone, as in the first row"),
        ("1999-11-16 19:00:00,1,1", "TIMESTAMP: found .*2000 to 2099"),
        (" 2023-11-16 19:00:00,1,1", "TIMESTAMP: found"),
        (",1,1", "TIMESTAMP: found ''"),
        ("2023-11-16 18:15:50.9951689,1,1", "TIMESTAMP: found .*from the row above on"),
        ("2099-11-16 19:00:00,1,1", "TIMESTAMP: found .*within 28 years"),
        ("2023-11-16 19:00:00,-1,1", "ContextTokens: found '-1'"),
        ("2023-11-16 19:00:00,1,nan", "GeneratedTokens: found 'nan'"),
        ("2023-11-16 19:00:00,1,2147483648", "GeneratedTokens: found '2147483648'"),
        ("2023-11-16 19:00:00,1.5,1", "ContextTokens: found '1.5'"),
        ("2023-11-16 19:00:00,1", "found 2 fields, allowed are the 3"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(file: Path, row: str, message: str) -> None:
    """The fault is named with file, line and column, and shown."""
    with pytest.raises(TraceError, match=f"trace_conv.csv: line 4: {message}"):
        read_azure_llm(write(file, [HEADER, *ROWS, row]))


@pytest.mark.parametrize("first", ["+00:00", "-07:00", "Z"])
def test_one_file_has_one_time_zone(file: Path, first: str) -> None:
    """A row in another zone, or in none, is refused: its place in time would be a guess."""
    for other in ("", "+01:00", "+00:00", "-07:00", "Z"):
        lines = [HEADER, f"2024-05-12 08:00:00{first},1,1", f"2024-05-13 08:00:00{other},1,1"]
        if other == first:
            assert read_azure_llm(write(file, lines)).arrival_s.tolist() == [0.0, 86400.0]
        else:
            with pytest.raises(TraceError, match=f"line 3: .*the zone {re.escape(first)} of the first row"):
                read_azure_llm(write(file, lines))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER], "holds a header and no request"),
        ([HEADER, "x,1,1"], "line 2: TIMESTAMP: found 'x', allowed is a time"),
        (
            ["TIMESTAMP,ContextTokens", "2023-11-16 19:00:00,1"],
            "line 1: GeneratedTokens: the column is missing",
        ),
        ([HEADER.replace(",", ";"), *ROWS], "line 1: TIMESTAMP: the column is missing"),
        ([], "the file is empty"),
    ],
)
def test_a_file_without_requests_is_refused(file: Path, lines: list[str], message: str) -> None:
    """What is missing is named."""
    with pytest.raises(TraceError, match=f"trace_conv.csv: {message}"):
        read_azure_llm(write(file, lines))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([0, 10**9 + 1], pa.timestamp("ns")), "line 1: TIMESTAMP: found 0 ns since 1970"),
        (pa.array([10**18, 10**18 + 1], pa.timestamp("ns")), "line 2: .*found 1000000000000000001 ns since"),
        (
            pa.array([10**15, 2**62], pa.timestamp("us", "Nowhere/Land")),
            "line 2: .*found 4611686018427387904 us",
        ),
        (pa.array([10**9, None], pa.timestamp("s")), "line 2: TIMESTAMP: found None"),
        (
            pa.array([10**9 + 1, 10**9], pa.timestamp("s", "Nowhere/Land")),
            "line 2: TIMESTAMP: .*from the row above on",
        ),
        (pa.array([10**9, 10**9 + 1]), "line 1: TIMESTAMP: found"),
        (pa.array(["2024-01-01 00:00:00", None]), "line 2: TIMESTAMP: found None"),
    ],
)
def test_a_wrong_time_in_parquet_is_refused_with_its_row(
    tmp_path: Path, column: pa.Array, message: str
) -> None:
    """Times outside the clock, missing, going back or of another kind are named with their row."""
    tokens = pa.array([1, 2])
    table = pa.table({"TIMESTAMP": column, "ContextTokens": tokens, "GeneratedTokens": tokens})
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(TraceError, match=f"t.parquet: {message}"):
        read_azure_llm(tmp_path / "t.parquet")


def test_a_parquet_file_without_rows_is_refused(tmp_path: Path) -> None:
    """No row is no trace."""
    columns = {"TIMESTAMP": pa.array([], pa.timestamp("ns"))} | dict.fromkeys(
        ("ContextTokens", "GeneratedTokens"), pa.array([], pa.int64())
    )
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(TraceError, match="holds a header and no request"):
        read_azure_llm(tmp_path / "t.parquet")


def test_a_long_file_is_one_trace(file: Path) -> None:
    """Time runs on over the blocks in which a file is read, and lines are counted through."""
    start = datetime(2024, 5, 12)
    lines = [HEADER, *(f"{start + timedelta(milliseconds=5 * i + 1)},{i},{i % 7}" for i in range(200_000))]
    seen: list[tuple[int, int]] = []
    trace = read_azure_llm(write(file, lines), progress=lambda *done: seen.append(done))
    assert requests(trace) == [(50_000 * i, i, i % 7) for i in range(200_000)]
    assert seen[-1] == (file.stat().st_size,) * 2
    lines[150_000] = f"{start},1,1"
    with pytest.raises(TraceError, match=r"line 150001: TIMESTAMP: found 2024-05-12T00:00:00\.0"):
        read_azure_llm(write(file, lines))


@given(content=mutations(VALID))
def test_a_damaged_file_is_refused_or_read_as_it_says(file: Path, content: bytes) -> None:
    """Whatever the damage: one line naming the file, or what a slow parser reads."""
    trace = trace_or_refusal(read_azure_llm, file, content)
    assert trace is None or requests(trace) == parsed(content)


def test_the_real_hour_has_its_known_statistics(trace_dir: Path) -> None:
    """Count, span, rate, variation, peak and tokens agree with the published hour of conversation."""
    path = trace_dir / "azure_llm_2023" / "AzureLLMInferenceTrace_conv.csv"
    trace = read_azure_llm(path)
    assert requests(trace) == parsed(path.read_bytes())
    assert trace.functions == ("conversation",)
    assert len(trace) == 19_366
    assert trace.arrival_s[-1] == pytest.approx(3_501.722, abs=0.001)
    assert len(trace) / trace.arrival_s[-1] == pytest.approx(5.530, abs=0.001)
    gap_s = np.diff(trace.arrival_s)
    assert gap_s.std() / gap_s.mean() == pytest.approx(1.094, abs=0.001)
    assert np.percentile(gap_s, [50, 99, 100]) == pytest.approx([0.118, 0.890, 4.315], abs=0.001)
    assert (trace.rates(600.0)[0] * 600).round()[:5].tolist() == [2867, 3118, 4123, 4068, 3125]
    assert trace.input_tokens is not None
    assert trace.output_tokens is not None
    assert np.percentile(trace.input_tokens, [50, 100]).tolist() == [1_020, 14_050]
    assert trace.input_tokens.mean() == pytest.approx(1_154.7, abs=0.05)
    assert np.percentile(trace.output_tokens, [50, 100]).tolist() == [129, 1_000]
    assert trace.output_tokens.mean() == pytest.approx(211.1, abs=0.05)
    assert trace.provenance["starts_at"] == "2023-11-16T18:15:46.680590000"
