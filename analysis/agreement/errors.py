"""The error of the simulated world over repeats, with its interval of confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from statistics import fmean, stdev
from typing import Final

from scipy.special import stdtrit

from analysis.agreement.measures import MEASURES, Measure, Values

CONFIDENCE: Final = 0.95


def half_width(values: Sequence[float]) -> float | None:
    """Return half the width of the interval of confidence around a mean; `None` of fewer than two values.

    Student's t with n - 1 degrees of freedom: values of repeats, which have seeds of their own, are
    independent, and taken for normally distributed.
    """
    if len(values) < 2:
        return None
    quantile = float(stdtrit(len(values) - 1, 0.5 + CONFIDENCE / 2))
    return quantile * stdev(values) / sqrt(len(values))


@dataclass(frozen=True)
class Agreement:
    """One measure of one function (`None`: of all together) in both worlds, a pair of values a repeat.

    `sim` and `real` hold the repeats in which at least one world has the measure; `None` where it has not.
    """

    function: str | None
    measure: Measure
    sim: tuple[float | None, ...]
    real: tuple[float | None, ...]

    @cached_property
    def errors(self) -> tuple[float, ...]:
        """The error of each repeat in which there is one; see `Measure.error`."""
        pairs = zip(self.sim, self.real, strict=True)
        found = (self.measure.error(s, r) for s, r in pairs if s is not None and r is not None)
        return tuple(error for error in found if error is not None)

    @property
    def incomparable(self) -> int:
        """Repeats in which only one world has a value, or the real world's is 0 and the other's is not."""
        return len(self.sim) - len(self.errors)

    @property
    def n(self) -> int:
        """Repeats that have an error."""
        return len(self.errors)

    @property
    def mean_error(self) -> float | None:
        """Mean error over repeats, with its sign: positive where the simulator says more."""
        return fmean(self.errors) if self.errors else None

    @property
    def absolute_error(self) -> float | None:
        """Mean over repeats of the error without its sign: errors of opposite signs do not cancel."""
        return fmean(map(abs, self.errors)) if self.errors else None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval of confidence around `mean_error`: see `half_width`."""
        return half_width(self.errors)

    @property
    def sim_mean(self) -> float | None:
        """Mean of the simulated values."""
        return _mean(self.sim)

    @property
    def real_mean(self) -> float | None:
        """Mean of the real values."""
        return _mean(self.real)


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if there else None


def agreements(pairs: Sequence[tuple[Values, Values]]) -> tuple[Agreement, ...]:
    """Put what `values_of` says of pairs of runs side by side.

    Parameters
    ----------
    pairs
        The simulated and the real values of each repeat.

    Returns
    -------
    tuple of Agreement
        All functions together first, then each function in its order, in the order of `MEASURES`.
    """
    functions = dict.fromkeys(
        function for pair in pairs for values in pair for function, _ in values if function is not None
    )
    found = []
    for function in (None, *functions):
        for measure in MEASURES:
            both = [tuple(values.get((function, measure.name)) for values in pair) for pair in pairs]
            there = [(sim, real) for sim, real in both if sim is not None or real is not None]
            if there:
                sims, reals = zip(*there, strict=True)
                found.append(Agreement(function, measure, sims, reals))
    return tuple(found)
