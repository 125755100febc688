"""The shape of a week: a constant base, a hump a day, a lower one at the weekend."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traces.synthesis.published import PUBLISHED, Population

WEEK_HOURS = 168
_PEAK_HOUR = 16.0  # assumed: neither the paper's figure nor the data say in which zone they count hours
# Of a raised cosine. Assumed, to the nearest that leaves the weekend its own, lower hump.
_SHARPNESS = {"platform": 2, "released": 1}


def hourly_load(population: Population) -> NDArray[np.float64]:
    """Return float64[168]: the load of each hour from Monday 00:00, relative to the mean of the week.

    Lowest and highest are the published ones; how low the weekend is follows from the mean of 1.
    """
    low, high = PUBLISHED[population].hourly_load
    hours = np.arange(24) + 0.5
    cosine = np.cos((hours - _PEAK_HOUR - 0.5) * (2 * math.pi / 24))
    hump = ((1 + cosine) / 2) ** _SHARPNESS[population]
    weekend = (7 * (1 - low) / ((high - low) * float(hump.mean())) - 5) / 2
    days = [hump] * 5 + [hump * weekend] * 2
    return np.round(low + (high - low) * np.concatenate(days), 9)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the week, its hours and how much of the week's load falls into them.

    Attributes
    ----------
    edges_s
        float64[K + 1], 0, the full hours inside the window, and its end.
    mean_s
        float64[K + 1], seconds up to each edge, every one weighted by the load of its hour.
    """

    edges_s: NDArray[np.float64]
    mean_s: NDArray[np.float64]

    @classmethod
    def of(cls, population: Population, start_hour: float, hours: float) -> Window:
        """Return the window of some hours from `start_hour` after Monday 00:00; weeks repeat."""
        first = math.floor(start_hour) + 1
        inside = np.arange(first, math.ceil(start_hour + hours)) - start_hour
        edges_s = np.concatenate([[0.0], inside * 3600, [hours * 3600]])
        hour = (first - 1 + np.arange(edges_s.size - 1)) % WEEK_HOURS
        weighted_s = hourly_load(population)[hour] * np.diff(edges_s)
        return cls(edges_s, np.concatenate([[0.0], np.cumsum(weighted_s)]))

    def load(self, rate_rps: float, swing: float) -> NDArray[np.float64]:
        """Return the expected requests up to each edge, of a function that follows the week.

        Parameters
        ----------
        rate_rps
            The mean of a whole week.
        swing
            How far it departs from its mean, in departures of the hourly load.
        """
        return rate_rps * (self.edges_s + swing * (self.mean_s - self.edges_s))
