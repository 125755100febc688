"""Bursts: a renewal process more variable than Poisson, whose requests are still apart."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_GRAIN = 2.0**-24  # of a mean gap: sums of whole grains are the same on any machine
_MOST_AT_A_TIME = 2**20


def bursts(load: float, cv: float, short_gap: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the points in [0, load) of a stationary process of rate 1 in bursts.

    Gaps are hyperexponential: inside a burst they have the mean `short_gap`, between bursts the mean and the
    chance that make the mean of all gaps 1 and their coefficient of variation `cv`. That is the on/off (or
    interrupted Poisson) process: bursts have a geometric number of requests, 1 + (cv^2 - 1) / (2 (1 -
    short_gap)^2) on average. Gamma gaps of the same variation would pile a burst up on one moment.

    Parameters
    ----------
    cv
        Above 1.
    short_gap
        Above 0 and below 1, in mean gaps.
    """
    excess = (cv**2 - 1) / 2
    pause_chance = (1 - short_gap) ** 2 / (excess + (1 - short_gap) ** 2)
    pause = (1 - (1 - pause_chance) * short_gap) / pause_chance

    def gaps(count: int, chance: float) -> NDArray[np.int64]:
        mean = np.where(rng.random(count) < chance, pause, short_gap)
        return np.rint(rng.standard_exponential(count) * mean / _GRAIN).astype(np.int64)

    # what is left of the gap that time 0 falls into: long gaps cover `chance * mean` of the time
    reached = int(gaps(1, pause_chance * pause)[0])
    points = [np.array([reached], dtype=np.int64)]
    end = math.ceil(load / _GRAIN)
    while reached < end:
        missing = (end - reached) * _GRAIN
        points.append(
            np.cumsum(gaps(int(missing + 4 * cv * math.sqrt(missing)) + 16, pause_chance)) + reached
        )
        reached = int(points[-1][-1])
    placed: NDArray[np.float64] = np.concatenate(points) * np.float64(_GRAIN)
    return placed[: np.searchsorted(placed, load)]
