from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import (
    ArrivalSpec,
    TraceError,
    bursty,
    even,
    gamma_counts,
    gamma_renewal,
    generate,
    periodic,
    poisson,
    sporadic,
)

SPECS = (
    ArrivalSpec("a", "poisson", 5.0),
    ArrivalSpec("b", "gamma", 5.0, cv=4.0),
    ArrivalSpec("c", "even", 5.0),
    ArrivalSpec("d", "bursty", 5.0),
    ArrivalSpec("e", "periodic", 5.0),
    ArrivalSpec("f", "sporadic", 5.0, period_s=10.0, peak_to_mean=10.0),
    ArrivalSpec("g", "bursty", 5.0, cv=3.0),
    ArrivalSpec("h", "sporadic", 5.0, cv=8.0, peak_to_mean=10.0),
    ArrivalSpec("i", "periodic", 5.0, cv=0.5),
)


@given(st.sampled_from(SPECS), st.floats(0.001, 300.0), st.integers(0, 2**64))
def test_arrivals_are_sorted_microseconds_inside_the_window(
    spec: ArrivalSpec, duration_s: float, seed: int
) -> None:
    """Every kind, over any duration, gives ascending whole microseconds in [0, duration)."""
    times = spec.arrivals(duration_s, seed=seed)
    assert times.dtype == np.float64
    assert (np.diff(times) >= 0).all()
    assert not times.size or (times[0] >= 0 and times[-1] < duration_s)
    assert np.array_equal(times, np.round(times * 1e6) / 1e6)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.kind}-{spec.name}")
def test_the_mean_rate_is_exact_in_expectation(spec: ArrivalSpec) -> None:
    """Over 400 short runs (whole periods of the sine) the mean count is rate * duration."""
    duration_s = 144.0
    counts = np.array([spec.arrivals(duration_s, seed=seed).size for seed in range(400)])
    assert counts.mean() == pytest.approx(
        5.0 * duration_s, abs=4 * counts.std() / math.sqrt(counts.size) + 1e-9
    )


def test_poisson_counts_have_the_variance_of_their_mean() -> None:
    """The index of dispersion of a Poisson process is 1."""
    counts = np.bincount(poisson(10.0, 20_000.0, seed=1, name="f").astype(int), minlength=20_000)
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=4 * math.sqrt(2 / counts.size))


@pytest.mark.parametrize("cv", [0.2, 1.0, 6.0])
def test_gamma_gaps_have_their_true_variation(cv: float) -> None:
    """The coefficient of variation of the gaps is cv itself."""
    gaps = np.diff(gamma_renewal(50.0, cv, 4000.0, seed=2, name="f"))
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.08)
    assert gaps.mean() == pytest.approx(0.02, rel=4 * cv / math.sqrt(gaps.size))


@pytest.mark.parametrize("kind", ["bursty", "sporadic"])
@pytest.mark.parametrize("cv", [1.5, 3.0, 6.0])
def test_bursts_have_the_variation_asked_for(kind: str, cv: float) -> None:
    """All gaps of an on/off process together, its silences included, have the true cv, at the same mean."""
    spec = ArrivalSpec("f", kind, 2.0, cv=cv, peak_to_mean=6.0)  # type: ignore[arg-type]
    gaps = np.concatenate([np.diff(spec.arrivals(40_000.0, seed=seed)) for seed in range(12)])
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)
    assert gaps.mean() == pytest.approx(0.5, rel=5 * cv / math.sqrt(gaps.size))


@pytest.mark.parametrize("cv", [0.3, 1.0, 3.0])
def test_a_periodic_rate_has_the_variation_asked_for(cv: float) -> None:
    """Time is stretched by the sine's integral to a rate of 1: there the gaps have the true cv."""
    rate_rps, period_s, peak_to_mean = 20.0, 500.0, 1.6
    times = periodic(rate_rps, 4000.0, period_s=period_s, peak_to_mean=peak_to_mean, cv=cv, seed=4, name="f")
    angle = 2 * math.pi * times / period_s
    stretched = times + (peak_to_mean - 1) * period_s / (2 * math.pi) * (1 - np.cos(angle))
    gaps = np.diff(stretched)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)
    assert gaps.mean() == pytest.approx(1 / rate_rps, rel=4 * cv / math.sqrt(gaps.size))


def test_without_a_variation_arrivals_are_those_of_the_usual_cycle() -> None:
    """No cv is the kind's usual cycle and Poisson arrivals: a cv that comes to them gives the same."""
    silent_square = (1 - 1 / 3.5) ** 2
    cv_of_usual = math.sqrt(1 + 2 * 5.0 * 100.0 * silent_square)
    usual = bursty(5.0, 2000.0, seed=1, name="f")
    assert np.array_equal(usual, bursty(5.0, 2000.0, period_s=100.0, seed=1, name="f"))
    assert bursty(5.0, 2000.0, cv=cv_of_usual, seed=1, name="f") == pytest.approx(usual, abs=1e-5)
    assert np.array_equal(
        periodic(5.0, 500.0, seed=1, name="f"), periodic(5.0, 500.0, cv=1.0, seed=1, name="f")
    )


def test_gamma_counts_have_the_dispersion_of_the_artifact() -> None:
    """Counts of a second have variance cv^2 * rate, half a request of the mean cut off; none lies between."""
    times = gamma_counts(64.0, 4.0, 20_000.0, seed=2, name="f")
    counts = np.bincount(times.astype(int), minlength=20_000)
    assert counts.mean() == pytest.approx(63.5, rel=0.02)
    assert counts.var() / 64.0 == pytest.approx(16.0, rel=0.05)
    first = times[times < np.flatnonzero(counts > 1)[0] + 1]
    assert np.diff(first[first >= np.floor(first[-1])]) == pytest.approx(
        1.0 / counts[int(first[-1])], abs=2e-6
    )
    with pytest.raises(TraceError, match="above 0"):
        gamma_counts(64.0, 0.0, 10.0, seed=2, name="f")


def test_even_arrivals_keep_their_distance() -> None:
    """A timer's gaps are all 1 / rate; two timers do not fire together."""
    times = even(4.0, 100.0, seed=1, name="f")
    assert np.diff(times) == pytest.approx(0.25, abs=2e-6)
    assert times.size == 400
    assert abs(times[0] - even(4.0, 100.0, seed=1, name="g")[0]) > 1e-3


def test_bursts_have_the_dispersion_of_an_on_off_process() -> None:
    """Counts of a bin follow the closed form for exponential on and off phases.

    With on-rate r, on-share p and relaxation time t, the variance of the counts in a bin of width b is
    r p b + 2 r^2 p (1 - p) t (b - t (1 - exp(-b / t))).
    """
    rate_rps, peak_to_mean, period_s, bin_s = 10.0, 4.0, 8.0, 5.0
    times = bursty(rate_rps, 200_000.0, peak_to_mean=peak_to_mean, period_s=period_s, seed=5, name="f")
    counts = np.bincount((times / bin_s).astype(int), minlength=int(200_000 / bin_s))
    on_share = 1 / peak_to_mean
    relaxation_s = period_s * on_share * (1 - on_share)
    memory_s = bin_s - relaxation_s * (1 - math.exp(-bin_s / relaxation_s))
    on_rps = rate_rps * peak_to_mean
    expected = rate_rps * bin_s + 2 * on_rps**2 * on_share * (1 - on_share) * relaxation_s * memory_s
    assert counts.var() == pytest.approx(expected, rel=0.05)


def test_sporadic_arrivals_leave_most_bins_empty() -> None:
    """At least 60 % of the seconds of a sporadic function are empty, whatever its rate."""
    counts = np.bincount(sporadic(10.0, 5000.0, seed=1, name="f").astype(int), minlength=5000)
    assert (counts == 0).mean() > 0.6
    assert counts.max() / counts.mean() > 20


def test_a_periodic_rate_is_a_sine() -> None:
    """The rate of each twelfth of the period follows the integral of the sine."""
    period_s, peak_to_mean = 100.0, 1.6
    times = periodic(50.0, 40_000.0, period_s=period_s, peak_to_mean=peak_to_mean, seed=3, name="f")
    twelfth = ((times % period_s) / period_s * 12).astype(int)
    rate_rps = np.bincount(twelfth, minlength=12) / (40_000.0 / 12)
    edge = 2 * math.pi * np.arange(13) / 12
    expected = 50.0 * (1 + (peak_to_mean - 1) * 12 / (2 * math.pi) * -np.diff(np.cos(edge)))
    assert rate_rps == pytest.approx(expected, rel=4 / math.sqrt(0.4 * 50.0 * 40_000 / 12))


def test_a_function_arrives_the_same_whoever_stands_beside_it() -> None:
    """Arrivals depend on seed, kind and name, not on the other specs; another seed gives others."""
    together = generate(SPECS, duration_s=50.0, seed=1)
    alone = generate([SPECS[3]], duration_s=50.0, seed=1)
    assert np.array_equal(together.arrivals("d"), alone.arrivals("d"))
    assert not np.array_equal(together.arrivals("a"), generate(SPECS, duration_s=50.0, seed=2).arrivals("a"))
    assert together.functions == tuple("abcdefghi")
    assert together.provenance["functions"][1]["cv"] == 4.0  # type: ignore[index]


def test_a_silent_function_is_a_function() -> None:
    """Rate 0 gives a function without arrivals, for every kind."""
    for spec in SPECS:
        silent = replace(spec, rate_rps=0.0)
        assert silent.arrivals(10.0, seed=1).size == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name: found an empty name"),
        ({"kind": "weekly"}, "kind: found 'weekly', allowed are poisson, gamma, gamma-dilu, even"),
        ({"rate_rps": -1.0}, "rate_rps: found -1.0"),
        ({"rate_rps": math.nan}, "rate_rps: found nan"),
        ({"kind": "gamma"}, "cv: is missing"),
        ({"cv": 2.0}, "cv: found 2.0, kind 'poisson' has no use for it"),
        ({"period_s": 2.0}, "period_s: found 2.0, kind 'poisson' has no use for it"),
        ({"kind": "even", "peak_to_mean": 2.0}, "peak_to_mean: found 2.0, kind 'even' has no use"),
    ],
)
def test_a_bad_spec_is_refused(changes: dict[str, object], message: str) -> None:
    """A value out of range, or one that the kind would ignore, is named."""
    with pytest.raises(TraceError, match=message):
        ArrivalSpec(**({"name": "f", "kind": "poisson", "rate_rps": 1.0} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("periodic", {"peak_to_mean": 2.5}, "peak_to_mean: found 2.5, allowed is 1 to 2"),
        ("periodic", {"period_s": 0.0}, "period_s: found 0.0"),
        ("bursty", {"peak_to_mean": 1.0}, "peak_to_mean: found 1.0"),
        ("bursty", {"period_s": math.inf}, "period_s: found inf"),
        ("sporadic", {"peak_to_mean": 1e6}, "period_s: found 25.0, allowed is from 1000"),
        ("gamma", {"cv": 0.0}, "cv: found 0.0"),
        ("periodic", {"cv": -1.0}, "cv: found -1.0"),
        ("bursty", {"cv": 1.0}, "cv: found 1.0, allowed is a finite number above 1"),
        ("sporadic", {"cv": math.nan}, "cv: found nan"),
        ("bursty", {"cv": 1.001}, "cv: found 1.001, allowed is 1.00178 to "),
        ("bursty", {"cv": 1e6}, "cv: found 1000000.0, allowed is 1.00178 to 31943.8 at this rate"),
        ("bursty", {"cv": 2.0, "period_s": 10.0}, "period_s: found 10.0 beside cv, which sets it"),
        ("bursty", {"cv": 2.0, "peak_to_mean": 1.0}, "peak_to_mean: found 1.0"),
    ],
)
def test_a_modulation_out_of_range_is_refused(kind: str, changes: dict[str, float], message: str) -> None:
    """What a process cannot do is refused when it is generated."""
    spec = ArrivalSpec("f", kind, 1.0, **changes)  # type: ignore[arg-type]
    with pytest.raises(TraceError, match=message):
        spec.arrivals(10.0, seed=1)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.kind}-{spec.name}")
@pytest.mark.parametrize("duration_s", [0.0, -1.0, math.nan, math.inf])
def test_a_window_without_time_is_refused(spec: ArrivalSpec, duration_s: float) -> None:
    """Every kind needs a finite duration above 0."""
    with pytest.raises(TraceError, match="duration_s: found"):
        spec.arrivals(duration_s, seed=1)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.kind}-{spec.name}")
def test_generate_names_the_function_at_fault(spec: ArrivalSpec) -> None:
    """Of several functions the refusal names the one that cannot be generated."""
    with pytest.raises(TraceError, match=f"^{spec.name}: duration_s: found 1e[+]300"):
        generate([spec], duration_s=1e300, seed=1)


def test_two_functions_of_one_name_are_refused() -> None:
    """Specs of a workload have unique names."""
    with pytest.raises(TraceError, match="name: found 'a' twice"):
        generate([SPECS[0], SPECS[0]], duration_s=1.0, seed=1)
