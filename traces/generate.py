"""Workloads that need no file: a few arrival processes, each with its mean rate exact in expectation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from traces.errors import TraceError, shown
from traces.processes import MICROSECONDS, load_at, placed_on, regular, renewal, seconds, spread_evenly
from traces.streams import stream
from traces.trace import Trace

ArrivalKind = Literal["poisson", "gamma", "gamma-dilu", "even", "bursty", "periodic", "sporadic"]

# Peak over mean and time scale of the three typical Azure functions that INFless (ASPLOS 2022) replays and
# Dilu (ASPLOS 2025, section 5) after it, at Dilu's pace of one value a second. Their files `Bursty.txt` and
# `Sporadic.txt` have a maximum of 3.5 and 27 means and a lag-1 autocorrelation of 0.95 and 0.33, which an
# on/off process of these mean cycles shares; `Periodic.txt` repeats after a day, 144 values. A sine cannot
# reach that file's peak of 4.5 means: 2 is its highest.
BURSTY_PEAK_TO_MEAN, BURSTY_PERIOD_S = 3.5, 100.0
SPORADIC_PEAK_TO_MEAN, SPORADIC_PERIOD_S = 27.0, 25.0
PERIODIC_PEAK_TO_MEAN, PERIODIC_PERIOD_S = 1.8, 144.0

_KNOTS_PER_PERIOD = (
    256  # a straight line between knots is off a sine's integral by less than 1e-4 of a period
)
_MOST_PERIODS = 100_000
_SHORTEST_ON_S = 1e-3  # phases are whole microseconds
_LONGEST_S = 1e9  # thirty years; microseconds stay exact


@dataclass(frozen=True, slots=True)
class ArrivalSpec:
    """How the requests of one function arrive.

    Attributes
    ----------
    name
        The function.
    kind
        `poisson`, `gamma` (renewal process), `gamma-dilu` (gamma counts of each second), `even` (a timer),
        `bursty` and `sporadic` (on/off), `periodic` (sine).
    rate_rps
        Mean arrivals a second.
    cv
        Coefficient of variation of the gaps, for `gamma`, `bursty` and `sporadic` (above 1; it sets the
        length of their cycles); of the gaps once the sine is taken out, for `periodic`, where `None` is 1;
        what Dilu's paper calls CV, for `gamma-dilu`.
    period_s
        Mean length of an on/off cycle, or the period of the sine; `None` takes the kind's default.
    peak_to_mean
        Highest rate over mean rate; `None` takes the kind's default.

    Raises
    ------
    TraceError
        If a value is out of range, or the kind has no use for it.
    """

    name: str
    kind: ArrivalKind
    rate_rps: float
    cv: float | None = None
    period_s: float | None = None
    peak_to_mean: float | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise TraceError("found an empty name", field="name")
        if self.kind not in get_args(ArrivalKind):
            raise TraceError(
                f"found {shown(self.kind)}, allowed are {', '.join(get_args(ArrivalKind))}", field="kind"
            )
        if not (math.isfinite(self.rate_rps) and self.rate_rps >= 0):
            raise TraceError(
                f"found {shown(self.rate_rps)}, allowed is a finite number from 0", field="rate_rps"
            )
        gamma = self.kind in ("gamma", "gamma-dilu")
        if gamma and self.cv is None:
            raise TraceError(f"is missing, kind {self.kind!r} needs it", field="cv")
        if self.kind in ("poisson", "even") and self.cv is not None:
            raise TraceError(f"found {self.cv}, kind {self.kind!r} has no use for it", field="cv")
        if self.kind in ("poisson", "gamma", "gamma-dilu", "even"):
            for field in ("period_s", "peak_to_mean"):
                if getattr(self, field) is not None:
                    raise TraceError(
                        f"found {getattr(self, field)}, kind {self.kind!r} has no use for it", field=field
                    )

    def arrivals(self, duration_s: float, *, seed: int) -> NDArray[np.float64]:
        """Return the sorted arrivals (seconds) in [0, duration_s)."""
        given = {"period_s": self.period_s, "peak_to_mean": self.peak_to_mean, "cv": self.cv}
        modulation = {key: value for key, value in given.items() if value is not None}
        match self.kind:
            case "poisson":
                return poisson(self.rate_rps, duration_s, seed=seed, name=self.name)
            case "gamma":
                assert self.cv is not None
                return gamma_renewal(self.rate_rps, self.cv, duration_s, seed=seed, name=self.name)
            case "gamma-dilu":
                assert self.cv is not None
                return gamma_counts(self.rate_rps, self.cv, duration_s, seed=seed, name=self.name)
            case "even":
                return even(self.rate_rps, duration_s, seed=seed, name=self.name)
            case "bursty":
                return bursty(self.rate_rps, duration_s, seed=seed, name=self.name, **modulation)
            case "periodic":
                return periodic(self.rate_rps, duration_s, seed=seed, name=self.name, **modulation)
            case "sporadic":
                return sporadic(self.rate_rps, duration_s, seed=seed, name=self.name, **modulation)


def generate(specs: Sequence[ArrivalSpec], *, duration_s: float, seed: int) -> Trace:
    """Generate the trace of several functions.

    Each function draws from its own stream of (seed, kind, name): a function's arrivals do not depend on
    which others stand beside it.

    Raises
    ------
    TraceError
        If two specs have one name, or a value is out of range; then its field is the function.
    """
    names = [spec.name for spec in specs]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise TraceError(f"found {shown(doubled[0])} twice, allowed are unique names", field="name")
    return Trace.from_functions(
        {spec.name: _arrivals_of(spec, duration_s, seed) for spec in specs},
        duration_s=duration_s,
        provenance={
            "source": "generated",
            "seed": int(seed),
            "duration_s": float(duration_s),
            "functions": [asdict(spec) for spec in specs],
            "transforms": [],
        },
    )


def _arrivals_of(spec: ArrivalSpec, duration_s: float, seed: int) -> NDArray[np.float64]:
    try:
        return spec.arrivals(duration_s, seed=seed)
    except TraceError as error:
        raise TraceError(f"{error.field}: {error.args[0]}", field=spec.name) from None


def poisson(rate_rps: float, duration_s: float, *, seed: int, name: str) -> NDArray[np.float64]:
    """Poisson arrivals of a constant rate."""
    return _constant(rate_rps, 1.0, duration_s, stream(seed, "poisson", name))


def gamma_renewal(
    rate_rps: float, cv: float, duration_s: float, *, seed: int, name: str
) -> NDArray[np.float64]:
    """Arrivals with independent gamma gaps whose true coefficient of variation is `cv`."""
    return _constant(rate_rps, cv, duration_s, stream(seed, "gamma", name))


def gamma_counts(
    rate_rps: float, cv: float, duration_s: float, *, seed: int, name: str
) -> NDArray[np.float64]:
    """Arrivals evenly spaced within each second, of which there are Gamma(rate / cv^2, scale cv^2) many.

    Counts are cut to whole numbers, as in the workload generator of Dilu's artifact (sigserverless/Dilu
    @1134655). Their variance is rate * cv^2, so that their coefficient of variation is cv / sqrt(rate).
    """
    duration_s = _checked_duration(duration_s)
    if not (math.isfinite(cv) and cv > 0):
        raise TraceError(f"found {shown(cv)}, allowed is a finite number above 0", field="cv")
    rng = stream(seed, "gamma-dilu", name)
    counts = rng.gamma(_checked_rate(rate_rps) / cv**2, cv**2, math.ceil(duration_s))
    arrivals = seconds(spread_evenly(np.trunc(counts).astype(np.int64), MICROSECONDS))
    return arrivals[arrivals < duration_s]


def even(rate_rps: float, duration_s: float, *, seed: int, name: str) -> NDArray[np.float64]:
    """Arrivals at equal distances, like a timer's; the first one falls anywhere in the first gap."""
    edges_s = np.array([0.0, _checked_duration(duration_s)])
    load = load_at(edges_s, np.array([_checked_rate(rate_rps)]))
    phase = stream(seed, "even", name).random()
    return seconds(placed_on(regular(float(load[-1]), phase), edges_s, load))


def bursty(
    rate_rps: float,
    duration_s: float,
    *,
    peak_to_mean: float = BURSTY_PEAK_TO_MEAN,
    period_s: float | None = None,
    cv: float | None = None,
    seed: int,
    name: str,
) -> NDArray[np.float64]:
    """Poisson arrivals in bursts: exponential on-times at `peak_to_mean * rate_rps`, silence between them.

    The process is on for `1 / peak_to_mean` of the time, in cycles of `period_s` on average (`None`:
    BURSTY_PERIOD_S), and starts in its stationary state: the mean is `rate_rps` whatever the duration. `cv`
    sets the length of the cycles instead, so that all gaps together, those between bursts included, have that
    true coefficient of variation over many cycles.
    """
    cycle_s = _cycle_s(rate_rps, peak_to_mean, period_s, BURSTY_PERIOD_S, cv, duration_s)
    return _on_off(rate_rps, duration_s, peak_to_mean, cycle_s, stream(seed, "bursty", name))


def sporadic(
    rate_rps: float,
    duration_s: float,
    *,
    peak_to_mean: float = SPORADIC_PEAK_TO_MEAN,
    period_s: float | None = None,
    cv: float | None = None,
    seed: int,
    name: str,
) -> NDArray[np.float64]:
    """Rare short visits: the on/off process of `bursty` with on-times far shorter than the silence."""
    cycle_s = _cycle_s(rate_rps, peak_to_mean, period_s, SPORADIC_PERIOD_S, cv, duration_s)
    return _on_off(rate_rps, duration_s, peak_to_mean, cycle_s, stream(seed, "sporadic", name))


def periodic(
    rate_rps: float,
    duration_s: float,
    *,
    peak_to_mean: float = PERIODIC_PEAK_TO_MEAN,
    period_s: float = PERIODIC_PERIOD_S,
    cv: float = 1.0,
    seed: int,
    name: str,
) -> NDArray[np.float64]:
    """Arrivals whose rate is a sine around `rate_rps`, starting at the mean and rising.

    The mean is `rate_rps` over whole periods. Arrivals are a renewal process on the axis of the cumulative
    rate, with gamma gaps of coefficient of variation `cv` there; 1 is the Poisson process.
    """
    _check_period(period_s, duration_s)
    if not 1 <= peak_to_mean <= 2:
        raise TraceError(f"found {shown(peak_to_mean)}, allowed is 1 to 2 for a sine", field="peak_to_mean")
    knots = math.ceil(duration_s / period_s * _KNOTS_PER_PERIOD)
    edges_s = np.append(np.arange(knots) * (period_s / _KNOTS_PER_PERIOD), duration_s)
    angle = 2 * math.pi * edges_s / period_s
    swing_s = (peak_to_mean - 1) * period_s / (2 * math.pi) * (1 - np.cos(angle))
    load = np.maximum.accumulate(_checked_rate(rate_rps) * np.round(edges_s + swing_s, 9))
    points = renewal(float(load[-1]), cv, stream(seed, "periodic", name))
    return seconds(placed_on(points, edges_s, load))


def _constant(rate_rps: float, cv: float, duration_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    edges_s = np.array([0.0, _checked_duration(duration_s)])
    load = load_at(edges_s, np.array([_checked_rate(rate_rps)]))
    return seconds(placed_on(renewal(float(load[-1]), cv, rng), edges_s, load))


def _cycle_s(
    rate_rps: float,
    peak_to_mean: float,
    period_s: float | None,
    usual_s: float,
    cv: float | None,
    duration_s: float,
) -> float:
    """Return the mean length of an on/off cycle: as it is given, the usual one, or the one that `cv` needs.

    Poisson arrivals interrupted by exponential silence are a renewal process with hyperexponential gaps, the
    square of whose coefficient of variation is 1 + 2 * rate * cycle * (share of silence)^2 (A. Kuczura, The
    Interrupted Poisson Process as an Overflow Process, Bell System Technical Journal 52, 1973).
    """
    rate_rps, duration_s = _checked_rate(rate_rps), _checked_duration(duration_s)
    if not (math.isfinite(peak_to_mean) and peak_to_mean > 1):
        raise TraceError(
            f"found {shown(peak_to_mean)}, allowed is a finite number above 1", field="peak_to_mean"
        )
    shortest_on_off_s = _SHORTEST_ON_S * peak_to_mean
    if cv is None:
        cycle_s = usual_s if period_s is None else period_s
        _check_period(cycle_s, duration_s)
        if cycle_s < shortest_on_off_s:
            raise TraceError(
                f"found {shown(cycle_s)}, allowed is from {shortest_on_off_s:g} "
                f"(mean on-times of {_SHORTEST_ON_S:g} s)",
                field="period_s",
            )
        return cycle_s
    if period_s is not None:
        raise TraceError(f"found {shown(period_s)} beside cv, which sets it", field="period_s")
    if not (math.isfinite(cv) and cv > 1):
        raise TraceError(f"found {shown(cv)}, allowed is a finite number above 1 for bursts", field="cv")
    shortest_s = max(shortest_on_off_s, duration_s / _MOST_PERIODS)
    if rate_rps == 0:  # no gaps whatever the cycle
        return max(usual_s, shortest_s)
    silent_square_rps = rate_rps * (1 - 1 / peak_to_mean) ** 2
    cycle_s = (cv**2 - 1) / (2 * silent_square_rps)
    if not shortest_s <= cycle_s <= _LONGEST_S:
        lowest, highest = (math.sqrt(1 + 2 * silent_square_rps * end_s) for end_s in (shortest_s, _LONGEST_S))
        raise TraceError(
            f"found {shown(cv)}, allowed is {lowest:.6g} to {highest:.6g} at this rate and duration",
            field="cv",
        )
    return cycle_s


def _on_off(
    rate_rps: float, duration_s: float, peak_to_mean: float, period_s: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return Poisson arrivals of on-phases with exponential lengths, in cycles of a checked mean length."""
    on_share = 1 / peak_to_mean
    starts_on = rng.random() < on_share
    means_s = np.array([on_share, 1 - on_share] if starts_on else [1 - on_share, on_share]) * period_s
    edges_us = np.zeros(1, dtype=np.int64)
    while edges_us[-1] < duration_s * MICROSECONDS:
        phases_s = rng.standard_exponential((int(duration_s / period_s) + 8, 2)) * means_s
        phases_us = np.rint(phases_s.ravel() * MICROSECONDS).astype(np.int64)
        edges_us = np.concatenate([edges_us, edges_us[-1] + np.cumsum(phases_us)])
    edges_s = np.minimum(seconds(edges_us), duration_s)
    is_on = (np.arange(edges_s.size - 1) % 2 == 0) == starts_on
    load = load_at(edges_s, is_on * (_checked_rate(rate_rps) * peak_to_mean))
    return seconds(placed_on(renewal(float(load[-1]), 1.0, rng), edges_s, load))


def _checked_duration(duration_s: float) -> float:
    if not 0 < duration_s <= _LONGEST_S:
        raise TraceError(
            f"found {shown(duration_s)}, allowed is above 0 and up to {_LONGEST_S:g}", field="duration_s"
        )
    return float(duration_s)


def _checked_rate(rate_rps: float) -> float:
    if not (math.isfinite(rate_rps) and rate_rps >= 0):
        raise TraceError(f"found {shown(rate_rps)}, allowed is a finite number from 0", field="rate_rps")
    return float(rate_rps)


def _check_period(period_s: float, duration_s: float) -> None:
    shortest_s = _checked_duration(duration_s) / _MOST_PERIODS
    if not shortest_s <= period_s <= _LONGEST_S:
        raise TraceError(
            f"found {shown(period_s)}, allowed is from {shortest_s:g} (duration_s / {_MOST_PERIODS}) "
            f"up to {_LONGEST_S:g}",
            field="period_s",
        )
