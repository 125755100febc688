from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import Trace, TraceError, read_azure_functions

HEADER = ["HashOwner", "HashApp", "HashFunction", "Trigger", "480", "481", "482"]
ROWS = [["o", "p1", "f1", "http", "2", "0", "1"], ["o", "p2", "f2", "timer", "0", "1", "0"]]


def write(path: Path, rows: list[list[str]]) -> Path:
    """Write rows as a CSV file."""
    path.write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path, **options: object) -> Trace:
    """Read with seed 1."""
    return read_azure_functions(path, seed=1, **options)  # type: ignore[arg-type]


def test_counts_become_arrivals_of_their_minute(tmp_path: Path) -> None:
    """Time 0 is the first minute column; k invocations lie at (i + 0.5) / k of their minute."""
    trace = read(write(tmp_path / "invocations.csv", [HEADER, *ROWS]))
    assert trace.functions == ("f1", "f2")
    assert trace.duration_s == 180.0
    assert trace.arrivals("f1").tolist() == [15.0, 45.0, 150.0]
    assert trace.arrivals("f2").tolist() == [90.0]
    assert trace.attributes["trigger"].tolist() == ["http", "timer"]
    assert np.isnan(trace.attributes["execution_s"]).all()
    assert trace.provenance["first_minute"] == 480


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    """Another order of columns, in any of the three files, gives the same trace."""
    shuffled = [[*row[4:], row[2], row[3], row[1], row[0]] for row in (HEADER, *ROWS)]
    write(tmp_path / "x_invocations.csv", shuffled)
    write(tmp_path / "x_durations.csv", [["Average", "HashFunction"], ["250", "f2"], ["3", "other"]])
    write(tmp_path / "x_memory.csv", [["AverageAllocatedMb", "HashApp", "HashFunction"], ["2.5", "p1", "f1"]])
    trace = read(tmp_path)
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
    trace = read(invocations)
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
        TraceError, match=r"invocations.csv: line 3: minute 481: found '.*, allowed are whole"
    ):
        read(write(tmp_path / "invocations.csv", rows))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([HEADER, ROWS[0], ROWS[1][:-1]], "line 3: found 6 fields, allowed are the 7 of the header"),
        ([HEADER, ROWS[0], ROWS[1], ROWS[0]], "line 4: HashFunction: found 'f1' again, first on line 2"),
        ([HEADER, ["o", "p", "", *ROWS[0][3:]]], "line 2: HashFunction: found an empty id"),
        ([HEADER], "holds a header and no function"),
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
        ([["HashFunction", "Average"], ["f1", "1"], ["f1", "2"]], "line 3: HashFunction: found 'f1' twice"),
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
    with pytest.raises(TraceError, match="holds no file named"):
        read(tmp_path)
    with pytest.raises(TraceError, match="cannot be read"):
        read(tmp_path / "none.csv")
    with pytest.raises(TraceError, match="spread: found 'gamma', allowed are even, poisson"):
        read(write(tmp_path / "invocations.csv", [HEADER, *ROWS]), spread="gamma")


@given(data=st.data())
def test_any_damage_to_the_bytes_is_read_or_refused_by_the_package(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A file with bytes changed, cut or inserted never escapes as anything but a one-line TraceError."""
    path = write(tmp_path_factory.mktemp("azure") / "invocations.csv", [HEADER, *ROWS])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 8))
        content[start : start + length] = data.draw(st.binary(max_size=4))
    path.write_bytes(bytes(content))
    try:
        trace, refusal = read(path), ""
    except TraceError as error:
        trace, refusal = None, str(error)
    assert trace is None or trace.functions
    assert trace is not None or refusal.startswith(str(path))
    assert len(refusal.splitlines()) <= 1


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
