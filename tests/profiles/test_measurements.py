import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import (
    InterferenceMeasurement,
    Measurement,
    Point,
    ProfileError,
    StartUpMeasurement,
    append_measurements,
    read_measurements,
    write_measurements,
)
from profiles.measurements import (
    append_interference,
    append_start_ups,
    read_interference,
    read_start_ups,
    write_interference,
    write_start_ups,
)

HEADER = "model,job,batch,share,share_by,seconds,launches,cost,memory_bytes,power_w,neighbour,held_out"
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
    lambda text: text.isprintable() and text == text.strip() and "," not in text
)
amounts = st.none() | st.floats(0.0, 1e18)
counts = st.none() | st.integers(0, 2**60)
measurements = st.builds(
    Measurement,
    names,
    st.sampled_from(["serve", "prefill", "train"]),
    st.integers(1, 10**6),
    st.floats(0.0, 1.0, exclude_min=True),
    st.sampled_from(["mps", "green", "gate", "virtual", "whole"]),
    st.lists(st.floats(0.0, 1e9, exclude_min=True), min_size=1, max_size=8).map(tuple),
    launches=counts,
    cost=amounts,
    memory_bytes=counts,
    power_w=amounts,
    neighbour=st.none() | names,
    held_out=st.booleans(),
)


def a_measurement(**changes: Any) -> Measurement:
    """Return a measurement with some values changed."""
    values = {
        "model": "m",
        "job": "serve",
        "batch": 4,
        "share": 0.5,
        "share_by": "mps",
        "seconds": (0.1, 0.2),
    }
    return Measurement(**(values | changes))


@given(rows=st.lists(measurements, max_size=4), more=st.lists(measurements, max_size=3))
def test_what_is_written_and_appended_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Measurement], more: list[Measurement]
) -> None:
    """Every value comes back exactly as it was, in order."""
    path = tmp_path_factory.getbasetemp() / "round-trip.csv"
    write_measurements(path, rows)
    append_measurements(path, more)
    assert read_measurements(path) == rows + more


def test_the_header_is_written_once_and_every_row_at_once(tmp_path: Path) -> None:
    """A file that is appended to while it is read has a header and whole rows at any time."""
    path = tmp_path / "measurements.csv"

    def rows() -> Any:
        for batch in (1, 2):
            yield a_measurement(batch=batch)
            # The generator goes on after the row before was written.
            seen.append(len(read_measurements(path)))

    seen: list[int] = []
    append_measurements(path, rows())
    append_measurements(path, [a_measurement(held_out=True, cost=2.5, neighbour="a:train@0.5:b64")])
    assert seen == [1, 2]
    assert path.read_text(encoding="utf-8").splitlines() == [
        HEADER,
        "m,serve,1,0.5,mps,0.1;0.2,,,,,,false",
        "m,serve,2,0.5,mps,0.1;0.2,,,,,,false",
        "m,serve,4,0.5,mps,0.1;0.2,,2.5,,,a:train@0.5:b64,true",
    ]


@pytest.mark.parametrize("cut", range(1, 45))
def test_a_row_that_was_cut_off_is_left_out_and_replaced(tmp_path: Path, cut: int) -> None:
    """Wherever the writer died in the last row, what was whole is read, and goes on whole."""
    path = tmp_path / "measurements.csv"
    write_measurements(path, [a_measurement(), a_measurement(batch=8, seconds=(0.125, 0.25), launches=3)])
    text = path.read_bytes()
    start = text[:-1].rfind(b"\n") + 1
    end = min(start + cut, len(text) - 1)
    path.write_bytes(text[:end])
    assert read_measurements(path) == [a_measurement()]
    append_measurements(path, [a_measurement(batch=16)])
    assert read_measurements(path) == [a_measurement(), a_measurement(batch=16)]


def test_a_header_that_was_cut_off_is_written_again(tmp_path: Path) -> None:
    """A writer that died in its first line leaves nothing in the way."""
    path = tmp_path / "measurements.csv"
    path.write_text(HEADER[:20], encoding="utf-8")
    append_measurements(path, [a_measurement()])
    assert read_measurements(path) == [a_measurement()]


def test_writing_leaves_the_old_file_if_it_fails(tmp_path: Path) -> None:
    """A source of rows that breaks leaves the file as it was, and nothing beside it."""
    path = tmp_path / "measurements.csv"
    write_measurements(path, [a_measurement()])
    with pytest.raises(ZeroDivisionError):
        write_measurements(path, (a_measurement(batch=1 // zero) for zero in (1, 0)))
    assert read_measurements(path) == [a_measurement()]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("m,serve,4,0.5,mps,0.1,,,,,,maybe", r"line 2: held_out: found 'maybe', allowed are true and false"),
        ("m,serve,4,0.5,mps,0.1;fast,,,,,,false", r"line 2: seconds: found 'fast', allowed is a number"),
        ("m,serve,4.5,0.5,mps,0.1,,,,,,false", r"line 2: batch: found '4\.5', allowed is a whole number"),
        ("m,serve,4,1.5,mps,0.1,,,,,,false", r"line 2: share: found 1\.5, allowed are shares in \(0, 1\]"),
        ("m,sing,4,0.5,mps,0.1,,,,,,false", r"line 2: job: found 'sing', allowed are serve, prefill, train"),
        ("m,serve,4,0.5,luck,0.1,,,,,,false", r"line 2: share_by: found 'luck', allowed are mps, green,"),
        ("m,serve,4,0.5,mps,-0.1,,,,,,false", r"line 2: seconds: found -0\.1, allowed are finite seconds"),
        ("m,serve,4,0.5,mps,nan,,,,,,false", r"line 2: seconds: found nan"),
        ("m,serve,4,0.5,mps,,,,,,,false", r"line 2: seconds: found '', allowed is a number"),
        ("m,serve,4,0.5,mps,0.1,,-1.0,,,,false", r"line 2: cost: found -1\.0, allowed are finite numbers"),
        (",serve,4,0.5,mps,0.1,,,,,,false", r"line 2: model: found '', allowed is a text of one line"),
        ("m,serve,4,0.5,mps,0.1,false", r"line 2: found 7 cells, allowed are 12"),
        ("", r"line 2: found 1 cells, allowed are 12"),
    ],
)
def test_a_bad_row_is_refused_by_line_and_column(tmp_path: Path, line: str, message: str) -> None:
    """One line says which file, which line, which column, and what was found."""
    path = tmp_path / "measurements.csv"
    path.write_text(f"{HEADER}\n{line}\n", encoding="utf-8")
    with pytest.raises(ProfileError, match=rf"measurements\.csv: {message}") as caught:
        read_measurements(path)
    assert "\n" not in str(caught.value)


def test_another_file_is_neither_read_nor_appended_to(tmp_path: Path) -> None:
    """A header of other columns, no file and no text are refused, and the file stays."""
    path = tmp_path / "points.csv"
    path.write_text("batch,share,seconds\n", encoding="utf-8")
    with pytest.raises(
        ProfileError, match=r"points\.csv: line 1: found batch,share,seconds, allowed is model"
    ):
        read_measurements(path)
    with pytest.raises(
        ProfileError, match=r"points\.csv: line 1: found batch,share,seconds, allowed is model"
    ):
        append_measurements(path, [a_measurement()])
    assert path.read_text(encoding="utf-8") == "batch,share,seconds\n"
    with pytest.raises(ProfileError, match=r"gone\.csv: found no readable file"):
        read_measurements(tmp_path / "gone.csv")
    path.write_bytes(b"\xff\n")
    with pytest.raises(ProfileError, match="not UTF-8"):
        read_measurements(path)
    path.write_bytes(b"")
    with pytest.raises(ProfileError, match="line 1: found an empty file"):
        read_measurements(path)


def test_lines_may_end_as_on_other_systems(tmp_path: Path) -> None:
    """A file that went through an editor of Windows is read alike."""
    path = tmp_path / "measurements.csv"
    write_measurements(path, [a_measurement()])
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_measurements(path) == [a_measurement()]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "two,words"},
        {"model": " m"},
        {"neighbour": ""},
        {"neighbour": "a\nb"},
        {"batch": 0},
        {"share": 0.0},
        {"seconds": ()},
        {"seconds": (0.1, math.inf)},
        {"launches": -1},
        {"memory_bytes": -1},
        {"power_w": math.nan},
    ],
)
def test_an_impossible_measurement_is_refused(changes: dict[str, Any]) -> None:
    """What could not have been measured cannot be made, by the name of its field."""
    with pytest.raises(ProfileError, match=f"{next(iter(changes))}: found"):
        a_measurement(**changes)


def test_numbers_of_numpy_become_python_s_own(tmp_path: Path) -> None:
    """What a calibration computes with numpy is written and read as plain numbers."""
    row = a_measurement(
        batch=np.int64(4), seconds=np.array([0.1, 0.2]), launches=np.int32(7), cost=np.float32(0.5)
    )
    assert row == a_measurement(launches=7, cost=0.5)
    write_measurements(tmp_path / "m.csv", [row])
    assert read_measurements(tmp_path / "m.csv") == [row]


def test_median_percentile_and_point_are_those_of_the_repeats() -> None:
    """The middle and the upper end of the repeats, and what a fit takes of them."""
    row = a_measurement(seconds=tuple(float(second) for second in range(1, 102)), held_out=True)
    assert (row.median_s, row.p95_s) == (51.0, 96.0)
    assert row.point == Point(4, 0.5, 51.0, True)


def test_the_spread_follows_the_tables_of_order_statistics() -> None:
    """For 6, 10, 20 and 50 repeats a 95 % interval of the median ends at ranks 1, 2, 6 and 18."""
    for repeats, rank in ((6, 1), (10, 2), (20, 6), (50, 18)):
        row = a_measurement(seconds=tuple(float(second) for second in range(1, repeats + 1)))
        assert row.spread == pytest.approx((repeats + 1 - 2 * rank) / 2.0 / row.median_s)
    assert a_measurement(seconds=(0.1,) * 5).spread == math.inf
    assert a_measurement(seconds=(0.1,) * 9).spread == 0.0


def test_the_spread_holds_the_true_median_as_often_as_it_says() -> None:
    """Of 2,000 skewed samples the interval misses the true median in at most 5 %, up to chance."""
    random = np.random.default_rng(7)
    samples = random.lognormal(0.0, 0.3, (2000, 12))
    missed = 0
    for sample in samples:
        row = a_measurement(seconds=tuple(np.sort(sample)))
        reach = row.spread * row.median_s
        # The interval's ends are ranks 3 and 10: its half width is the spread.
        low, high = row.seconds[2], row.seconds[9]
        assert reach == pytest.approx((high - low) / 2.0)
        missed += not low <= 1.0 <= high
    assert missed / len(samples) < 0.05


def test_start_ups_are_written_appended_and_read(tmp_path: Path) -> None:
    """Parts of a cold start come back as they were, and say at which bandwidth the weights came."""
    path = tmp_path / "start_ups.csv"
    row = StartUpMeasurement("m", "disk", 2.5, 0.5, 0.25, 0.125, 1000)
    assert row.bandwidth_bytes_per_s == 4000.0
    assert StartUpMeasurement("m", "kept", 0, 0, 0, 0, 0).bandwidth_bytes_per_s == math.inf
    write_start_ups(path, [row])
    append_start_ups(path, [row])
    assert read_start_ups(path) == [row, row]
    assert path.read_text(encoding="utf-8").splitlines()[0] == (
        "model,tier,runtime_s,context_s,weights_s,warm_up_s,weights_bytes"
    )
    with pytest.raises(ProfileError, match="context_s: found -1"):
        StartUpMeasurement("m", "disk", 2.5, -1.0, 0.25, 0.125, 1000)


def test_interference_is_written_appended_and_read(tmp_path: Path) -> None:
    """What a neighbour cost comes back as it was, with and without the wait it means."""
    path = tmp_path / "interference.csv"
    row = InterferenceMeasurement("a:serve:b4", 0.5, "b:train:b64", 0.5, 1.75, 2e-5, 8e-5)
    unknown = InterferenceMeasurement("a:serve:b4", 0.5, "b:train:b64", 0.5, 0.98, -1e-7)
    write_interference(path, [row])
    append_interference(path, [unknown])
    assert read_interference(path) == [row, unknown]
    for field, value in (
        ("slowdown", 0.0),
        ("victim_share", 1.5),
        ("extra_s_per_launch", math.nan),
        ("wave_s", -1.0),
    ):
        values = {name: getattr(row, name) for name in InterferenceMeasurement.__slots__} | {field: value}
        with pytest.raises(ProfileError, match=f"{field}: found"):
            InterferenceMeasurement(**values)
