"""Cumulative distributions known at a few points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Curve:
    """A cumulative distribution read at K points, a straight line in between on a linear or log axis.

    What lies at or below the first point lies on it.

    Attributes
    ----------
    values
        K values, ascending, in the unit of whatever is distributed; above 0 on a log axis.
    shares
        The part of the population at or below each of them, rising to 1.
    logarithmic
        Whether the axis of values is logarithmic.
    """

    values: Sequence[float]
    shares: Sequence[float]
    logarithmic: bool = True

    def value_at(self, share: ArrayLike) -> NDArray[np.float64]:
        """Return the value that a share of the population does not exceed: the inverse."""
        position = np.interp(np.asarray(share, dtype=np.float64), self.shares, self._axis(self.values))
        return _exact(np.exp(position)) if self.logarithmic else position

    def share_at(self, value: ArrayLike) -> NDArray[np.float64]:
        """Return the share of the population at or below a value, 0 below the first point."""
        share = np.interp(self._axis(value), self._axis(self.values), self.shares)
        return np.where(np.asarray(value) < self.values[0], 0.0, share)

    def _axis(self, values: ArrayLike) -> NDArray[np.float64]:
        axis = np.asarray(values, dtype=np.float64)
        return np.log(axis) if self.logarithmic else axis


def _exact(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # twelve digits: the last bits of an exponential differ between machines
    scale = 10.0 ** (11 - np.floor(np.log10(values)))
    return np.round(values * scale) / scale
