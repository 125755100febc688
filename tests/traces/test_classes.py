from __future__ import annotations

import csv
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from traces.classes import ClassRule, class_account, classify
from traces.errors import TraceError
from traces.generate import ArrivalKind, ArrivalSpec, generate
from traces.trace import Trace

MINUTE_S = 60.0


def counted(counts: ArrayLike, seed: int = 0) -> Trace:
    """Return a trace with these counts a minute, uniform in it: int[F, B]."""
    rng = np.random.default_rng(seed)
    rows = np.atleast_2d(np.asarray(counts, dtype=np.int64))
    return Trace.from_functions(
        {
            str(position): np.sort(
                (np.repeat(np.arange(row.size), row) + 0.999 * rng.random(row.sum())) * MINUTE_S
            )
            for position, row in enumerate(rows)
        },
        duration_s=rows.shape[1] * MINUTE_S,
    )


def firing(times_s: ArrayLike, duration_s: float) -> Trace:
    """Return the trace of one function."""
    return Trace.from_functions({"f": np.asarray(times_s, dtype=np.float64)}, duration_s=duration_s)


@pytest.fixture(scope="module")
def sample500(trace_dir: Path) -> tuple[Trace, NDArray[np.str_]]:
    """Return the functions of a sample of Azure, spread evenly inside minutes, and their triggers."""
    arrivals, triggers = {}, []
    with (trace_dir / "azure_functions_2019" / "sample500_invocations.csv").open(newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for _, _, name, trigger, *minutes in rows:
            counts = np.array(minutes, dtype=np.int64)
            rank = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            minute = np.repeat(np.arange(counts.size), counts)
            arrivals[name] = (minute + (rank + 0.5) / counts[minute]) * MINUTE_S
            triggers.append(trigger)
    return Trace.from_functions(arrivals, duration_s=480 * MINUTE_S), np.array(triggers)


@pytest.mark.parametrize("name", ["Bursty", "Periodic", "Sporadic"])
@pytest.mark.parametrize("scale", [1, 10])
def test_the_arrays_of_infless_fall_in_the_class_of_their_name(
    trace_dir: Path, name: str, scale: int
) -> None:
    """Each of the three arrays, one value a minute, is what its file is called, also ten times as strong."""
    account = class_account(counted(scale * np.loadtxt(trace_dir / "infless" / f"{name}.txt") + 0.5))
    assert account.classes == (name.lower(),)
    if name == "Periodic":  # a day is 144 values
        assert account.period_s[0] == pytest.approx(144 * MINUTE_S, rel=0.03)


def test_the_square_wave_of_streambox_has_its_period(trace_dir: Path) -> None:
    """An on/off wave that repeats exactly is periodic, whatever its file is called."""
    values = np.array((trace_dir / "streambox" / "bursty-load.txt").read_text().split(), dtype=np.int64)
    account = class_account(counted(values // 10))
    assert account.classes == ("periodic",)
    assert account.period_s[0] == 23 * MINUTE_S


def test_a_sample_of_azure_has_its_known_mix(sample500: tuple[Trace, NDArray[np.str_]]) -> None:
    """Half of the functions are periodic, few of them but by requests nearly all are steady or bursty."""
    trace, _ = sample500
    account = class_account(trace)
    assert Counter(account.classes) == {"periodic": 262, "sporadic": 185, "steady": 44, "bursty": 9}
    heaviest = np.argsort(-trace.counts)[:5]
    assert [account.classes[at] for at in heaviest] == ["steady"] * 5


def test_timers_of_azure_are_recognised(sample500: tuple[Trace, NDArray[np.str_]]) -> None:
    """Of functions that a timer starts, all but one that fire four times and no faster than a bin are found.

    Their periods are those that people give to timers.
    """
    trace, triggers = sample500
    account = class_account(trace)
    periodic = np.array(account.classes) == "periodic"
    judged = (triggers == "timer") & (trace.counts >= 4) & (trace.counts < 1.005 * account.bins)
    assert judged.sum() > 180
    assert (judged & ~periodic).sum() <= 3
    minutes = account.period_s[periodic & (triggers == "timer")] / MINUTE_S
    common = np.array([1, 2, 3, 4, 5, 10, 15, 20, 30, 45, 60, 90, 120])
    nearest = common[np.argmin(np.abs(minutes[:, np.newaxis] - common), axis=1)]
    assert (np.abs(minutes / nearest - 1) < 0.02).mean() > 0.97


@pytest.mark.parametrize(
    ("kind", "cv", "name", "bin_s"),
    [
        ("poisson", None, "steady", 60.0),
        ("poisson", None, "steady", 1.0),
        ("gamma", 0.2, "steady", 60.0),
        ("gamma", 4.0, "steady", 60.0),
        ("even", None, "steady", 60.0),
        ("even", None, "steady", 1.0),
        ("bursty", None, "bursty", 60.0),
        ("bursty", None, "bursty", 10.0),
        ("bursty", None, "bursty", 1.0),
        ("periodic", None, "periodic", 60.0),
        ("periodic", None, "periodic", 10.0),
        ("periodic", None, "periodic", 1.0),
        ("sporadic", None, "sporadic", 1.0),
    ],
)
def test_generated_functions_fall_in_the_class_of_their_kind(
    kind: ArrivalKind, cv: float | None, name: str, bin_s: float
) -> None:
    """With their usual cycles, over bins from Dilu's pace of a second to a minute that cycles show in."""
    specs = [ArrivalSpec(f"f{number}", kind, 5.0, cv=cv) for number in range(10)]
    trace = generate(specs, duration_s=7200.0, seed=1)
    account = class_account(trace, ClassRule(bin_s=bin_s))
    assert account.classes == (name,) * 10
    if name == "periodic":
        assert account.period_s == pytest.approx(144.0, rel=0.05)


def test_rare_visits_are_sporadic_by_the_minute_if_they_are_rare_by_the_minute() -> None:
    """A class is one of a bin: visits each 25 s fill most minutes, visits each 25 min leave them empty."""
    seldom = ArrivalSpec("seldom", "sporadic", 0.5, period_s=1500.0)
    often = ArrivalSpec("often", "sporadic", 5.0)
    assert classify(generate([seldom, often], duration_s=86_400.0, seed=1)) == ("sporadic", "bursty")


@settings(max_examples=60)
@given(
    st.integers(5, 40),
    st.floats(61.0, 5000.0),
    st.floats(0.0, 0.999),
    st.sampled_from([1.0, 60.0]),
)
def test_a_timer_is_periodic_from_five_firings_on(
    firings: int, period_s: float, phase: float, bin_s: float
) -> None:
    """Exact distances are told from five firings on, where the bin resolves them; the period is theirs."""
    if bin_s > period_s / 5 and firings < 20:
        firings = 20
    times_s = (phase + np.arange(firings)) * period_s
    account = class_account(firing(times_s, firings * period_s), ClassRule(bin_s=bin_s))
    assert account.classes == ("periodic",)
    assert account.period_s[0] == pytest.approx(period_s, rel=1e-6)


def test_a_rare_timer_needs_four_firings() -> None:
    """Every two hours of a working day are four firings; three of four hours are too few to tell."""
    four = class_account(firing(np.array([900.0, 8100.0, 15_300.0, 22_500.0]), 28_800.0))
    assert four.classes == ("periodic",)
    assert four.period_s[0] == 7200.0
    assert classify(firing([900.0, 8100.0, 15_300.0], 28_800.0)) == ("sporadic",)


def test_a_timer_may_pause_and_jitter() -> None:
    """A pause in the middle, and firings counted up to half a minute early or late, hide no timer."""
    ticks = np.arange(100) * 300.0 + 150.0
    paused = np.delete(ticks, slice(40, 60))
    rng = np.random.default_rng(1)
    jittered = np.arange(480) * 60.0 + 30.0 + rng.uniform(-29.0, 29.0, 480)
    for times_s, duration_s, period_s in (
        (paused, 30_000.0, 300.0),
        (jittered, 28_800.0, 60.0),
        (ticks + rng.uniform(-20, 20, 100), 30_000.0, 300.0),
    ):
        account = class_account(firing(np.sort(times_s), duration_s))
        assert account.classes == ("periodic",)
        assert account.period_s[0] == pytest.approx(period_s, rel=0.02)


def test_a_timer_faster_than_a_bin_is_a_steady_load() -> None:
    """What fires each 20 s is the same load in each minute, and periodic only to who looks closer."""
    trace = firing(np.arange(0.5, 7200.0, 20.0), 7200.0)
    assert classify(trace) == ("steady",)
    assert classify(trace, ClassRule(bin_s=5.0)) == ("periodic",)


@pytest.mark.parametrize(
    ("minutes", "fewest", "most"),
    [
        *((minutes, *range_) for minutes in (60, 480, 1440) for range_ in ((3, 10), (10, 100), (100, 1000))),
        *((8, 4, 8), (16, 4, 9), (30, 4, 5), (100, 5, 6), (100, 80, 110)),
    ],
)
def test_random_arrivals_have_no_period(minutes: int, fewest: int, most: int) -> None:
    """Of 2,000 random functions no more pass for periodic, or bursty, than by the significance.

    Up to 8 are within 4 standard deviations of 2 expected.
    """
    rng = np.random.default_rng(7)
    arrivals = {
        str(number): np.sort(rng.uniform(0, minutes * MINUTE_S, rng.integers(fewest, most)))
        for number in range(2000)
    }
    mix = Counter(classify(Trace.from_functions(arrivals, duration_s=minutes * MINUTE_S)))
    assert mix["periodic"] <= 8
    assert mix["bursty"] <= 8


def test_random_bursts_have_no_period() -> None:
    """On/off functions with cycles of all lengths return by accident, which is not a period."""
    specs = [
        ArrivalSpec(f"f{number}", "bursty", 0.05, period_s=100.0 * 1.02**number) for number in range(200)
    ]
    assert Counter(classify(generate(specs, duration_s=28_800.0, seed=1)))["periodic"] <= 2


def test_slow_random_changes_have_no_period() -> None:
    """A rate that jumps up and down at random, some 12 times each, is alike from minute to minute."""
    rng = np.random.default_rng(1)
    jumps = rng.random((500, 480)) < 0.05
    counts = rng.poisson(5 + 30 * (np.cumsum(jumps, axis=1) % 2))
    assert Counter(classify(counted(counts)))["periodic"] <= 2


@pytest.mark.parametrize(
    "shape",
    [
        lambda x: x,
        lambda x: x**2,
        lambda x: np.exp(3 * x),
        lambda x: np.sin(np.pi * x),
        lambda x: 1 + np.cumsum(np.random.default_rng(3).normal(0, 0.01, x.size)),
    ],
    ids=["line", "square", "exponential", "hump", "walk"],
)
@pytest.mark.parametrize("mean", [20, 200])
def test_a_trend_is_neither_a_period_nor_a_burst(shape: object, mean: int) -> None:
    """A rate that only drifts is steady, though its neighbouring bins are alike."""
    assert callable(shape)
    rate = shape(np.arange(480) / 480)
    counts = np.random.default_rng(1).poisson(mean * rate / rate.mean(), (20, 480))
    assert set(classify(counted(counts))) == {"steady"}


def test_one_incident_is_no_burst() -> None:
    """A steady function with one minute of a hundred times its load is steady, with two of them bursty."""
    counts = np.random.default_rng(1).poisson(20, (2, 480))
    counts[:, 100] = 2000
    counts[1, 300] = 2000
    assert classify(counted(counts)) == ("steady", "bursty")


def test_arrivals_on_the_edge_of_a_bin_belong_to_the_later_one() -> None:
    """A rounded quotient just below a whole number does not empty a bin."""
    times_s = np.repeat(np.arange(1000) * 0.1, 2)
    assert ((times_s / 0.1).astype(int) != np.repeat(np.arange(1000), 2)).any()
    account = class_account(firing(times_s, 100.0), ClassRule(bin_s=0.1))
    assert account.count_cv[0] == 0.0


def test_a_daily_cycle_of_rare_requests_shows_in_wider_bins() -> None:
    """Half a request a minute hides the day from minutes, not from hours; two days are too few to tell."""
    specs = [ArrivalSpec(f"f{number}", "periodic", 0.01, period_s=86_400.0) for number in range(5)]
    week = class_account(generate(specs, duration_s=7 * 86_400.0, seed=1))
    assert week.classes == ("periodic",) * 5
    assert week.period_s == pytest.approx(86_400.0, rel=0.1)
    assert "periodic" not in classify(generate(specs, duration_s=2 * 86_400.0, seed=1))


def test_a_period_between_bins_is_resolved() -> None:
    """A sine of 2.4 minutes first returns after 12 minutes, which is five of it."""
    account = class_account(
        generate([ArrivalSpec("f", "periodic", 5.0, period_s=144.0)], duration_s=28_800.0, seed=1)
    )
    assert account.period_s[0] == pytest.approx(144.0)


def test_lasting_bursts_are_bursty_though_mostly_silent() -> None:
    """Silence of 70 % between bursts of minutes is bursty, of 90 % sporadic; so are bursts of one bin."""
    rng = np.random.default_rng(2)

    def bursts(on: int, off: int) -> NDArray[np.int64]:
        lengths = np.stack([rng.integers(1, 2 * on, 800), rng.integers(1, 2 * off, 800)], axis=1).ravel()
        return np.repeat(np.tile([20, 0], 800), lengths)[:1400]

    counts = np.stack([bursts(12, 28), bursts(4, 36), bursts(1, 3)])
    assert classify(counted(counts)) == ("bursty", "sporadic", "sporadic")
    strict = ClassRule(lasting_empty_share=0.6)
    assert classify(counted(counts), strict) == ("sporadic",) * 3


def test_the_account_measures_the_counts() -> None:
    """Coefficient of variation, empty share and peak are those of the counts of whole minutes."""
    counts = np.array([[0, 4, 0, 0, 2, 6], [0, 0, 0, 0, 0, 0]])
    cut_off = Trace.from_functions(
        {name: counted(counts).arrivals(name) for name in ("0", "1")} | {"late": [375.0]}, duration_s=380.0
    )
    account = class_account(cut_off)
    assert account.bins == 6
    assert account.count_cv[0] == counts[0].std() / 2
    assert account.empty_share.tolist() == [0.5, 1.0, 1.0]
    assert account.peak_to_mean[0] == 3.0
    assert np.isnan(account.count_cv[1:]).all()
    assert np.isnan(account.peak_to_mean[1:]).all()
    assert np.isnan(account.period_s).all()
    assert account.classes[1:] == ("sporadic", "sporadic")


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(0, 2**32))
def test_a_function_has_its_class_whoever_stands_beside_it(counts: list[int], seed: int) -> None:
    """Any counts have one class, the same alone and among others, however they are held at once."""
    rng = np.random.default_rng(seed)
    trace = counted(np.stack([rng.permutation(counts) for _ in range(3)]), seed)
    together = class_account(trace)
    assert together.classes == tuple(classify(trace.select([at]))[0] for at in range(3))
    assert (np.isnan(together.period_s) == [name != "periodic" for name in together.classes]).all()


def test_functions_are_judged_alike_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at one function at a time, and at few arrivals at a time, changes nothing."""
    specs = [ArrivalSpec(kind, kind, 0.2) for kind in ("poisson", "even", "bursty", "periodic", "sporadic")]
    trace = generate(specs, duration_s=14_400.0, seed=3)
    whole = class_account(trace)
    monkeypatch.setattr("traces.classes._CELLS", 1)
    monkeypatch.setattr("traces.classes._ROWS", 7)
    parts = class_account(trace)
    assert parts.classes == whole.classes
    for name in ("period_s", "count_cv", "empty_share", "peak_to_mean"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name), equal_nan=True)


@pytest.mark.parametrize("duration_s", [0.5, 60.0, 61.0, 179.0, 360.0])
def test_short_windows_have_classes(duration_s: float) -> None:
    """A window of a few bins, or of less than one, has steady and sporadic functions."""
    trace = Trace.from_functions(
        {"busy": np.arange(0, duration_s, duration_s / 64), "idle": []}, duration_s=duration_s
    )
    assert classify(trace) == ("steady", "sporadic")


def test_windows_of_years_have_classes_of_wider_bins() -> None:
    """The usual rule takes minutes as long as a few million of them fill the window."""
    timer = firing(np.arange(200.0) * 1e6, 2e8)
    assert class_account(timer).bins == 2**21
    assert classify(timer) == ("periodic",)
    with pytest.raises(TraceError, match=r"bin_s: found 60, which cuts 2e[+]08 s into 3333333 bins"):
        classify(timer, ClassRule())


def test_no_functions_have_no_classes() -> None:
    """A trace without functions is no error."""
    account = class_account(Trace.from_functions({}, duration_s=60.0))
    assert account.classes == ()
    assert account.period_s.shape == (0,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bin_s": 0.0}, "bin_s: found 0.0, allowed is a finite number above 0"),
        ({"bin_s": math.inf}, "bin_s: found inf"),
        ({"bursty_cv": math.nan}, "bursty_cv: found nan"),
        ({"sporadic_empty_share": 1.5}, "sporadic_empty_share: found 1.5, allowed is above 0 and up to 1"),
        ({"significance": -0.1}, "significance: found -0.1"),
        ({"bin_s": 1e-6}, "bin_s: found 1e-06, which cuts 60 s into 60000000 bins"),
    ],
)
def test_a_bad_rule_is_refused(changes: dict[str, float], message: str) -> None:
    """A threshold out of range, or a bin that the window holds too many of, is named."""
    with pytest.raises(TraceError, match=message):
        classify(firing([1.0], 60.0), ClassRule(**changes))
