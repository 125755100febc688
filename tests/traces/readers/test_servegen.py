from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from traces import TraceError
from traces.readers import servegen
from traces.readers.servegen import read_servegen, weibull_renewal
from traces.readers.servegen_pool import read_pool

IDLE = "0,0,,0,0"
LANGUAGE_LARGE = "language_m-large_traces.tar.gz"


def gamma(rate_rps: float, cv: float) -> str:
    """Return a window of gamma gaps without its start."""
    return f"{rate_rps!r},{cv!r},Gamma,{1 / cv**2!r},{cv**2 / rate_rps!r}"


def weibull(rate_rps: float, shape: float) -> str:
    """Return a window of Weibull gaps without its start; what it says of its variation does not count."""
    return f"{rate_rps!r},99.0,Weibull,{shape!r},1.0"


def write_pool(folder: Path, windows: Mapping[int, list[str]]) -> Path:
    """Write the windows of each client, from time 0 on."""
    folder.mkdir(exist_ok=True)
    for client, rows in windows.items():
        lines = [f"{600 * window},{row}\n" for window, row in enumerate(rows)]
        (folder / f"chunk-{client}-trace.csv").write_text("".join(lines), encoding="utf-8")
    return folder


def variation(times: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Return the coefficient of variation of the gaps between sorted times."""
    gaps = np.diff(times)
    return float(gaps.std() / gaps.mean())


@pytest.mark.parametrize("cv", [0.3, 1.0, 4.0, 13.0, 31.0])
def test_gamma_gaps_have_the_variation_of_the_file(tmp_path: Path, cv: float) -> None:
    """A window's gaps vary as the file says, up to what the burstiest published windows have."""
    trace = read_servegen(write_pool(tmp_path, {0: [gamma(5000.0, cv)]}), seed=1)
    assert len(trace) == pytest.approx(3e6, abs=4 * cv * math.sqrt(3e6))
    # kurtosis 6 cv^2 of gamma gaps makes the error of a measured variance
    error = math.sqrt((6 * cv**2 + 2) / 3e6) / 2
    assert variation(trace.arrivals("client-0")) == pytest.approx(cv, rel=4 * error + 0.002)


@pytest.mark.parametrize("shape", [0.17, 0.3, 0.5, 1.5])
def test_weibull_gaps_have_the_shape_of_the_file(shape: float) -> None:
    """On the axis of load, gaps have mean 1 and the Weibull distribution, whose variation follows."""
    gaps = np.diff(weibull_renewal(300_000.0, shape, np.random.Generator(np.random.PCG64(5))))
    fitted = stats.weibull_min(shape, scale=1 / math.gamma(1 + 1 / shape))
    gaps += np.random.Generator(np.random.PCG64(6)).uniform(-0.5, 0.5, gaps.size) * 2.0**-24  # off the grid
    coarse = gaps[gaps > 2.0**-20]
    above = stats.kstest(coarse, lambda x: (fitted.cdf(x) - fitted.cdf(2.0**-20)) / fitted.sf(2.0**-20))
    assert above.pvalue > 1e-4
    assert coarse.size / gaps.size == pytest.approx(float(fitted.sf(2.0**-20)), abs=0.005)
    if shape >= 0.5:
        assert gaps.std() / gaps.mean() == pytest.approx(float(fitted.std()), rel=0.03)


@pytest.mark.parametrize(
    "row", [gamma(0.1, 0.4), gamma(0.1, 1.0), gamma(0.1, 4.0), weibull(0.1, 0.4), weibull(0.1, 2.0)]
)
@pytest.mark.parametrize("arrivals", ["renewal", "poisson"])
def test_a_window_has_its_number_of_requests_in_the_mean(tmp_path: Path, row: str, arrivals: str) -> None:
    """Each window begins amid a gap: beginning with a whole one would add (cv^2 - 1) / 2 requests."""
    pool = write_pool(tmp_path, {client: [row] * 250 for client in range(16)})
    trace = read_servegen(pool, duration_s=150_000.0, arrivals=arrivals, seed=2)  # type: ignore[arg-type]
    counts = trace.rates(600.0).ravel() * 600
    assert counts.size == 4000
    assert counts.mean() == pytest.approx(60, abs=4.5 * counts.std() / math.sqrt(counts.size))
    assert trace.attributes["mean_rate_rps"] == pytest.approx(0.1)
    if arrivals == "poisson":
        assert counts.var() == pytest.approx(60, rel=0.12)


def test_windows_differ_as_the_file_says(tmp_path: Path) -> None:
    """Rates, patterns and silence change from one window to the next, at its edge."""
    rows = [gamma(100.0, 0.2), IDLE, weibull(50.0, 2.0), gamma(200.0, 3.0)]
    times = read_servegen(write_pool(tmp_path, {7: rows}), scale=10.0).arrivals("client-7")
    counts = np.histogram(times, bins=[0, 600, 1200, 1800, 2400])[0]
    assert counts[[0, 2]] == pytest.approx([600_000, 300_000], rel=0.01)
    assert counts[1] == 0
    assert counts[3] == pytest.approx(1_200_000, rel=0.02)
    parts = [times[times < 600], times[(times > 1200) & (times < 1800)], times[times > 1800]]
    expected = [0.2, float(stats.weibull_min(2.0).std() / stats.weibull_min(2.0).mean()), 3.0]
    assert [variation(part) for part in parts] == pytest.approx(expected, rel=0.02)


POOL = {
    0: [gamma(0.5, 1.0), gamma(0.1, 2.0), IDLE, gamma(1.0, 0.5)],
    1: [IDLE, IDLE, weibull(2.0, 0.5), IDLE],
    3: [gamma(0.5, 3.0)] * 4,
    12: [IDLE] * 4,
}


def test_a_client_does_not_depend_on_the_others(tmp_path: Path) -> None:
    """Its arrivals are the same alone, beside others, and among the busiest."""
    whole = read_servegen(write_pool(tmp_path / "all", POOL), seed=4)
    assert whole.functions == ("client-0", "client-1", "client-3", "client-12")
    assert whole.duration_s == 2400.0
    alone = read_servegen(write_pool(tmp_path / "one", {3: POOL[3]}), seed=4)
    busiest = read_servegen(tmp_path / "all", clients=2, seed=4)
    assert busiest.functions == ("client-1", "client-3")
    for trace in (alone, busiest):
        assert trace.arrivals("client-3").tolist() == whole.arrivals("client-3").tolist()
    assert read_servegen(tmp_path / "all", seed=5).arrival_s.tolist() != whole.arrival_s.tolist()
    again = read_servegen(tmp_path / "all", seed=4)
    assert again.arrival_s.tobytes() == whole.arrival_s.tobytes()
    assert again.provenance == whole.provenance


@given(start_s=st.integers(0, 2399), duration_s=st.integers(1, 3000))
def test_a_part_is_what_the_whole_has_there(
    tmp_path_factory: pytest.TempPathFactory, start_s: int, duration_s: int
) -> None:
    """Reading from a time on, for some time, cuts out what reading all gives; no more than there is."""
    pool = write_pool(tmp_path_factory.getbasetemp() / "parts", POOL)
    whole = read_servegen(pool)
    part = read_servegen(pool, start_s=start_s, duration_s=duration_s)
    end_s = min(start_s + duration_s, 2400)
    cut = whole.window(start_s, end_s)
    assert part.duration_s == cut.duration_s
    assert part.counts.tolist() == cut.counts.tolist()
    assert part.arrival_s == pytest.approx(cut.arrival_s, abs=1e-9)
    rates = np.array([[float(row.split(",")[0]) for row in rows] for rows in POOL.values()])
    within = [max(0, min(end_s, 600 * w + 600) - max(start_s, 600 * w)) for w in range(4)]
    assert part.attributes["mean_rate_rps"] == pytest.approx(rates @ within / (end_s - start_s))


def test_the_busiest_are_those_of_the_part_read(tmp_path: Path) -> None:
    """Who was busy at another time does not count, and of equals the first comes first."""
    pool = write_pool(tmp_path, POOL)
    assert read_servegen(pool, duration_s=600.0, clients=1).functions == ("client-0",)
    assert read_servegen(pool, start_s=1200.0, duration_s=600.0, clients=1).functions == ("client-1",)
    assert read_servegen(pool, start_s=1200.0, duration_s=600.0, clients=3).functions == (
        "client-0",
        "client-1",
        "client-3",
    )


def test_scale_multiplies_every_rate(tmp_path: Path) -> None:
    """Ten times the rates are ten times the requests, with the variation of the file."""
    pool = write_pool(tmp_path, {0: [gamma(50.0, 2.0)] * 8})
    one, ten = read_servegen(pool), read_servegen(pool, scale=10.0)
    assert len(one) == pytest.approx(240_000, rel=0.02)
    assert len(ten) == pytest.approx(2_400_000, rel=0.005)
    assert ten.attributes["mean_rate_rps"].tolist() == [500.0]
    assert ten.transforms[0] == {"transform": "scale", "factor": 10.0}
    assert [variation(trace.arrivals(0)) for trace in (one, ten)] == pytest.approx([2.0, 2.0], rel=0.05)


def test_what_there_is_and_what_was_read_is_on_record(tmp_path: Path) -> None:
    """The provenance has the whole pool's size beside the part that was taken."""
    trace = read_servegen(write_pool(tmp_path, POOL), start_s=600.0, duration_s=700.0, clients=3)
    assert trace.provenance["pool"] == {
        "clients": 4,
        "start_s": 0,
        "end_s": 2400,
        "mean_rate_rps": pytest.approx((0.5 + 0.1 + 1.0 + 2.0 + 2.0) / 4),
        "highest_rate_rps": 2.5,
        "windows": {"idle": 8, "gamma": 7, "weibull": 1},
    }
    assert trace.provenance["read"] == {"start_s": 600.0, "duration_s": 700.0, "clients": 3}
    files = trace.provenance["files"]
    assert isinstance(files, list)
    assert [file["name"] for file in files] == sorted(f"chunk-{client}-trace.csv" for client in POOL)
    assert trace.input_tokens is None


def test_progress_is_told_up_to_the_end(tmp_path: Path) -> None:
    """It rises from client to client to all requests expected."""
    seen: list[tuple[int, int]] = []
    read_servegen(write_pool(tmp_path, POOL), progress=lambda done, all_of: seen.append((done, all_of)))
    assert [all_of for _, all_of in seen] == [3360] * 4
    assert [done for done, _ in seen] == [960, 2160, 3360, 3360]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_s": -1.0}, "start_s: found -1.0, allowed is a finite number from 0"),
        ({"start_s": 2400.0}, "start_s: found 2400.0, allowed is from 0 and below 2400, the end of the pool"),
        ({"duration_s": 0.0}, "duration_s: found 0.0, allowed is a finite number above 0"),
        ({"duration_s": math.nan}, "duration_s: found nan"),
        ({"duration_s": 1e-7}, "duration_s: found 1e-07, allowed is a microsecond or more"),
        ({"scale": math.inf}, "scale: found inf"),
        ({"clients": 0}, "clients: found 0, allowed are integers from 1"),
        ({"clients": 5}, "clients: found 5, allowed are up to the 4 of the pool"),
        ({"clients": True}, "clients: found True"),
        ({"arrivals": "even"}, "arrivals: found 'even', allowed are renewal, poisson"),
        ({"scale": 1e6}, "expects 3.36e.09 requests, allowed are 1e.09; lower duration_s, clients or scale"),
        ({"seed": -1}, "seed: found -1"),
    ],
)
def test_a_wrong_option_is_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    """The fault is named by its option, and what is allowed is said."""
    with pytest.raises(TraceError, match=message):
        read_servegen(write_pool(tmp_path, POOL), **options)  # type: ignore[arg-type]


def test_the_guard_counts_what_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large pool is read in parts: fewer clients, a shorter time, a smaller scale."""
    monkeypatch.setattr(servegen, "MOST_REQUESTS", 2000)
    pool = write_pool(tmp_path, POOL)
    for options in ({}, {"scale": 0.6}, {"clients": 2}):
        with pytest.raises(TraceError, match="expects"):
            read_servegen(pool, **options)  # type: ignore[arg-type]
    for options in ({"clients": 1}, {"scale": 0.5}, {"duration_s": 1200.0}):
        assert len(read_servegen(pool, **options)) > 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "clients", "days", "mean_rps", "highest_rps", "top_1", "top_5"),
    [
        (LANGUAGE_LARGE, 162, 14, 195.8, 583.0, 0.16, 0.43),
        ("language_m-small_traces.tar.gz", 43, 14, 1174.4, 3879.5, 0.30, 0.77),
        ("multimodal_mm-image_traces_and_datasets.tar.gz", 35, 1, 9.47, 13.29, 0.14, 0.56),
    ],
)
def test_the_real_pools_have_their_known_figures(
    trace_dir: Path,
    name: str,
    clients: int,
    days: int,
    mean_rps: float,
    highest_rps: float,
    top_1: float,
    top_5: float,
) -> None:
    """Clients, span, rates and the shares of the busiest are those of the files."""
    path = trace_dir / "servegen" / name
    pool = read_pool(path)
    rates = pool.rate_rps
    assert rates.shape == (clients, days * 144)
    assert rates.sum(axis=0).mean() == pytest.approx(mean_rps, abs=0.05)
    assert rates.sum(axis=0).max() == pytest.approx(highest_rps, abs=0.05)
    busiest = np.sort(rates.mean(axis=1))[::-1] / rates.mean(axis=1).sum()
    assert (round(busiest[0], 2), round(busiest[:5].sum(), 2)) == (top_1, top_5)
    trace = read_servegen(path, duration_s=days * 86400.0, scale=1e-3, arrivals="poisson")
    assert len(trace.functions) == clients
    total = mean_rps * days * 86.4
    assert len(trace) == pytest.approx(total, abs=5 * math.sqrt(total) + 1e-3 * total)


def test_a_real_hour_is_read_in_full(trace_dir: Path) -> None:
    """The busiest clients of an hour send what the file says of each of them, within their burstiness."""
    pool = read_pool(trace_dir / "servegen" / LANGUAGE_LARGE)
    hour = slice(6 * 12, 6 * 13)
    trace = read_servegen(
        trace_dir / "servegen" / LANGUAGE_LARGE, start_s=43200.0, duration_s=3600.0, clients=20
    )
    told = {f"client-{client.number}": client.windows.rate_rps[hour].sum() * 600 for client in pool.clients}
    assert sorted(told, key=lambda name: -told[name])[:20] == sorted(
        trace.functions, key=lambda name: -told[name]
    )
    counts = dict(zip(trace.functions, trace.counts.tolist(), strict=True))
    assert sum(counts.values()) == pytest.approx(sum(told[name] for name in counts), rel=0.05)


def test_real_requests_have_tokens_of_text_and_images(trace_dir: Path) -> None:
    """A request of client 10 has 1,752 tokens of text and 2.87 images of 353 tokens, and an answer of 232."""
    path = trace_dir / "servegen" / "multimodal_mm-image_traces_and_datasets.tar.gz"
    trace = read_servegen(path)
    assert trace.input_tokens is not None
    assert trace.output_tokens is not None
    rows = trace.span("client-10")
    assert trace.input_tokens[rows].mean() == pytest.approx(1752 + 2.87 * 353, rel=0.02)
    assert trace.output_tokens[rows].mean() == pytest.approx(232, rel=0.02)
    assert trace.input_tokens.min() > 0
    assert len(trace) == pytest.approx(818_610, rel=0.01)


def test_the_default_reads_one_day_of_fourteen(trace_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of millions of requests are not drawn unless asked for."""
    path = trace_dir / "servegen" / LANGUAGE_LARGE
    monkeypatch.setattr(servegen, "MOST_REQUESTS", 50_000)
    assert read_servegen(path, scale=1e-3).duration_s == 86400.0
    with pytest.raises(TraceError, match=r"expects 2.37e.05 requests"):
        read_servegen(path, scale=1e-3, duration_s=14 * 86400.0)
