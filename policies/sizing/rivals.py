"""Sizing methods Dilu is compared with (ASPLOS 2025, Table 2): traversal, GPUlet, INFless.

All of them size training as Dilu does; their papers only serve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, product

from policies.functions import Function, PolicyError, Size
from policies.sizing.growth import SHARE_DIGITS, ProfiledSizing, Trials, target_s, unreachable
from profiles import Measure

BATCHES = (1, 2, 4, 8, 16, 32)
"""Batch sizes of the exhaustive grid (sigserverless/Dilu @1134655, profiling.sh), and of INFless."""

TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the exhaustive grid."""


@dataclass(frozen=True)
class TraversalSizing(ProfiledSizing):
    """Measure a whole grid and take the point of highest throughput efficacy that meets the target.

    Attributes
    ----------
    shares, batches
        The grid.
    limit_factor, slo_fraction
        As in `DiluSizing`.
    """

    shares: tuple[float, ...] = TENTHS
    batches: tuple[int, ...] = BATCHES
    limit_factor: float = 2.0
    slo_fraction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_grid(self.shares, self.batches, self.slo_fraction)
        if not self.limit_factor >= 1.0:
            raise PolicyError(f"limit_factor: found {self.limit_factor}, allowed are numbers from 1")

    def size_serving(self, function: Function, measure: Measure) -> Size:
        """Return the optimum of the grid; of equals, the smallest share, then the smallest batch.

        A batch beyond the model's largest fails; nobody knew before, so it costs its trial.

        Raises
        ------
        SizingError
            If a serving function has no SLO, or no point of the grid meets the target.
        """
        qos_s = target_s(function) * self.slo_fraction
        trials = Trials(measure)
        best_te, best_batch, best_share = 0.0, 0, 0.0
        for share, batch in product(self.shares, self.batches):
            if batch > function.model.max_batch:
                trials.failed()
            elif trials.seconds(batch, share) <= qos_s and trials.efficacy() > best_te:
                best_te, best_batch, best_share = trials.efficacy(), batch, share
        if best_batch == 0:
            raise unreachable(function.name, qos_s, trials)
        limit = min(1.0, round(self.limit_factor * best_share, SHARE_DIGITS))
        return Size(best_batch, best_share, limit, trials.count)


@dataclass(frozen=True)
class GpuletSizing(ProfiledSizing):
    """GPUlet: the largest batch in time on each partition, and the partition at the throughput's knee.

    Choi et al., ATC 2022; casys-kaist/glet.

    Attributes
    ----------
    shares
        Partitions to profile. GPUlet's own are 20, 40, 50, 60, 80 and 100 %; Table 2 of Dilu counts 16
        trials, which is read here as four of them by four batches (an assumption).
    batches
        How many batches to profile, powers of two evenly spaced from 1 to the model's largest.
    slo_fraction
        Part of the SLO for execution: one half (2 L <= SLO).
    """

    shares: tuple[float, ...] = (0.2, 0.4, 0.6, 1.0)
    batches: int = 4
    slo_fraction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_grid(self.shares, BATCHES, self.slo_fraction)
        if self.batches < 2:
            raise PolicyError(f"batches: found {self.batches}, allowed are integers from 2")

    def size_serving(self, function: Function, measure: Measure) -> Size:
        """Return the knee as request and limit, for a partition is static.

        Latency between the profiled batches is interpolated linearly. The knee is the partition after which
        the slope of throughput over share falls most; without a rate to meet, it is the answer.

        Raises
        ------
        SizingError
            If a serving function has no SLO, or no partition serves a single request in time.
        """
        qos_s = target_s(function) * self.slo_fraction
        trials = Trials(measure)
        profiled = _powers_of_two(function.model.max_batch, self.batches)
        batches, rates = [], []
        for share in self.shares:
            curve = [(batch, trials.seconds(batch, share)) for batch in profiled]
            batch, seconds = _largest_in_time(curve, qos_s)
            batches.append(batch)
            rates.append(batch / seconds)
        if not any(batches):
            raise unreachable(function.name, qos_s, trials)
        knee = _knee(self.shares, rates)
        return Size(batches[knee], self.shares[knee], self.shares[knee], trials.count)


@dataclass(frozen=True)
class InflessSizing(ProfiledSizing):
    """INFless: predict every configuration and take the one of most throughput per share in time.

    Yang et al., ASPLOS 2022; TankLabTJU/INFless.

    Attributes
    ----------
    shares, batches
        The configuration space: five shares up to one half, six batches.
    slo_fraction
        Part of the SLO for execution with batches above 1; a batch of 1 never waits and may use it all.
    margin
        Relative error by which a prediction exceeds the measured time; assumed, about 10 %.
    """

    shares: tuple[float, ...] = TENTHS[:5]
    batches: tuple[int, ...] = BATCHES
    slo_fraction: float = 0.5
    margin: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_grid(self.shares, self.batches, self.slo_fraction)
        if not 0.0 <= self.margin < math.inf:
            raise PolicyError(f"margin: found {self.margin}, allowed are finite numbers from 0")

    def size_serving(self, function: Function, measure: Measure) -> Size:
        """Return the best configuration on an empty GPU as request and limit; of equals, the largest batch.

        INFless predicts from profiles of operators; the measured time with its margin stands in for that.
        Every configuration counts as a trial: 30, where Table 2 of Dilu has 20 to 40 depending on the model.

        Raises
        ------
        SizingError
            If a serving function has no SLO, or no configuration meets the target.
        """
        slo_s = target_s(function)
        trials = Trials(measure)
        best_te, best_batch, best_share = 0.0, 0, 0.0
        for batch, share in product(sorted(self.batches, reverse=True), self.shares):
            if batch > function.model.max_batch:
                trials.failed()
                continue
            predicted_s = trials.seconds(batch, share) * (1.0 + self.margin)
            allowed_s = slo_s if batch == 1 else slo_s * self.slo_fraction
            if predicted_s <= allowed_s and trials.efficacy() > best_te:
                best_te, best_batch, best_share = trials.efficacy(), batch, share
        if best_batch == 0:
            raise unreachable(function.name, slo_s, trials)
        return Size(best_batch, best_share, best_share, trials.count)


def _largest_in_time(curve: list[tuple[int, float]], qos_s: float) -> tuple[int, float]:
    """Return the largest batch that meets the target by linear interpolation, and its time; else (0, inf)."""
    for (low, low_s), (high, high_s) in reversed(list(pairwise(curve))):
        for batch in range(high, low - 1, -1):
            seconds = low_s + (high_s - low_s) * (batch - low) / (high - low)
            if seconds <= qos_s:
                return batch, seconds
    return 0, math.inf


def _knee(shares: tuple[float, ...], rates: list[float]) -> int:
    """Return the index after which the slope of rate over share falls most; the curve starts at (0, 0)."""
    points = list(zip((0.0, *shares), (0.0, *rates), strict=True))
    slopes = [
        (rate - rate_before) / (share - before) for (before, rate_before), (share, rate) in pairwise(points)
    ]
    falls = [slope - after for slope, after in pairwise((*slopes, 0.0))]
    return max(range(len(falls)), key=lambda index: (rates[index] > 0.0, falls[index], -index))


def _powers_of_two(largest: int, count: int) -> list[int]:
    """Return up to `count` batches from 1 to `largest`: powers of two evenly spaced in the exponent."""
    top = math.log2(largest)
    return sorted({1, largest, *(2 ** round(top * i / (count - 1)) for i in range(1, count - 1))})


def _check_grid(shares: tuple[float, ...], batches: tuple[int, ...], slo_fraction: float) -> None:
    if not shares or sorted(set(shares)) != list(shares) or not 0.0 < shares[0] <= shares[-1] <= 1.0:
        raise PolicyError(f"shares: found {list(shares)}, allowed are rising shares in (0, 1]")
    if not batches or min(batches) < 1:
        raise PolicyError(f"batches: found {list(batches)}, allowed are integers from 1")
    if not 0.0 < slo_fraction <= 1.0:
        raise PolicyError(f"slo_fraction: found {slo_fraction}, allowed are numbers in (0, 1]")
