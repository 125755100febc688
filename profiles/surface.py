"""Latency of one batch over (batch size, SM share): a saturating surface, and the raw points behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from profiles.beyond import SHARE_SLACK, Beyond
from profiles.errors import ProfileError

Covariance = tuple[tuple[float, ...], ...]
"""Covariance of fitted coefficients, a row each, in their order and units."""

MEMO_LIMIT = 100_000
"""Remembered answers of one surface or curve; the memory is bounded by forgetting them all at this number."""

ROUND_DIGITS = 9
"""Answers are rounded to a nanosecond, so that no table depends on the last bit of a machine's `pow`."""


class Point(NamedTuple):
    """One raw measurement: `seconds` for a batch of `batch` on the share `share` of the SMs.

    One that is `held_out` was not fitted; the fit is scored on it.
    """

    batch: int
    share: float
    seconds: float
    held_out: bool = False


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Relative error of a fit over the measurements that it did not see, and how many these are."""

    points: int
    mean_error: float
    max_error: float


@dataclass(frozen=True)
class LatencySurface:
    """Seconds one batch takes: a smooth maximum of a host-bound floor and of SM-bound work.

    `seconds(b, s) = ((l0_s + f1_s b)^g + ((w1_s b + w0_s) / s)^g)^(1/g)`; for an LLM, of one decode step,
    which yields one token for each of the `b` requests.

    Attributes
    ----------
    l0_s, f1_s
        Launch and host floor of a batch, and of each of its requests; no share shortens it. Seconds.
    w1_s, w0_s
        SM-bound work of each request, and of the batch as such, on all SMs. Seconds.
    g
        How sharply the two parts take over from each other; 1 adds them, infinity takes the larger.
    batches, shares
        Smallest and largest batch and share the coefficients were fitted on.
    fit_mean_error, fit_max_error
        Relative error of the surface over the raw points; `None` where it was not fitted.
    points
        The raw measurements, possibly none.
    covariance
        Covariance of `(l0_s, f1_s, w1_s, w0_s, g)`, in their units; `None` where it is not known.
    held_out
        The error over the points that were held out; `None` where none were.

    Raises
    ------
    ProfileError
        If a coefficient is negative or not finite, nothing takes any time, or a range is empty.
    """

    l0_s: float
    f1_s: float
    w1_s: float
    w0_s: float
    g: float
    batches: tuple[int, int] = (1, 32)
    shares: tuple[float, float] = (0.1, 1.0)
    fit_mean_error: float | None = None
    fit_max_error: float | None = None
    points: tuple[Point, ...] = ()
    covariance: Covariance | None = None
    held_out: HeldOut | None = None
    _memo: dict[tuple[int, float], float] = field(default_factory=dict, init=False, repr=False, compare=False)
    _measured: dict[tuple[int, float], float] = field(init=False, repr=False, compare=False)
    _beyond: Beyond = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("l0_s", "f1_s", "w1_s", "w0_s"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise ProfileError(f"{name}: found {value}, allowed are seconds from 0")
        check_sharpness(self.g)
        if self.l0_s + self.w1_s + self.w0_s <= 0.0:
            raise ProfileError("l0_s, w1_s, w0_s: found 0 for all, a batch has to take some time")
        if not 1 <= self.batches[0] <= self.batches[1]:
            raise ProfileError(f"batches: found {list(self.batches)}, allowed are [min, max] from 1")
        if not 0.0 < self.shares[0] <= self.shares[1] <= 1.0:
            raise ProfileError(f"shares: found {list(self.shares)}, allowed are [min, max] in (0, 1]")
        check_covariance(self.covariance, 5)
        measured = {(point.batch, _grid(point.share)): point.seconds for point in self.points}
        object.__setattr__(self, "_measured", measured)
        object.__setattr__(self, "_beyond", Beyond(self.batches, self.shares))

    def __reduce__(self) -> tuple[type[LatencySurface], tuple[Any, ...]]:
        return type(self), tuple(getattr(self, f.name) for f in fields(self) if f.init)

    def seconds(self, batch: int, share: float) -> float:
        """Seconds for a batch of `batch` requests on the share `share` of the SMs, rounded to a nanosecond.

        Outside the fitted range (see `inside`) the formula is extrapolated.

        Raises
        ------
        ProfileError
            If `batch < 1` or `share` is not in (0, 1].
        """
        found = self._memo.get((batch, share))
        return found if found is not None else self._evaluate(batch, share)

    def measured(self, batch: int, share: float) -> float | None:
        """Return the raw measurement at exactly this batch and share, in seconds, or `None`."""
        return self._measured.get((batch, _grid(share)))

    def inside(self, batch: int, share: float) -> bool:
        """Whether the surface interpolates here, rather than extrapolates."""
        return (
            self.batches[0] <= batch <= self.batches[1]
            and self.shares[0] - SHARE_SLACK <= share <= self.shares[1] + SHARE_SLACK
        )

    def extrapolation(self) -> str | None:
        """Say what was asked for outside the fitted range since `forget`, furthest out; `None`: nothing."""
        return self._beyond.words()

    def forget(self) -> None:
        """Forget every answer and every question: what is asked from now on is this run's."""
        self._memo.clear()
        self._beyond.forget()

    def _evaluate(self, batch: int, share: float) -> float:
        if batch < 1:
            raise ProfileError(f"batch: found {batch}, allowed are integers from 1")
        check_share(share)
        floor_s = self.l0_s + self.f1_s * batch
        work_s = (self.w1_s * batch + self.w0_s) / min(share, 1.0)
        seconds = round(smooth_maximum(floor_s, work_s, self.g), ROUND_DIGITS)
        if not self.inside(batch, share):
            self._beyond.note(batch, share)
        if len(self._memo) >= MEMO_LIMIT:
            self._memo.clear()
        self._memo[batch, share] = seconds
        return seconds


def smooth_maximum(first: float, second: float, sharpness: float) -> float:
    """Return `(first^g + second^g)^(1/g)`: the sum at g = 1, towards the maximum as g grows.

    The larger number, which must be positive, is taken out of the power so that none can underflow.
    """
    larger, smaller = (first, second) if first > second else (second, first)
    return float(larger * (1.0 + (smaller / larger) ** sharpness) ** (1.0 / sharpness))


def check_sharpness(g: float) -> None:
    """Raise `ProfileError` unless `g` is a finite number from 1."""
    if not 1.0 <= g < math.inf:
        raise ProfileError(f"g: found {g}, allowed are finite numbers from 1")


def check_covariance(covariance: Covariance | None, coefficients: int) -> None:
    """Raise `ProfileError` unless a covariance has a row and a column for each coefficient, all finite."""
    if covariance is None:
        return
    shape = [len(row) for row in covariance]
    if shape != [coefficients] * coefficients:
        raise ProfileError(
            f"covariance: found rows of {shape}, allowed are {coefficients} rows of {coefficients}"
        )
    if not all(math.isfinite(cell) for row in covariance for cell in row):
        raise ProfileError("covariance: found a number that is not finite")


def check_share(share: float) -> None:
    """Raise `ProfileError` unless `share` is in (0, 1], rounding errors of a sum aside."""
    if not 0.0 < share <= 1.0 + SHARE_SLACK:
        raise ProfileError(f"share: found {share}, allowed are shares in (0, 1]")


def _grid(share: float) -> float:
    """Make 0.1 + 0.2 and 0.3 the same grid line."""
    return round(share, 6)
