from __future__ import annotations

import csv
import gzip
import math
import os
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from azure_tables import HEADER, ROWS, read, same, write
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations, trace_or_refusal

from traces import TraceError, read_azure_functions
from traces.readers import azure_functions_2019 as reader
from traces.transforms import thin, top


def test_counts_become_arrivals_of_their_minute(tmp_path: Path) -> None:
    """Time 0 is the first minute column; k invocations lie at (i + 0.5) / k of their minute."""
    trace = read(write(tmp_path / "invocations.csv", [HEADER, *ROWS]), missing="nan")
    assert trace.functions == ("f1", "f2")
    assert trace.duration_s == 180.0
    assert trace.arrivals("f1").tolist() == [15.0, 45.0, 150.0]
    assert trace.arrivals("f2").tolist() == [90.0]
    assert trace.attributes["trigger"].tolist() == ["http", "timer"]
    assert np.isnan(trace.attributes["execution_s"]).all()
    assert np.isnan(trace.attributes["memory_bytes"]).all()
    assert trace.provenance["first_minute"] == 480


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    """Another order of columns, in any of the three files, gives the same trace."""
    shuffled = [[*row[4:], row[2], row[3], row[1], row[0]] for row in (HEADER, *ROWS)]
    write(tmp_path / "x_invocations.csv", shuffled)
    write(tmp_path / "x_durations.csv", [["Average", "HashFunction"], ["250", "f2"], ["3", "other"]])
    write(tmp_path / "x_memory.csv", [["AverageAllocatedMb", "HashApp", "HashFunction"], ["2.5", "p1", "f1"]])
    trace = read(tmp_path, missing="nan")
    assert trace.arrivals("f1").tolist() == [15.0, 45.0, 150.0]
    assert trace.attributes["trigger"].tolist() == ["http", "timer"]
    assert trace.attributes["execution_s"].tolist() == pytest.approx([math.nan, 0.25], nan_ok=True)
    assert trace.attributes["memory_bytes"].tolist() == pytest.approx([2.5 * 2**20, math.nan], nan_ok=True)


def test_the_publisher_s_files_are_joined(tmp_path: Path) -> None:
    """The original names are companions of each other, and memory is joined by application."""
    invocations = write(tmp_path / "invocations_per_function_md.anon.d01.csv", [HEADER, *ROWS])
    write(
        tmp_path / "function_durations_percentiles.anon.d01.csv",
        [["HashFunction", "Average"], ["f1", "1500"], ["f2", "0"]],
    )
    write(
        tmp_path / "app_memory_percentiles.anon.d01.csv",
        [["HashOwner", "HashApp", "AverageAllocatedMb"], ["o", "p2", "170"]],
    )
    trace = read(invocations, missing="nan")
    assert trace.attributes["execution_s"].tolist() == [1.5, 0.0]
    assert trace.attributes["memory_bytes"].tolist() == pytest.approx([math.nan, 170 * 2**20], nan_ok=True)
    assert [file["name"] for file in trace.provenance["files"]] == [  # type: ignore[attr-defined]
        "invocations_per_function_md.anon.d01.csv",
        "function_durations_percentiles.anon.d01.csv",
        "app_memory_percentiles.anon.d01.csv",
    ]


def test_the_file_of_a_directory_is_chosen_by_rule(tmp_path: Path) -> None:
    """A sample chooses by a whole part of the name, and without one the most functions win."""
    write(tmp_path / "sample5_invocations.csv", [HEADER, ROWS[0]])
    assert read(tmp_path).provenance["chosen_by"] == "only invocation file of the directory"
    write(tmp_path / "sample500_invocations.csv", [HEADER, *ROWS])
    assert len(read(tmp_path, sample="sample5").functions) == 1
    largest = read(tmp_path)
    assert len(largest.functions) == 2
    assert largest.provenance["chosen_by"] == "most functions in the directory"
    for sample in ("sample50", "invocations"):
        with pytest.raises(TraceError, match=f"found '{sample}', which names"):
            read(tmp_path, sample=sample)


@given(
    counts=st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3), min_size=1, max_size=6),
    spread=st.sampled_from(["even", "poisson"]),
    seed=st.integers(0, 2**40),
)
def test_every_invocation_arrives_once_in_its_minute(
    tmp_path_factory: pytest.TempPathFactory, counts: list[list[int]], spread: str, seed: int
) -> None:
    """Counting the arrivals of each minute gives back the table, under both spreads and any seed."""
    rows = [["o", "p", f"f{i}", "http", *map(str, row)] for i, row in enumerate(counts)]
    path = write(tmp_path_factory.mktemp("azure") / "invocations.csv", [HEADER, *rows])
    trace = read_azure_functions(path, seed=seed, spread=spread)  # type: ignore[arg-type]
    assert (trace.rates(60.0) * 60).round(6).tolist() == counts


def test_poisson_spread_depends_on_seed_and_name_alone(tmp_path: Path) -> None:
    """The arrivals of a function are the same without the others, not under another seed or name."""
    both = read(write(tmp_path / "both_invocations.csv", [HEADER, *ROWS]), spread="poisson")
    alone_file = write(tmp_path / "alone_invocations.csv", [HEADER, ROWS[0]])
    assert np.array_equal(both.arrivals("f1"), read(alone_file, spread="poisson").arrivals("f1"))
    twin_file = write(tmp_path / "twin_invocations.csv", [HEADER, [*ROWS[0][:2], "f3", *ROWS[0][3:]]])
    assert not np.array_equal(both.arrivals("f1"), read(twin_file, spread="poisson").arrivals("f3"))
    other = read_azure_functions(alone_file, seed=2, spread="poisson")
    assert not np.array_equal(both.arrivals("f1"), other.arrivals("f1"))


@pytest.mark.parametrize("found", ["-1", "1.5", "nan", "", "x", " 1", "1_0", "²", "1" * 30, "9" * 5000])
def test_a_count_that_is_no_whole_number_is_refused(tmp_path: Path, found: str) -> None:
    """The fault is named with file, line and minute, and shown."""
    rows = [HEADER, ROWS[0], [*ROWS[1][:5], found, "0"]]
    with pytest.raises(
        TraceError, match=r"invocations.csv: line 3: 481: found '.*, allowed is a whole number"
    ):
        read(write(tmp_path / "invocations.csv", rows))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([HEADER, ROWS[0], ROWS[1][:-1]], "line 3: found 6 fields, allowed are the 7 of the header"),
        ([HEADER, ROWS[0], ROWS[1], ROWS[0]], "line 4: HashFunction: found 'f1' again, first on line 2"),
        ([HEADER, ["o", "p", "", *ROWS[0][3:]]], "line 2: HashFunction: found an empty id"),
        ([HEADER], "holds a header and no function"),
        ([[*HEADER[:4], "9" * 5000], [*ROWS[0][:4], "1"]], "line 1: holds no minute column"),
        ([[*HEADER[:4], "07"], [*ROWS[0][:4], "1"]], "line 1: found minute column 07"),
        ([HEADER[:4], ROWS[0][:4]], "line 1: holds no minute column"),
        ([HEADER[:3] + HEADER[4:], ROWS[0][1:]], "line 1: Trigger: the column is missing"),
        (
            [[*HEADER[:4], "1", "3", "2"], ROWS[0]],
            "line 1: found minute column 3, allowed is an unbroken run",
        ),
        ([["1", *HEADER[:4], "2", "3"], ROWS[0]], "line 1: found minute column 2"),
    ],
)
def test_a_broken_invocation_file_is_refused(tmp_path: Path, rows: list[list[str]], message: str) -> None:
    """Each fault is named with file and line."""
    with pytest.raises(TraceError, match=f"invocations.csv: {message}"):
        read(write(tmp_path / "invocations.csv", rows))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["HashFunction", "Average"], ["f1", "-5"]], "line 2: Average: found '-5'"),
        ([["HashFunction", "Average"], ["f1", "nan"]], "line 2: Average: found 'nan'"),
        (
            [["HashFunction", "Average"], ["f1", "1"], ["f1", "2"]],
            "line 3: HashFunction: found 'f1' twice and no column Count to average by",
        ),
        ([["HashFunction", "Average", "Count"], ["f1", "1", "-1"]], "line 2: Count: found '-1'"),
        ([["HashApp", "Average"], ["p1", "1"]], "line 1: HashFunction: the column is missing"),
        ([["HashFunction", "Mean"], ["f1", "1"]], "line 1: Average: the column is missing"),
    ],
)
def test_a_broken_duration_file_is_refused(tmp_path: Path, rows: list[list[str]], message: str) -> None:
    """A companion that is there is held to the same strictness."""
    invocations = write(tmp_path / "invocations.csv", [HEADER, *ROWS])
    write(tmp_path / "durations.csv", rows)
    with pytest.raises(TraceError, match=f"durations.csv: {message}"):
        read(invocations)


def test_a_path_without_a_trace_is_refused(tmp_path: Path) -> None:
    """A directory without invocation files, a missing file and an unknown spread are bad input."""
    (tmp_path / "invocations.csv").mkdir()
    with pytest.raises(TraceError, match="holds no file named"):
        read(tmp_path)
    (tmp_path / "invocations.csv").rmdir()
    with pytest.raises(TraceError, match="cannot be read"):
        read(tmp_path / "none.csv")
    with pytest.raises(TraceError, match="spread: found 'gamma', allowed are even, poisson"):
        read(write(tmp_path / "invocations.csv", [HEADER, *ROWS]), spread="gamma")


def test_what_is_no_file_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    """A pipe that bears the name of a trace, or of its companions, is not waited for."""
    write(tmp_path / "b_invocations.csv", [HEADER, *ROWS])
    for name in ("a_invocations.csv", "b_durations.csv", "b_memory.csv"):
        os.mkfifo(tmp_path / name)
    assert read(tmp_path).functions == ("f1", "f2")
    with pytest.raises(TraceError, match="is not a regular file"):
        read(tmp_path / "a_invocations.csv")


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.zst", ".parquet"])
def test_packed_and_columnar_files_give_the_same_trace(tmp_path: Path, suffix: str) -> None:
    """The three files of a folder are found and read, whichever way each is stored."""
    plain, stored = tmp_path / "plain", tmp_path / "stored"
    plain.mkdir()
    stored.mkdir()
    write(plain / "x_invocations.csv", [HEADER, *ROWS])
    write(plain / "x_durations.csv", [["HashFunction", "Average", "Count"], ["f2", "250", "4"]])
    write(plain / "x_memory.csv", [["HashApp", "AverageAllocatedMb"], ["p1", "2.5"]])
    for file in plain.iterdir():
        target = stored / file.name.replace(".csv", suffix)
        if suffix == ".parquet":
            pq.write_table(pacsv.read_csv(file), target)
        elif suffix == ".csv.gz":
            target.write_bytes(gzip.compress(file.read_bytes()))
        else:
            target.write_bytes(pa.compress(file.read_bytes(), "zstd", asbytes=True))
    assert same(read(stored), read(plain))
    assert len(read(stored).provenance["files"]) == 3  # type: ignore[arg-type]
    (stored / f"x_memory{suffix}").unlink()
    (stored / "x_memory.csv").write_bytes((plain / "x_memory.csv").read_bytes())
    assert same(read(stored), read(plain))


def test_progress_is_that_of_all_files(tmp_path: Path) -> None:
    """It rises, over invocations, durations and memory, to the bytes of all three."""
    write(tmp_path / "invocations.csv", [HEADER, *ROWS])
    write(tmp_path / "durations.csv", [["HashFunction", "Average"], ["f2", "250"]])
    pq.write_table(pa.table({"HashApp": ["p1"], "AverageAllocatedMb": [2.5]}), tmp_path / "memory.parquet")
    told: list[tuple[int, int]] = []
    read(tmp_path, progress=lambda done, of: told.append((done, of)))
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert {of for _, of in told} == {size}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == size
    assert any(0 < done < size for done, _ in told)


@given(
    counts=st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=3),
    spread=st.sampled_from(["even", "poisson"]),
    at_once=st.integers(1, 30),
)
def test_how_many_arrivals_are_laid_at_once_changes_none(
    tmp_path_factory: pytest.TempPathFactory, counts: list[list[int]], spread: str, at_once: int
) -> None:
    """The bound on memory is not seen in the result."""
    rows = [["o", "p", f"f{i}", "http", *map(str, row)] for i, row in enumerate(counts)]
    path = write(tmp_path_factory.mktemp("azure") / "invocations.csv", [HEADER, *rows])
    whole = read(path, spread=spread)
    with patch.object(reader, "_LAID_AT_ONCE", at_once):
        assert same(read(path, spread=spread), whole)


@given(
    counts=st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=9),
    spread=st.sampled_from(["even", "poisson"]),
    fraction=st.none() | st.floats(0.01, 1.0),
    k=st.none() | st.integers(1, 10),
)
def test_choosing_functions_first_is_choosing_them_later(
    tmp_path_factory: pytest.TempPathFactory,
    counts: list[list[int]],
    spread: str,
    fraction: float | None,
    k: int | None,
) -> None:
    """`thin` and `top` keep what the transforms keep of the whole trace, and say the same of it."""
    rows = [["o", "p", f"f{i}", "http", *map(str, row)] for i, row in enumerate(counts)]
    path = write(tmp_path_factory.mktemp("azure") / "invocations.csv", [HEADER, *rows])
    later = read(path, spread=spread)
    spreading = list(later.transforms)
    if fraction is not None:
        later = thin(later, fraction, seed=1)
    if k is not None:
        later = top(later, k)
    first = read(path, spread=spread, thin=fraction, top=k)
    assert same(first, later)
    assert list(first.transforms) == [*later.transforms[1:], *spreading]


def test_of_equally_invoked_functions_the_first_stay(tmp_path: Path) -> None:
    """Also among so many that a sort would not keep their order by chance."""
    rows = [["o", "p", f"f{i}", "http", "0", str(i % 2), "0"] for i in range(200)]
    trace = read(write(tmp_path / "invocations.csv", [HEADER, *rows]), top=30)
    assert trace.functions == tuple(f"f{i}" for i in range(1, 60, 2))


def test_more_invocations_than_fit_are_refused(tmp_path: Path) -> None:
    """The way out is named, and it works."""
    rows = [HEADER, ["o", "p", "f1", "http", "0", "0", "7"], ["o", "p", "f2", "http", *["999999999"] * 3]]
    path = write(tmp_path / "invocations.csv", rows)
    with pytest.raises(TraceError, match=r"csv: holds 3000000004 invocations, .*; choose by top or thin"):
        read(path)
    seed = next(
        seed for seed in range(99) if read_azure_functions(path, thin=0.3, seed=seed).functions == ("f1",)
    )
    assert len(read_azure_functions(path, thin=0.3, seed=seed)) == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "top: found 0, allowed are integers from 1"),
        ({"top": True}, "top: found True"),
        ({"thin": 0.0}, "thin: found 0.0, allowed is a number above 0"),
        ({"thin": math.nan}, "thin: found nan"),
        ({"days": 0}, "days: found 0"),
        ({"missing": "drop"}, "missing: found 'drop', allowed are fit, nan"),
        ({"seed": -1}, "seed: found -1"),
    ],
)
def test_a_parameter_out_of_range_is_refused(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    """Whatever the file is."""
    path = write(tmp_path / "invocations.csv", [HEADER, *ROWS])
    with pytest.raises(TraceError, match=f"^{message}"):
        read_azure_functions(path, **options)  # type: ignore[arg-type]


COMPANIONS = {
    "durations": [["HashFunction", "Average", "Count"], ["f1", "1500", "3"], ["f2", "20", "1"]],
    "memory": [["HashApp", "AverageAllocatedMb"], ["p1", "170.5"], ["p2", "20"]],
}


def parsed(content: bytes) -> list[dict[str, str]]:
    """Return the rows of a table, by name of column, as a short program would read them."""
    lines = content.decode("utf-8-sig").replace("\r\n", "\n").rstrip("\n").split("\n")
    rows = [next(csv.reader([line], strict=True)) for line in lines]
    names = [name.strip() for name in rows[0]]
    return [dict(zip(names, row, strict=True)) for row in rows[1:]]


@given(data=st.data(), kind=st.sampled_from(["invocations", *COMPANIONS]))
def test_a_damaged_file_is_refused_by_name_or_read_for_what_it_says(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str
) -> None:
    """After any mutation there is one error of that file, or what an independent parser finds."""
    folder = tmp_path_factory.mktemp("azure")
    for name, rows in {"invocations": [HEADER, *ROWS], **COMPANIONS}.items():
        write(folder / f"{name}.csv", rows)
    path = folder / f"{kind}.csv"
    content = data.draw(mutations(path.read_bytes()))
    trace = trace_or_refusal(lambda _: read(folder / "invocations.csv", missing="nan"), path, content)
    if trace is None:
        return
    rows = parsed(content)
    if kind == "invocations":
        assert list(trace.functions) == [row["HashFunction"] for row in rows]
        assert trace.attributes["trigger"].tolist() == [row["Trigger"] for row in rows]
        minutes = sorted(int(name) for name in rows[0] if name.isdigit())
        assert trace.provenance["first_minute"] == minutes[0]
        assert (trace.rates(60.0) * 60).round().tolist() == [
            [int(row[str(minute)]) for minute in minutes] for row in rows
        ]
    elif kind == "durations":
        for name, found_s in zip(trace.functions, trace.attributes["execution_s"].tolist(), strict=True):
            mine = [row for row in rows if row["HashFunction"] == name]
            weights = [float(row.get("Count", 1)) for row in mine]
            total = sum(float(row["Average"]) * weight for row, weight in zip(mine, weights, strict=True))
            mean_ms = (
                total / sum(weights) if sum(weights) else float(mine[0]["Average"]) if mine else math.nan
            )
            assert found_s == pytest.approx(mean_ms / 1000, nan_ok=True)
    else:
        key = "HashFunction" if rows and "HashFunction" in rows[0] else "HashApp"
        of_key = {row[key]: float(row["AverageAllocatedMb"]) * 2**20 for row in rows}
        assert trace.attributes["memory_bytes"].tolist() == pytest.approx(
            [of_key.get(app, math.nan) for app in ("p1", "p2")], nan_ok=True
        )


@pytest.mark.parametrize(
    ("sample", "functions", "minutes", "invocations", "mean", "lowest", "peak"),
    [
        ("sample500", 500, 480, 3_037_902, 6_329, 3_013, 7_603),
        ("sample10", 10, 1_440, 13_037_064, 9_053, 8_408, 9_736),
        ("sample5", 5, 1_440, 25_268_396, 17_548, 10_602, 18_332),
    ],
)
def test_the_real_samples_have_their_known_totals(
    trace_dir: Path,
    sample: str,
    functions: int,
    minutes: int,
    invocations: int,
    mean: int,
    lowest: int,
    peak: int,
) -> None:
    """Functions, window, invocations and the aggregate of each minute agree with the published counts."""
    trace = read(trace_dir / "azure_functions_2019", sample=sample)
    assert len(trace.functions) == functions
    assert trace.duration_s == 60 * minutes
    assert len(trace) == invocations
    per_minute = (trace.rates(60.0) * 60).sum(axis=0).round().astype(int)
    assert per_minute.size == minutes
    assert per_minute.mean() == pytest.approx(mean, abs=1)
    assert (per_minute.min(), per_minute.max()) == (lowest, peak)


def test_the_real_sample_of_500_has_its_known_shape(trace_dir: Path) -> None:
    """Concentration, durations, triggers and burstiness agree with the sample's known statistics."""
    trace = read(trace_dir / "azure_functions_2019")
    assert len(trace.functions) == 500
    share = np.sort(trace.counts)[::-1] / len(trace)
    assert share[0] == pytest.approx(0.63, abs=0.005)
    assert share[:10].sum() == pytest.approx(0.91, abs=0.005)
    execution_s = trace.attributes["execution_s"]
    assert not np.isnan(execution_s).any()
    assert (execution_s == 0).sum() == 13
    assert np.log(execution_s[execution_s > 0]).mean() == pytest.approx(-0.593, abs=0.001)
    assert trace.provenance["missing"] == {
        "rule": "fit",
        "execution_s": 0,
        "memory_bytes": 0,
        "days_without_durations": 0,
        "days_without_memory": 0,
    }
    assert trace.provenance["averaged_rows"] == {"durations": 0, "memory": 0}
    memory_mb = trace.attributes["memory_bytes"] / 2**20
    assert (memory_mb.min(), np.median(memory_mb), memory_mb.max()) == pytest.approx(
        (1.641, 57.5, 405.0), abs=1e-3
    )
    triggers, count = np.unique(trace.attributes["trigger"], return_counts=True)
    assert dict(zip(triggers.tolist(), (count / 5).tolist(), strict=True)) == {
        "event": 2.8,
        "http": 27.8,
        "orchestration": 5.0,
        "others": 0.2,
        "queue": 13.8,
        "storage": 1.0,
        "timer": 49.4,
    }
    gaps = [np.diff(trace.arrivals(position)) for position in range(500) if trace.counts[position] > 2]
    variation = np.array([gap.std() / gap.mean() for gap in gaps])
    assert np.median(variation) == pytest.approx(0.20, abs=0.02)
    assert (variation > 1).mean() == pytest.approx(0.24, abs=0.02)


def test_both_spreads_of_a_real_sample_agree_minute_by_minute(trace_dir: Path) -> None:
    """Spreading changes where an arrival lies in its minute and nothing else."""
    even, poisson = (
        read(trace_dir / "azure_functions_2019", sample="sample500", spread=spread)
        for spread in ("even", "poisson")
    )
    assert np.array_equal(even.rates(60.0), poisson.rates(60.0))
