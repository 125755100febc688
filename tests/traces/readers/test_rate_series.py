from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import Trace, TraceError, read_rate_series

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


@pytest.mark.parametrize("found", ["-1", "nan", "inf", "x", "1,5"])
def test_a_bad_value_is_refused_with_its_line(tmp_path: Path, found: str) -> None:
    """The fault is named with file and line."""
    with pytest.raises(TraceError, match=f"rates.txt: line 3: rate: found '{found}'"):
        series(tmp_path / "rates.txt", f"1\n2\n{found}\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, "scale: found 0.0"),
        ({"scale": math.nan}, "scale: found nan"),
        ({"step_s": -1.0}, "step_s: found -1.0"),
        ({"cv": 0.0, "arrivals": "gamma"}, "cv: found 0.0"),
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
