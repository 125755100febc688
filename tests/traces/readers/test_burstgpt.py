from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations, trace_or_refusal

from traces import Trace, TraceError
from traces.readers.burstgpt import read_burstgpt

HEADER = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
ROWS = [
    "86405,ChatGPT,472,18,490,Conversation log",
    "86405,GPT-4,10,0,10,API log",
    "86405,ChatGPT,1087,230,1317,Conversation log",
    "86500,GPT-4,417,276,693,API log",
]
VALID = "".join(f"{line}\n" for line in (HEADER, *ROWS)).encode()
KIND = {"Conversation log": "conversation", "API log": "api"}

Request = tuple[int, int, int]
"""Microseconds from the start, input and output tokens."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place for one file after another."""
    return tmp_path_factory.mktemp("burstgpt") / "burst.csv"


def write(path: Path, lines: list[str]) -> Path:
    """Write lines as a text file."""
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


def requests(trace: Trace) -> dict[str, list[Request]]:
    """Return the requests of each function, in the order of the trace."""
    assert trace.input_tokens is not None
    assert trace.output_tokens is not None
    time_us = (trace.arrival_s * 10**6).round().astype(int)
    assert (time_us / 10**6 == trace.arrival_s).all()
    rows = list(zip(time_us.tolist(), trace.input_tokens.tolist(), trace.output_tokens.tolist(), strict=True))
    return {name: rows[trace.span(name)] for name in trace.functions}


def parsed(content: bytes, *, failed: str = "drop") -> dict[str, list[Request]]:
    """Parse a file the slow way."""
    found: dict[str, list[Request]] = {}
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    rows = [{key.strip(): value for key, value in row.items()} for row in rows]
    time_us = [round(float(row["Timestamp"]) * 10**6) for row in rows]
    for now, row in zip(time_us, rows, strict=True):
        own = found.setdefault(f"{row['Model']} {KIND[row['Log Type']]}", [])
        if failed == "keep" or int(row["Response tokens"]):
            own.append((now - time_us[0], int(row["Request tokens"]), int(row["Response tokens"])))
    return found


def test_functions_are_pairs_of_model_and_way_of_calling(file: Path) -> None:
    """Failed requests are left out and counted, and all others arrive in the second that they say."""
    trace = read_burstgpt(write(file, [HEADER, *ROWS]))
    assert requests(trace) == {
        "ChatGPT conversation": [(0, 472, 18), (0, 1087, 230)],
        "GPT-4 api": [(95_000_000, 417, 276)],
    }
    assert trace.duration_s == 96.0
    assert trace.provenance["starts_at_s"] == 86405.0
    assert trace.provenance["failed_requests"] == 1
    assert trace.provenance["transforms"] == [{"transform": "drop failed requests"}]


def test_failed_requests_can_be_kept(file: Path) -> None:
    """They arrive with 0 output tokens, and leave window and clock as they are without them."""
    lines = [HEADER, "7,GPT-4,0,0,0,API log", "9,GPT-4,1,1,2,API log", "12,GPT-4,3,0,3,API log"]
    kept = read_burstgpt(write(file, lines), failed="keep")
    assert requests(kept) == {"GPT-4 api": [(0, 0, 0), (2_000_000, 1, 1), (5_000_000, 3, 0)]}
    assert kept.provenance["failed_requests"] == 2
    assert kept.provenance["transforms"] == []
    dropped = read_burstgpt(file)
    assert requests(dropped) == {"GPT-4 api": [(2_000_000, 1, 1)]}
    assert dropped.duration_s == kept.duration_s == 6.0
    with pytest.raises(TraceError, match="holds failed requests alone, which failed='drop' leaves out"):
        read_burstgpt(write(file, lines[:2]))


def test_time_can_start_at_midnight(file: Path) -> None:
    """The hours of the trace are then those of the day of the first request."""
    trace = read_burstgpt(write(file, [HEADER, *ROWS]), start="midnight")
    assert trace.arrivals("GPT-4 api").tolist() == [100.0]
    assert trace.duration_s == 101.0
    assert trace.provenance["starts_at_s"] == 86400.0


def test_the_columns_of_the_third_part_change_nothing(file: Path) -> None:
    """Sessions, which API calls lack, elapsed times and a point in the timestamp leave the trace as it is."""
    lines = ["Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"]
    for row in ROWS:
        time, rest = row.split(",", 1)
        session = "1722ac82-0a46-4bf0-aa08-89794e7a2b3f" if "Conversation" in rest else ""
        lines.append(f"{time}.0,{session},43,{rest}")
    third = requests(read_burstgpt(write(file, lines)))
    assert third == requests(read_burstgpt(write(file, [HEADER, *ROWS])))


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["ChatGPT", "GPT-4", "GPT-4 turbo"]),
            st.integers(0, 2**31 - 1),
            st.integers(0, 2**31 - 1) | st.just(0),
            st.sampled_from(sorted(KIND)),
        ),
        min_size=1,
        max_size=30,
    ),
    offset=st.integers(0, 10**8),
    failed=st.sampled_from(["drop", "keep"]),
    columns=st.permutations(HEADER.split(",")),
)
def test_what_was_written_is_read_back(
    file: Path,
    rows: list[tuple[int, str, int, int, str]],
    offset: int,
    failed: str,
    columns: list[str],
) -> None:
    """Rows come back by function in the order of the file, wherever the columns stand."""
    time_s = np.cumsum([row[0] for row in rows]) + offset
    lines = [",".join(columns)]
    written: dict[str, list[Request]] = {}
    for now, (_, model, tokens_in, tokens_out, log) in zip(time_s.tolist(), rows, strict=True):
        values = (now, model, tokens_in, tokens_out, tokens_in + tokens_out, log)
        named = dict(zip(HEADER.split(","), values, strict=True))
        lines.append(",".join(str(named[column]) for column in columns))
        own = written.setdefault(f"{model} {KIND[log]}", [])
        if tokens_out or failed == "keep":
            own.append(((now - int(time_s[0])) * 10**6, tokens_in, tokens_out))
    write(file, lines)
    if not any(written.values()):
        with pytest.raises(TraceError, match="holds failed requests alone"):
            read_burstgpt(file, failed="drop")
        return
    trace = read_burstgpt(file, failed=failed)  # type: ignore[arg-type]
    assert requests(trace) == written
    assert trace.duration_s == time_s[-1] - time_s[0] + 1


def test_spreading_moves_requests_inside_their_second_alone(file: Path) -> None:
    """Seconds, tokens and their order stay; times differ by seed and function, not by the others' rows."""
    rng = np.random.default_rng(5)
    time_s = np.sort(rng.integers(0, 50, 4_000)).tolist()
    models = ["A", *rng.choice(["A", "B"], 3_999).tolist()]
    lines = [
        f"{now},{model},{i},1,{i + 1},API log"
        for i, (now, model) in enumerate(zip(time_s, models, strict=True))
    ]
    kept = read_burstgpt(write(file, [HEADER, *lines]))
    spread = read_burstgpt(file, spread="uniform", seed=3)
    assert kept.functions == spread.functions
    assert np.array_equal(np.floor(spread.arrival_s), kept.arrival_s)
    assert np.array_equal(spread.input_tokens, kept.input_tokens)
    assert spread.duration_s == kept.duration_s
    within_s = spread.arrival_s - kept.arrival_s
    assert np.histogram(within_s, bins=4, range=(0, 1))[0] == pytest.approx(1_000, abs=120)
    assert spread.provenance["transforms"][-1] == {  # type: ignore[index]
        "transform": "spread within the second",
        "spread": "uniform",
        "seed": 3,
    }
    other = read_burstgpt(file, spread="uniform", seed=4)
    assert not np.array_equal(other.arrivals("A api"), spread.arrivals("A api"))
    alone = [line for line, model in zip(lines, models, strict=True) if model == "A"]
    apart = read_burstgpt(write(file, [HEADER, *alone]), spread="uniform", seed=3)
    assert np.array_equal(apart.arrivals("A api"), spread.arrivals("A api"))


def test_two_functions_of_the_same_seconds_are_spread_apart(file: Path) -> None:
    """Each function has its own stream."""
    lines = [f"{now},{model},1,1,2,API log" for now in range(5) for model in "AB"]
    trace = read_burstgpt(write(file, [HEADER, *lines]), spread="uniform")
    assert not np.isin(trace.arrivals("A api"), trace.arrivals("B api")).any()


def test_packed_files_and_parquet_say_the_same(tmp_path: Path) -> None:
    """Gzip and Parquet, with text or numbers, give the trace of the plain file."""
    plain = write(tmp_path / "a.csv", [HEADER, *ROWS])
    expected = requests(read_burstgpt(plain))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    table = pacsv.read_csv(plain)
    pq.write_table(table, tmp_path / "numbers.parquet")
    pq.write_table(
        pa.table([column.cast(pa.string()) for column in table.columns], table.column_names),
        tmp_path / "text.parquet",
    )
    for name in ("a.csv.gz", "numbers.parquet", "text.parquet"):
        assert requests(read_burstgpt(tmp_path / name)) == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("86499,GPT-4,1,1,2,API log", "Timestamp: found '86499', allowed is a time from the row above on"),
        ("-1,GPT-4,1,1,2,API log", "Timestamp: found '-1'"),
        ("nan,GPT-4,1,1,2,API log", "Timestamp: found 'nan'"),
        ("1e300,GPT-4,1,1,2,API log", "Timestamp: found '1e300'"),
        ("86500,,1,1,2,API log", "Model: found '', allowed is the name of a model"),
        ("86500,GPT-4 ,1,1,2,API log", "Model: found 'GPT-4 '"),
        ("86500,GPT-4,1,1,2,Api log", "Log Type: found 'Api log', allowed is Conversation log or API log"),
        ("86500,GPT-4,1,1,2,", "Log Type: found ''"),
        ("86500,GPT-4,-1,1,0,API log", "Request tokens: found '-1'"),
        ("86500,GPT-4,1,1.5,2,API log", "Response tokens: found '1.5'"),
        ("86500,GPT-4,1,,2,API log", "Response tokens: found ''"),
        ("86500,GPT-4,1,2147483648,2147483649,API log", "Response tokens: found '2147483648'"),
        ("86500,GPT-4,1,2,4,API log", r"Total tokens: found '4', allowed is the sum .* \(3\)"),
        ("86500,GPT-4,1,2,3", "found 5 fields, allowed are the 6"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(file: Path, row: str, message: str) -> None:
    """The fault is named with file, line and column, and shown."""
    with pytest.raises(TraceError, match=f"burst.csv: line 6: {message}"):
        read_burstgpt(write(file, [HEADER, *ROWS, row]))


def test_a_file_without_requests_or_columns_is_refused(file: Path) -> None:
    """What is missing is named; the total is not needed."""
    for lines, message in (
        ([HEADER], "holds a header and no request"),
        ([HEADER.replace("Log Type", "Log"), *ROWS], "line 1: Log Type: the column is missing"),
        ([HEADER.replace("Timestamp", "timestamp"), *ROWS], "line 1: Timestamp: the column is missing"),
    ):
        with pytest.raises(TraceError, match=f"burst.csv: {message}"):
            read_burstgpt(write(file, lines))
    read_burstgpt(write(file, [HEADER.replace("Total tokens", "Sum"), *ROWS]))


@pytest.mark.parametrize("option", ["failed", "start", "spread"])
def test_an_unknown_choice_is_refused(file: Path, option: str) -> None:
    """The option and what it allows are named."""
    with pytest.raises(TraceError, match=f"{option}: found 'x', allowed are "):
        read_burstgpt(write(file, [HEADER, *ROWS]), **{option: "x"})  # type: ignore[arg-type]


def test_a_long_file_is_one_trace(file: Path) -> None:
    """Functions are found again, and time runs on, over the blocks in which a file is read."""
    kinds = [("A", "API log"), ("B", "Conversation log"), ("C", "API log")]
    lines = [HEADER]
    for i in range(150_000):
        model, log = kinds[i // 60_000]
        lines.append(f"{i},{model},{i},1,{i + 1},{log}")
    trace = read_burstgpt(write(file, lines))
    assert trace.functions == ("A api", "B conversation", "C api")
    assert trace.counts.tolist() == [60_000, 60_000, 30_000]
    assert np.array_equal(trace.arrival_s, np.arange(150_000))
    assert np.array_equal(trace.input_tokens, np.arange(150_000))
    lines[140_000] = lines[10]
    with pytest.raises(TraceError, match="line 140001: Timestamp: found '9'"):
        read_burstgpt(write(file, lines))


@given(content=mutations(VALID))
def test_a_damaged_file_is_refused_or_read_as_it_says(file: Path, content: bytes) -> None:
    """Whatever the damage: one line naming the file, or what a slow parser reads."""
    trace = trace_or_refusal(read_burstgpt, file, content)
    assert trace is None or requests(trace) == parsed(content)


def test_the_real_rows_have_their_known_statistics(trace_dir: Path) -> None:
    """Count, span, rate, variation, failures and peak agree with the first 400 rows as published."""
    path = trace_dir / "burstgpt" / "BurstGPT_1_first400.csv"
    trace = read_burstgpt(path, failed="keep")
    assert requests(trace) == parsed(path.read_bytes(), failed="keep")
    assert dict(zip(trace.functions, trace.counts.tolist(), strict=True)) == {
        "ChatGPT conversation": 320,
        "GPT-4 conversation": 78,
        "GPT-4 api": 2,
    }
    arrival_s, _ = trace.in_time_order()
    assert arrival_s[-1] == 37_269.0
    assert trace.duration_s == 37_270.0
    assert len(trace) / arrival_s[-1] == pytest.approx(0.0107, abs=0.0001)
    gap_s = np.diff(arrival_s)
    assert gap_s.std() / gap_s.mean() == pytest.approx(4.561, abs=0.001)
    per_minute = np.bincount((arrival_s // 60).astype(int))
    assert per_minute.max() / per_minute[:-1].mean() == pytest.approx(12.5, abs=0.1)  # of whole minutes
    assert trace.input_tokens is not None
    assert np.percentile(trace.input_tokens, [50, 95]) == pytest.approx([314, 1_637], abs=1)
    assert trace.provenance["failed_requests"] == 17
    assert len(read_burstgpt(path)) == 383
