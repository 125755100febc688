from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from azure_tables import HEADER, IDS, ROWS, read, write, write_day
from scipy import stats

from traces import TraceError, read_azure_functions


def test_what_is_missing_is_drawn_from_the_published_fits(tmp_path: Path) -> None:
    """Execution times by function and memory by application follow the paper's distributions."""
    rows = [["o", f"p{i // 2}", f"f{i}", "http", "1", "0", "0"] for i in range(4000)]
    trace = read(write(tmp_path / "invocations.csv", [HEADER, *rows]))
    log_s = np.log(trace.attributes["execution_s"])
    assert stats.kstest(log_s, stats.norm(-0.38, 2.36).cdf).pvalue > 0.01
    memory_mb = trace.attributes["memory_bytes"] / 2**20
    assert np.array_equal(memory_mb[::2], memory_mb[1::2])
    burr = stats.burr12(c=11.652, d=0.221, scale=107.083)
    assert stats.kstest(memory_mb[::2], lambda mb: burr.cdf(mb) / burr.cdf(1536)).pvalue > 0.01
    assert memory_mb.max() <= 1536
    assert trace.provenance["missing"] == {
        "rule": "fit",
        "execution_s": 4000,
        "memory_bytes": 4000,
        "days_without_durations": 1,
        "days_without_memory": 1,
    }


def test_a_draw_depends_on_seed_and_name_alone(tmp_path: Path) -> None:
    """What a function lacks is the same beside others, other under another seed; what it has stays."""
    both = write(tmp_path / "both_invocations.csv", [HEADER, *ROWS])
    alone = write(tmp_path / "alone_invocations.csv", [HEADER, ROWS[1]])
    write(tmp_path / "both_durations.csv", [["HashFunction", "Average"], ["f1", "250"]])
    write(tmp_path / "both_memory.csv", [["HashApp", "AverageAllocatedMb"], ["p1", "2"]])
    values = {
        (name, seed): [trace.attributes[name].tolist() for trace in traces]
        for seed in (1, 2)
        for traces in [[read_azure_functions(path, seed=seed) for path in (both, alone)]]
        for name in ("execution_s", "memory_bytes")
    }
    for (name, _), (of_both, of_alone) in values.items():
        assert of_both[0] == {"execution_s": 0.25, "memory_bytes": 2.0**21}[name]
        assert of_both[1] == of_alone[0]
    for name in ("execution_s", "memory_bytes"):
        assert values[name, 1][1] != values[name, 2][1]
    assert read(both).provenance["missing"] == {
        "rule": "fit",
        "execution_s": 1,
        "memory_bytes": 1,
        "days_without_durations": 0,
        "days_without_memory": 0,
    }


def test_functions_of_no_application_draw_their_own_memory(tmp_path: Path) -> None:
    """An application that is not named is not one that they share."""
    rows = [["o", "", "f1", "http", "1", "0", "0"], ["o", "", "f2", "http", "1", "0", "0"]]
    memory_bytes = read(write(tmp_path / "invocations.csv", [HEADER, *rows])).attributes["memory_bytes"]
    assert memory_bytes[0] != memory_bytes[1]


def test_rows_of_one_function_or_application_are_averaged(tmp_path: Path) -> None:
    """The publisher's files repeat some; rows weigh by the column that is made for it."""
    path = write(tmp_path / "invocations.csv", [HEADER, *ROWS])
    write(
        tmp_path / "durations.csv",
        [["HashFunction", "Average", "Count"], ["f1", "100", "1"], ["f2", "7", "0"], ["f1", "400", "2"]],
    )
    write(
        tmp_path / "memory.csv",
        [
            ["HashApp", "SampleCount", "AverageAllocatedMb"],
            ["p2", "0", "5"],
            ["p2", "0", "9"],
            ["p1", "1", "3"],
        ],
    )
    trace = read(path)
    assert trace.attributes["execution_s"].tolist() == pytest.approx([0.3, 0.007], rel=1e-12)
    assert trace.attributes["memory_bytes"].tolist() == [3 * 2**20, 5 * 2**20]
    assert trace.provenance["averaged_rows"] == {"durations": 1, "memory": 1}


def test_days_follow_each_other(tmp_path: Path) -> None:
    """A function that a day lacks has no invocations in it; minutes count on."""
    write_day(tmp_path, 12, {"f1": {1: 1, 1440: 2}, "f2": {2: 1}}, trigger="others")
    write_day(tmp_path, 13, {"f3": {1: 1}, "f1": {2: 1}}, trigger="event")
    write_day(tmp_path, 14, {"f2": {1440: 1}}, trigger="http")
    write(tmp_path / "a_invocations.csv", [HEADER, *ROWS])
    trace = read(tmp_path, days=3)
    assert trace.duration_s == 3 * 86_400
    assert trace.functions == ("f1", "f2", "f3")
    assert trace.arrivals("f1").tolist() == [30.0, 86_355.0, 86_385.0, 86_490.0]
    assert trace.arrivals("f2").tolist() == [90.0, 3 * 86_400 - 30.0]
    assert trace.arrivals("f3").tolist() == [86_430.0]
    assert trace.attributes["trigger"].tolist() == ["event", "http", "event"]
    assert trace.provenance["chosen_by"] == "first day of the directory"
    assert trace.provenance["minutes"] == 4320
    assert [file["name"][-7:-4] for file in trace.provenance["files"]] == ["d12", "d13", "d14"]  # type: ignore[attr-defined]
    from_d13 = read(tmp_path, sample="d13", days=2)
    assert from_d13.functions == ("f3", "f1", "f2")
    assert from_d13.arrivals("f2").tolist() == [2 * 86_400 - 30.0]


def test_averages_over_days_weigh_by_what_they_are_of(tmp_path: Path) -> None:
    """Memory that was not published of a day is that of the others; if there is none, it is missing."""
    write_day(tmp_path, 12, {"f1": {1: 1}, "f2": {2: 1}})
    write_day(tmp_path, 13, {"f1": {1: 1}, "f3": {1: 1}})
    for day, average, count in ((12, "100", "1"), (13, "400", "2")):
        write(
            tmp_path / f"function_durations_percentiles.anon.d{day}.csv",
            [["HashFunction", "Average", "Count"], ["f1", average, count]],
        )
    write(tmp_path / "app_memory_percentiles.anon.d12.csv", [["HashApp", "AverageAllocatedMb"], ["pf1", "2"]])
    trace = read(tmp_path, days=2, missing="nan")
    assert trace.attributes["execution_s"].tolist() == pytest.approx([0.3, math.nan, math.nan], nan_ok=True)
    assert trace.attributes["memory_bytes"].tolist() == pytest.approx(
        [2.0**21, math.nan, math.nan], nan_ok=True
    )
    assert trace.provenance["averaged_rows"] == {"durations": 0, "memory": 0}
    assert trace.provenance["missing"] == {
        "rule": "nan",
        "execution_s": 2,
        "memory_bytes": 2,
        "days_without_durations": 0,
        "days_without_memory": 1,
    }


@pytest.mark.parametrize("spread", ["even", "poisson"])
def test_days_are_those_read_one_by_one(tmp_path: Path, spread: Literal["even", "poisson"]) -> None:
    """Counts of each minute are those of the files, in their order."""
    rng = np.random.default_rng(0)
    tables = rng.poisson(0.2, (2, 3, 1440))
    for day, table in enumerate(tables, start=1):
        write_day(
            tmp_path, day, {f"f{i}": dict(enumerate(row.tolist(), start=1)) for i, row in enumerate(table)}
        )
    both = read(tmp_path, days=2, spread=spread)
    assert np.array_equal((both.rates(60.0) * 60).round(), np.concatenate(tables, axis=1))
    if spread == "even":
        one = read(tmp_path, sample="d01")
        assert np.array_equal(both.window(0, 86_400).arrival_s, one.arrival_s)


def test_days_that_are_not_there_are_refused(tmp_path: Path) -> None:
    """A missing day, a name without a day, and a day that lacks minutes are named."""
    first = write_day(tmp_path, 13, {"f1": {1: 1}})
    with pytest.raises(TraceError, match=r"days: found 2, but there is no .*d14.csv"):
        read(first, days=2)
    write(tmp_path / "invocations_per_function_md.anon.d14.csv", [[*IDS, "1"], ["o", "p", "f1", "http", "1"]])
    with pytest.raises(TraceError, match=r"d14.csv: days: found minutes 1 to 1, allowed .* 1 to 1440"):
        read(first, days=2)
    with pytest.raises(
        TraceError, match=r"x_invocations.csv: days: found 2, but the name of the file has no day"
    ):
        read(write(tmp_path / "x_invocations.csv", [HEADER, *ROWS]), days=2)
