from __future__ import annotations

import gzip
import math
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations, trace_or_refusal

from traces import Trace, TraceError, read_rate_series
from traces.readers import rate_series

rates_strategy = st.lists(st.floats(0, 30).map(lambda rate: round(rate, 1)), min_size=1, max_size=40)


def series(path: Path, rates: list[float] | str, **options: object) -> Trace:
    """Write rates to a file and read them with seed 1."""
    path.write_text(rates if isinstance(rates, str) else "\n".join(map(str, rates)), encoding="utf-8")
    return read_rate_series(path, function="f", seed=1, **options)  # type: ignore[arg-type]


@given(rates=rates_strategy, step_s=st.sampled_from([0.5, 1.0, 6.0]), scale=st.sampled_from([0.3, 1.0, 10.0]))
def test_even_arrivals_lose_no_load(
    tmp_path_factory: pytest.TempPathFactory, rates: list[float], step_s: float, scale: float
) -> None:
    """Up to the end of any step, as many requests have arrived as there was load, to the nearest one."""
    path = tmp_path_factory.mktemp("series") / "rates.txt"
    trace = series(path, rates, step_s=step_s, scale=scale)
    load = np.cumsum(np.array(rates) * scale * step_s)
    arrived = np.searchsorted(trace.arrivals("f"), np.arange(1, len(rates) + 1) * step_s - 1e-6)
    assert (abs(arrived - load) <= 0.5 + 1e-3).all()
    assert abs(len(trace) - load[-1]) <= 0.5 + 1e-6
    assert trace.duration_s == pytest.approx(len(rates) * step_s)


@given(rates=rates_strategy)
def test_truncation_sends_the_whole_part_of_every_step(
    tmp_path_factory: pytest.TempPathFactory, rates: list[float]
) -> None:
    """With truncate, each second gets int(rate) requests at (i + 0.5) / k of it."""
    trace = series(tmp_path_factory.mktemp("series") / "rates.txt", rates, truncate=True)
    assert trace.rates(1.0)[0].tolist() == [int(rate) for rate in rates]
    expected = [second + (i + 0.5) / int(rate) for second, rate in enumerate(rates) for i in range(int(rate))]
    assert trace.arrivals("f").tolist() == pytest.approx(expected, abs=1.1e-6)


@pytest.mark.parametrize(
    ("arrivals", "cv", "expected_cv"), [("poisson", 1.0, 1.0), ("gamma", 0.5, 0.5), ("gamma", 3.0, 3.0)]
)
def test_random_arrivals_follow_the_series_with_their_true_variation(
    tmp_path: Path, arrivals: str, cv: float, expected_cv: float
) -> None:
    """The load of each half is met, nothing arrives at rate 0, and gaps vary as stated."""
    rates = [20.0] * 2000 + [0.0] * 50 + [5.0] * 2000
    times = series(tmp_path / "rates.txt", rates, arrivals=arrivals, cv=cv).arrivals("f")
    halves = times[times < 2000], times[times > 2050]
    assert halves[0].size + halves[1].size == times.size
    for half, load in zip(halves, (40_000, 10_000), strict=True):
        assert half.size == pytest.approx(load, abs=4 * expected_cv * math.sqrt(load))
        gaps = np.diff(half)
        assert gaps.std() / gaps.mean() == pytest.approx(expected_cv, rel=0.15)


def test_dilu_s_gamma_is_milder_than_its_cv_says(tmp_path: Path) -> None:
    """Counts have variance mean * cv^2: "6" at 64 requests a second is a true variation of 0.75."""
    trace = series(tmp_path / "rates.txt", [64.0] * 20_000, arrivals="gamma-dilu", cv=6.0)
    counts = trace.rates(1.0)[0]
    assert counts.mean() == pytest.approx(64 - 0.5, abs=4 * 48 / math.sqrt(counts.size))
    assert counts.std() / counts.mean() == pytest.approx(6 / math.sqrt(64), rel=0.03)


def test_dilu_s_gamma_sends_nothing_where_there_is_no_load(tmp_path: Path) -> None:
    """A step of rate 0 has no gamma distribution, and no request."""
    trace = series(tmp_path / "rates.txt", [0.0, 50.0, 0.0], arrivals="gamma-dilu", cv=1.0)
    assert trace.rates(1.0)[0][[0, 2]].tolist() == [0, 0]
    assert len(trace) > 0


def test_numbers_may_share_a_line(tmp_path: Path) -> None:
    """White space and line ends separate values alike."""
    one, many = (series(tmp_path / f"{i}.txt", text) for i, text in enumerate(("1 2\t3", "1\r\n2\n\n3\n")))
    assert one.arrivals("f").tolist() == many.arrivals("f").tolist()
    assert len(one) == 6


VALID = b"3\n0.5 12\n\n1e1\n0\n"


@given(content=mutations(VALID, delimiter=b" "))
def test_a_damaged_file_is_refused_or_read_as_it_stands(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """There is no other error and no wrong rate."""
    path = tmp_path_factory.getbasetemp() / "damaged.txt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rate_series, "MOST_REQUESTS", 10**6)
        trace = trace_or_refusal(lambda path: read_rate_series(path, step_s=3.0), path, content)
    if trace is not None:
        rates = [float(text) for text in content.removeprefix(b"\xef\xbb\xbf").split()]
        assert trace.duration_s == 3.0 * len(rates)
        arrived = np.searchsorted(trace.arrival_s, np.arange(1, len(rates) + 1) * 3.0 - 1e-5)
        assert (abs(arrived - 3.0 * np.cumsum(rates)) <= 0.51 + 1e-5 * max(rates)).all()


@pytest.mark.parametrize(
    ("name", "function"), [("Bursty.txt", "Bursty"), ("bursty-load.txt.gz", "bursty-load"), ("x", "x")]
)
def test_the_function_is_named_by_the_file_or_the_caller(tmp_path: Path, name: str, function: str) -> None:
    """The name up to its first dot."""
    (tmp_path / name).write_bytes(b"1 2")
    assert read_rate_series(tmp_path / name).functions == (function,)
    assert read_rate_series(tmp_path / name, function="f").functions == ("f",)


def test_packed_files_read_alike(tmp_path: Path) -> None:
    """Plain, gzip and zstd hold the same series, and progress is told up to the end."""
    plain = series(tmp_path / "plain", "7 8 9")
    (tmp_path / "gz").write_bytes(gzip.compress(b"7 8 9"))
    (tmp_path / "zst").write_bytes(pa.compress(b"7 8 9", "zstd", asbytes=True))
    for name in ("gz", "zst"):
        seen: list[tuple[int, int]] = []
        trace = read_rate_series(
            tmp_path / name, progress=lambda done, size, seen=seen: seen.append((done, size))
        )
        assert trace.arrival_s.tolist() == plain.arrival_s.tolist()
        assert seen[-1] == ((tmp_path / name).stat().st_size,) * 2


def test_values_may_count_a_minute(tmp_path: Path) -> None:
    """A series of counts a minute, one for each ten, is a sixtieth of it a second."""
    trace = series(tmp_path / "rates.txt", "6 0 1.5", per="minute", step_s=600.0)
    assert (trace.rates(600.0)[0] * 600).tolist() == [60, 0, 15]
    assert trace.transforms[1] == {"transform": "replay", "per": "minute", "step_s": 600.0}


def test_a_long_series_is_read_in_blocks(tmp_path: Path) -> None:
    """Values and lines are counted through the blocks in which a file is read."""
    text = "0.25\n" * 1_200_000
    assert series(tmp_path / "rates.txt", text).duration_s == 1_200_000
    with pytest.raises(TraceError, match="line 1200001: rate: found 'x'"):
        series(tmp_path / "rates.txt", text + "x")


def test_what_would_never_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests, seconds and values are bounded, before anything is laid out."""
    for rates, options, message in (
        ("1e9 1", {}, r"expects 1e.09 requests, allowed are 1e.09; lower scale or step_s"),
        ("1e308 1e308", {"scale": 1e9}, "expects inf requests"),
        ("1", {"step_s": 1e10}, r"found 1 values of 1e.10 s, allowed are 1e.09 s in all"),
    ):
        with pytest.raises(TraceError, match=f"rates.txt: {message}"):
            series(tmp_path / "rates.txt", rates, **options)
    monkeypatch.setattr(rate_series, "MOST_VALUES", 2)
    assert series(tmp_path / "rates.txt", "1 2").duration_s == 2
    with pytest.raises(TraceError, match="holds more than 2 values"):
        series(tmp_path / "rates.txt", "1 2 3")


@pytest.mark.parametrize("found", ["-1", "nan", "inf", "x", "1,5", "1e999", "1_0", "0x1", "1\u20282"])
def test_a_bad_value_is_refused_with_its_line(tmp_path: Path, found: str) -> None:
    """The fault is named with file and line."""
    with pytest.raises(TraceError, match=re.escape(f"rates.txt: line 3: rate: found {found!r}")):
        series(tmp_path / "rates.txt", f"1\n2\n{found}\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, "scale: found 0.0"),
        ({"scale": math.nan}, "scale: found nan"),
        ({"step_s": -1.0}, "step_s: found -1.0"),
        ({"cv": 0.0, "arrivals": "gamma"}, "cv: found 0.0"),
        ({"per": "hour"}, "per: found 'hour', allowed are second, minute"),
        ({"arrivals": "uniform"}, "arrivals: found 'uniform', allowed are even, poisson, gamma, gamma-dilu"),
        ({"arrivals": "poisson", "truncate": True}, "truncate: is for arrivals='even'"),
    ],
)
def test_a_bad_parameter_is_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    """The fault is named by its parameter."""
    with pytest.raises(TraceError, match=message):
        series(tmp_path / "rates.txt", [1.0], **options)


@pytest.mark.parametrize(
    ("name", "mean", "highest", "zeros"),
    [("Bursty", 4.050, 14.3, 0.38), ("Periodic", 3.097, 13.8, 0.049), ("Sporadic", 0.152, 4.1, 0.67)],
)
def test_the_real_series_have_their_known_shape(
    trace_dir: Path, name: str, mean: float, highest: float, zeros: float
) -> None:
    """Length, mean, peak and silence of INFless's series are those of the files."""
    path = trace_dir / "infless" / f"{name}.txt"
    trace = read_rate_series(path, function=name, scale=1000.0, seed=0)
    rates = trace.rates(1.0)[0] / 1000
    assert trace.duration_s == rates.size == 1007
    assert rates.mean() == pytest.approx(mean, abs=0.001)
    assert rates.max() == pytest.approx(highest, abs=0.002)
    assert (rates < 0.002).mean() == pytest.approx(zeros, abs=0.005)
    assert len(trace) / 1007 / 1000 == pytest.approx(mean, abs=0.001)


@pytest.mark.parametrize(
    ("name", "count", "mean", "highest", "variation"),
    [
        ("bursty-load", 1440, 1511.6, 3149, 0.76),
        ("_bursty-load", 1440, 770, 1593, 0.42),
        ("periodic-load", 1000, 77.3, 389, 1.39),
        ("sporadic-load", 1000, 1.5, 88, 6.8),
    ],
)
def test_the_series_of_streambox_have_their_known_shape(
    trace_dir: Path, name: str, count: int, mean: float, highest: int, variation: float
) -> None:
    """One line of whole numbers, each a minute of a day where the series is real."""
    trace = read_rate_series(trace_dir / "streambox" / f"{name}.txt", per="minute", step_s=60.0)
    assert trace.functions == (name,)
    assert trace.duration_s == 60 * count
    counts = trace.rates(60.0)[0] * 60
    assert counts.mean() == pytest.approx(mean, rel=0.015)
    assert counts.max() == pytest.approx(highest, abs=1)
    assert counts.std() / counts.mean() == pytest.approx(variation, rel=0.01)


def test_dilu_s_pace_sends_what_dilu_s_artifact_sends(trace_dir: Path) -> None:
    """Ten times each value of INFless, cut to whole requests, one value a second."""
    path = trace_dir / "infless" / "Periodic.txt"
    values = np.array([float(text) for text in path.read_text(encoding="utf-8").split()])
    trace = read_rate_series(path, scale=10, truncate=True)
    assert trace.rates(1.0)[0].tolist() == np.trunc(values * 10).tolist()
