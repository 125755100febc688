"""Which batch, request and limit a function gets: the paper's growth search, and bisection for training.

A sizing policy measures, and every measurement is a trial: about 30 s on a device. `measure(batch, share)`
returns seconds of one batch (of one decode step for an `llm`, of one step for `training`).
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from policies.functions import Function, PolicyError, Size
from profiles import Measure

SHARE_DIGITS = 6
"""Shares are multiples of a step; rounding them makes 3 x 0.1 the same share as 0.3."""


class SizingError(PolicyError):
    """No batch and share that the policy may choose meets the function's target."""


@dataclass(frozen=True)
class TrainingSizing:
    """Bisect for the shares of a training; what every sizing policy does with training functions.

    Attributes
    ----------
    request_fraction, limit_fraction
        Parts of the exclusive throughput that request and limit have to reach: 80 % and 100 % (Dilu, ASPLOS
        2025, training profiling).
    tolerance
        How far below its fraction the throughput may stay: 2 points (ibid.).
    resolution
        Unit of the shares: 5 points (sigserverless/Dilu @1134655, binary-search-based-searching.sh).
    """

    request_fraction: float = 0.8
    limit_fraction: float = 1.0
    tolerance: float = 0.02
    resolution: float = 0.05

    def __post_init__(self) -> None:
        for name in ("request_fraction", "limit_fraction", "resolution"):
            _check_fraction(name, getattr(self, name))
        if self.limit_fraction < self.request_fraction:
            raise PolicyError(
                f"limit_fraction: found {self.limit_fraction}, allowed is >= {self.request_fraction}"
            )
        if not 0.0 <= self.tolerance < self.request_fraction:
            raise PolicyError(
                f"tolerance: found {self.tolerance}, allowed is 0 <= tolerance < {self.request_fraction}"
            )

    def size_training(self, measure: Measure) -> Size:
        """Return the size of one worker; a share that is measured for request and limit is one trial."""
        steps_s: dict[float, float] = {}

        def measure_step(share: float) -> float:
            if share not in steps_s:
                steps_s[share] = measure(1, share)
            return steps_s[share]

        request, limit = (
            bisection(measure_step, fraction=fraction, tolerance=self.tolerance, resolution=self.resolution)[
                0
            ]
            for fraction in (self.request_fraction, self.limit_fraction)
        )
        # Noise may put the two the wrong way round; a limit below the request would mean nothing.
        return Size(1, request, max(request, limit), len(steps_s))


@dataclass(frozen=True)
class ProfiledSizing(TrainingSizing, ABC):
    """Fills the sizing slot: a pinned size as it is, training by bisection, serving by a subclass."""

    def size(self, function: Function, measure: Measure) -> Size:
        """Return the size of one instance of `function`; a pinned one is not measured.

        Raises
        ------
        SizingError
            If a serving function has no SLO, or nothing that the policy may choose meets it.
        """
        if function.size is not None:
            return self.reserve(function.size)
        training = function.kind == "training"
        return self.reserve(self.size_training(measure) if training else self.size_serving(function, measure))

    def reserve(self, size: Size) -> Size:
        """Return what the system reserves for a profiled size: just that, or what a subclass says."""
        return size

    @abstractmethod
    def size_serving(self, function: Function, measure: Measure) -> Size:
        """Return the size that profiling finds for a serving function."""


@dataclass(frozen=True)
class DiluSizing(ProfiledSizing):
    """Dilu's sizing: Hybrid Growth Search for serving, bisection for training.

    Attributes
    ----------
    share_step
        By how much the search grows the share: 10 points (Dilu, ASPLOS 2025, inference profiling).
    te_drop
        The search stops where throughput efficacy, in requests/s per point of share, falls by more than this
        below the last one. Absolute: 0.2 (sigserverless/Dilu @1134655, HGSS.sh).
    limit_factor
        Limit over request, the limit being at most 1: 2 (Dilu, ASPLOS 2025, inference profiling).
    slo_fraction
        Part of the SLO that is for execution, the rest being for waiting: one half (ibid.).
    """

    share_step: float = 0.10
    te_drop: float = 0.2
    limit_factor: float = 2.0
    slo_fraction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("share_step", "slo_fraction"):
            _check_fraction(name, getattr(self, name))
        if not self.te_drop >= 0.0:
            raise PolicyError(f"te_drop: found {self.te_drop}, allowed are numbers from 0")
        if not self.limit_factor >= 1.0:
            raise PolicyError(f"limit_factor: found {self.limit_factor}, allowed are numbers from 1")

    def size_serving(self, function: Function, measure: Measure) -> Size:
        """Search batch and share. Raises `SizingError` if no share serves a single request in time."""
        return hgss(
            measure,
            target_s(function) * self.slo_fraction,
            share_step=self.share_step,
            te_drop=self.te_drop,
            limit_factor=self.limit_factor,
            max_batch=function.model.max_batch,
            output_tokens=function.output_tokens,
            name=function.name,
        )


@dataclass(frozen=True)
class StaticSizing(DiluSizing):
    """Dilu's batch, with one of its shares as request and limit (MPS-l, INFless+-l; MPS-r, INFless+-r)."""

    quota: Literal["request", "limit"] = "limit"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.quota not in ("request", "limit"):
            raise PolicyError(f"quota: found {self.quota!r}, allowed are request, limit")

    def reserve(self, size: Size) -> Size:
        """Return the size with both shares at the quota."""
        share = size.limit if self.quota == "limit" else size.request
        return dataclasses.replace(size, request=share, limit=share, need=size.needed)


@dataclass(frozen=True)
class ExclusiveSizing(DiluSizing):
    """Dilu's batch on a whole GPU: in the paper's testbed all systems run the same servers."""

    def reserve(self, size: Size) -> Size:
        """Return the size with both shares at 1."""
        return dataclasses.replace(size, request=1.0, limit=1.0, need=size.needed)


def hgss(
    measure: Measure,
    qos_s: float,
    *,
    share_step: float = 0.10,
    te_drop: float = 0.2,
    limit_factor: float = 2.0,
    max_batch: int = 32,
    output_tokens: int = 1,
    name: str = "function",
) -> Size:
    """Search batch and share: the batch doubles, the share grows by a step only where the target needs it.

    The surface of throughput efficacy (TE, requests/s per point of share) is taken as convex, so the search
    stops at the first batch that one more step of share does not serve in time, or serves less efficiently.
    It can miss the optimum of the grid.

    Source: Dilu, ASPLOS 2025, inference profiling; sigserverless/Dilu @1134655, HGSS.sh.

    Parameters
    ----------
    qos_s
        Target of the execution time, half the SLO in the paper. Seconds.
    share_step, te_drop, limit_factor
        As in `DiluSizing`.
    max_batch
        The batch does not grow beyond this.
    output_tokens
        Decode steps a request takes; it scales the throughput that `te_drop` compares.
    name
        What the message of an error calls the function.

    Raises
    ------
    SizingError
        If no share serves a batch of 1 within `qos_s`.
    """
    trials = Trials(measure)

    def share(steps: int) -> float:
        return round(steps * share_step, SHARE_DIGITS)

    steps = 1
    while trials.seconds(1, share(steps)) > qos_s:
        steps += 1
        if share(steps) > 1.0:
            raise unreachable(name, qos_s, trials)

    best_batch, best_steps, best_te = 1, steps, trials.efficacy(output_tokens)
    while best_batch * 2 <= max_batch:
        batch, steps = best_batch * 2, best_steps
        if trials.seconds(batch, share(steps)) > qos_s:
            steps += 1
            if share(steps) > 1.0 or trials.seconds(batch, share(steps)) > qos_s:
                break
            if trials.efficacy(output_tokens) < best_te - te_drop:
                break
        best_batch, best_steps, best_te = batch, steps, trials.efficacy(output_tokens)

    request = share(best_steps)
    return Size(best_batch, request, min(1.0, round(limit_factor * request, SHARE_DIGITS)), trials.count)


def bisection(
    measure_step: Callable[[float], float],
    *,
    fraction: float,
    tolerance: float = 0.02,
    resolution: float = 0.05,
) -> tuple[float, int]:
    """Find the smallest share at which training reaches a fraction of its exclusive throughput.

    The paper's search stops at the first share within `fraction` +/- `tolerance` of the exclusive throughput;
    this one goes on to the smallest multiple of `resolution` that reaches `fraction - tolerance`, so that the
    answer does not depend on where the search happens to pass.

    Parameters
    ----------
    measure_step
        Seconds of one step at a share; falling, or at most noisy, in the share.

    Returns
    -------
    share, trials
        The share found, and how many measurements it took.
    """
    cells = max(1, round(1.0 / resolution))
    full_s = measure_step(1.0)
    trials = 1
    low, high = 0, cells
    while high - low > 1:
        middle = (low + high) // 2
        trials += 1
        if full_s >= (fraction - tolerance) * measure_step(round(middle / cells, SHARE_DIGITS)):
            high = middle
        else:
            low = middle
    return round(high / cells, SHARE_DIGITS), trials


class Trials:
    """The measurements of one search: how many there were, the last one, the fastest one."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._last = (1, 1.0, math.inf)
        self.count = 0
        self.fastest_s = math.inf

    def seconds(self, batch: int, share: float) -> float:
        """Measure once: seconds of a batch on a share."""
        seconds = self._measure(batch, share)
        self.count += 1
        self.fastest_s = min(self.fastest_s, seconds)
        self._last = (batch, share, seconds)
        return seconds

    def failed(self) -> None:
        """Count a run that gave no time, for instance because the batch did not fit."""
        self.count += 1

    def efficacy(self, output_tokens: int = 1) -> float:
        """Throughput efficacy of the last measurement: requests/s per point (1/100) of share."""
        batch, share, seconds = self._last
        return batch / (seconds * output_tokens * share * 100.0)


def target_s(function: Function) -> float:
    """Return the SLO of a serving function in seconds; raise `SizingError` if it has none."""
    if function.slo_s is None:
        raise SizingError(f"{function.name}: slo_s: found none, {function.kind} functions are sized by it")
    return function.slo_s


def unreachable(name: str, qos_s: float, trials: Trials) -> SizingError:
    """Say that nothing the search may choose meets the target, and how close it came."""
    return SizingError(
        f"{name}: slo_s: found no size that executes within {qos_s:g} s,"
        f" the fastest of {trials.count} trials took {trials.fastest_s:g} s"
    )


def _check_fraction(name: str, value: float) -> None:
    if not 0.0 < value <= 1.0:
        raise PolicyError(f"{name}: found {value}, allowed are numbers in (0, 1]")
