"""Functions drawn from the published population: how often, how regularly, how long, what for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy  # its parts are loaded when they are used: they take long
from numpy.typing import NDArray

from traces.streams import stream
from traces.synthesis.curves import Curve
from traces.synthesis.published import (
    APPLICATION_FUNCTIONS,
    DAYS_OBSERVED,
    GAP_CV,
    LN_EXECUTION_S,
    MEMORY_C,
    MEMORY_K,
    MEMORY_LIMIT_MB,
    MEMORY_SCALE_MB,
    PUBLISHED,
    TIMER_PERIOD_S,
    TIMER_SHARE,
    Population,
)

DAY_S = 86_400
_MEGABYTE = 2**20

# Assumed: gaps that vary less than this are those of a load that does not swing, since the swing alone would
# make them vary as much. The rest follow the shape of the week so strongly that the whole has it: between not
# at all and twice the mean.
_LEAST_SWINGING_CV = 0.25
_MOST_SWING = 2 / (1 - float(GAP_CV.share_at(_LEAST_SWINGING_CV)))
# Mean gap inside a burst over the mean gap. Fitted to a sample of 500 functions (docs/synthesis.md).
_SHORT_GAP = Curve(values=(0.01, 0.2), shares=(0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Functions:
    """Columns of F functions.

    Attributes
    ----------
    names, app, trigger
        What it is called, the application it belongs to, what sets it off.
    per_day
        Mean requests a day.
    period_s
        Of a timer; 0 for any other trigger.
    gap_cv
        Coefficient of variation of the gaps at constant load; 0 for a timer.
    short_gap
        Mean gap inside a burst, in mean gaps, where `gap_cv` is above 1.
    swing
        How strongly it follows the shape of the week; 0 for a timer and other steady loads.
    execution_s, memory_bytes
        Mean execution time of a request; allocated memory of its application.
    """

    names: tuple[str, ...]
    app: NDArray[np.str_]
    trigger: NDArray[np.str_]
    per_day: NDArray[np.float64]
    period_s: NDArray[np.int64]
    gap_cv: NDArray[np.float64]
    short_gap: NDArray[np.float64]
    swing: NDArray[np.float64]
    execution_s: NDArray[np.float64]
    memory_bytes: NDArray[np.float64]


class Draw:
    """Functions drawn one after the other; which ones does not depend on how many are asked for at a time.

    Parameters
    ----------
    most_per_day
        Functions with more requests are left out: the others keep their published proportions.
    """

    def __init__(self, population: Population, *, seed: int, most_per_day: float) -> None:
        self._population = population
        self._seed = seed
        self._most_per_day = most_per_day
        self._applications = _applications(seed)
        self.drawn = 0

    def next(self, count: int) -> Functions:
        """Return the next `count` functions."""
        names = tuple(f"function-{number:07d}" for number in range(self.drawn, self.drawn + count))
        self.drawn += count
        members = list(itertools.islice(self._applications, count))
        # one column a property: a property added at the end leaves the others as they are
        draws = np.array([stream(self._seed, "azure function", name).random(8) for name in names])
        of_timer, of_period, of_rate, of_trigger, of_cv, of_gap, of_swing, of_execution = draws.T
        is_timer = of_timer < _timer_chance(self._population, self._most_per_day)
        period_s = np.where(is_timer, _timer_periods(of_period, self._most_per_day), 0)
        rates = without_timers(self._population)
        other_per_day = rates.value_at(of_rate * rates.share_at(self._most_per_day))
        per_day = np.where(is_timer, DAY_S / np.maximum(period_s, 1), other_per_day)
        # so many gaps as two weeks hold cannot vary more, and none above was measured
        largest_cv = np.maximum(1.0, np.sqrt(DAYS_OBSERVED * per_day))
        gap_cv = np.where(is_timer, 0.0, GAP_CV.value_at(of_cv * GAP_CV.share_at(largest_cv)))
        return Functions(
            names=names,
            app=np.array([name for name, _ in members]),
            trigger=np.where(is_timer, "timer", _triggers(self._population, other_per_day, of_trigger)),
            per_day=per_day,
            period_s=period_s,
            gap_cv=gap_cv,
            short_gap=_SHORT_GAP.value_at(of_gap),
            swing=np.where(gap_cv < _LEAST_SWINGING_CV, 0.0, of_swing * _MOST_SWING),
            execution_s=_execution_s(of_execution),
            memory_bytes=_memory_bytes(np.array([memory for _, memory in members])),
        )


@cache
def without_timers(population: Population) -> Curve:
    """Return the functions that are no timers by their requests a day: the published curve less timers."""
    published = PUBLISHED[population]
    timers = timer_share(population)
    values = np.array(published.per_day.values)
    others = (np.array(published.per_day.shares) - timers * _timers_up_to(values)) / (1 - timers)
    return Curve(values=tuple(values), shares=tuple(others))


def timer_share(population: Population) -> float:
    """Return the part of the functions that are timers."""
    percent = PUBLISHED[population].functions_by_trigger
    return percent["timer"] / sum(percent.values())


def _timers_up_to(per_day: NDArray[np.float64]) -> NDArray[np.float64]:
    fires = DAY_S / np.array(TIMER_PERIOD_S)
    rounded_up = per_day[:, np.newaxis] * (1 + 1e-12)  # a timer's own rate, given by the second, is its own
    share: NDArray[np.float64] = (fires <= rounded_up) @ np.array(TIMER_SHARE)
    return share


def _timer_chance(population: Population, most_per_day: float) -> float:
    timers = timer_share(population) * float(_timers_up_to(np.array([most_per_day]))[0])
    others = (1 - timer_share(population)) * float(without_timers(population).share_at(most_per_day))
    return timers / (timers + others)


def _timer_periods(draws: NDArray[np.float64], most_per_day: float) -> NDArray[np.int64]:
    upto = np.cumsum(TIMER_SHARE)
    allowed = float(_timers_up_to(np.array([most_per_day]))[0])
    place = np.searchsorted(upto, draws * allowed, side="right")
    return np.array(TIMER_PERIOD_S)[np.minimum(place, len(TIMER_PERIOD_S) - 1)]


def _triggers(
    population: Population, per_day: NDArray[np.float64], draws: NDArray[np.float64]
) -> NDArray[np.str_]:
    names, chances = trigger_chances(population, per_day)
    place = (draws[:, np.newaxis] >= np.cumsum(chances, axis=1)[:, :-1]).sum(axis=1)
    chosen: NDArray[np.str_] = np.array(names)[place]
    return chosen


def trigger_chances(
    population: Population, per_day: NDArray[np.float64]
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the triggers but `timer`, and float64[F, T], the chance of each at so many requests a day."""
    tilt = PUBLISHED[population].rate_tilt
    odds = np.exp([a + b * np.log10(per_day) for a, b in tilt.values()]).T
    return tuple(tilt), odds / odds.sum(axis=1, keepdims=True)


def _applications(seed: int) -> Iterator[tuple[str, float]]:
    """Return for one function after the other its application, and where in the CDF its memory lies."""
    for number in itertools.count():
        name = f"app-{number:07d}"
        of_size, of_memory = stream(seed, "azure application", name).random(2)
        functions = int(np.ceil(APPLICATION_FUNCTIONS.value_at(of_size)))
        yield from itertools.repeat((name, float(of_memory)), functions)


def _execution_s(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    mean, deviation = LN_EXECUTION_S
    # ndtri(0) is minus infinity
    microseconds = np.rint(np.exp(mean + deviation * scipy.special.ndtri(draws)) * 1e6)
    execution_s: NDArray[np.float64] = np.maximum(microseconds, 1.0) / 1e6
    return execution_s


def _memory_bytes(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    below_limit = 1 - (1 + (MEMORY_LIMIT_MB / MEMORY_SCALE_MB) ** MEMORY_C) ** -MEMORY_K
    free = (1 - draws * below_limit) ** (-1 / MEMORY_K) - 1
    memory_bytes: NDArray[np.float64] = np.rint(MEMORY_SCALE_MB * free ** (1 / MEMORY_C) * _MEGABYTE)
    return memory_bytes
