"""Traces of any size and length with the statistics of Azure Functions in 2019."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from traces.columns import offsets_of
from traces.errors import TraceError, shown
from traces.parameters import nearest, number, whole
from traces.processes import MICROSECONDS, placed_on, renewal, seconds
from traces.streams import stream
from traces.synthesis.bursts import bursts
from traces.synthesis.population import DAY_S, Draw, Functions
from traces.synthesis.published import CITATION, PUBLISHED, Population
from traces.synthesis.week import WEEK_HOURS, Window
from traces.trace import Trace

MOST_REQUESTS: Final = 10**9
"""Expected; each takes 8 bytes."""

_MOST_FUNCTIONS = 1_000_000
_LEAST_HOURS, _MOST_HOURS = 1 / 3_600, 8_784.0  # a second, a leap year
_MOST_DRAWN = 1_000  # functions, for each that is invoked


def synthesize_azure(
    functions: int,
    hours: float,
    *,
    seed: int,
    population: Population = "platform",
    start_hour: float = 0.0,
    max_rate_rps: float | None = None,
    invoked_only: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Trace:
    """Synthesize a trace that has the published statistics of Azure Functions.

    M. Shahrad et al., Serverless in the Wild, USENIX ATC 2020: rates over nine orders of magnitude, timers
    that fire like clockwork beside functions in bursts, a load that follows the week. What is published, what
    is fitted or assumed, and how closely a trace matches stands in docs/synthesis.md.

    Every function draws from its own streams: the first 100 of 1,000 functions are, to the bit, the 100 that
    are drawn alone, and neither the window nor `invoked_only` changes a function's rate or attributes.

    Attributes of the trace: `execution_s` (mean), `memory_bytes` (of the whole application, which its
    functions share), `trigger`, `app`.

    Parameters
    ----------
    functions
        How many, up to 1,000,000.
    hours
        Length of the window, from a second up to a year. Rates are by the day, and 35 % of the functions have
        one request a day or fewer: in a short window many have none.
    population
        `platform`, all that the paper measured, or `released`, the subset that its authors made public.
    start_hour
        Hours after Monday 00:00 at which the window begins, below 168.
    max_rate_rps
        Leave out functions with a higher mean rate; from one request a day. `None` goes to the end of the
        fitted curve, some 3,200 (`platform`) and 6,100 (`released`) requests a second: one function may then
        make most of all requests, as happens on the platform.
    invoked_only
        Draw on until `functions` functions have a request in the window, and leave out those that have none,
        as samples of the public files do. Functions keep their numbers, which then have gaps.
    progress
        Told how many functions are done, and how many there will be.

    Raises
    ------
    TraceError
        If a parameter is out of range, more than 10^9 requests are to be expected, or the window is so short
        that fewer than one function in a thousand has a request and `invoked_only` asks for those.
    """
    count = _checked_functions(functions)
    hours = _checked_hours(hours)
    start_hour = number(start_hour, "start_hour", lambda h: 0 <= h < WEEK_HOURS, "from 0 and below 168")
    _check_population(population)
    window = Window.of(population, start_hour, hours)
    draw = Draw(population, seed=seed, most_per_day=_most_per_day(population, max_rate_rps))
    requests = _Requests()
    chosen: list[tuple[Functions, list[int]]] = []
    done = 0
    while done < count:
        if draw.drawn > _MOST_DRAWN * count:
            raise TraceError(
                f"found {hours:g}, in which {done:,} of {draw.drawn:,} functions have a request; allowed is "
                f"a window in which {count:,} have, or invoked_only=False",
                field="hours",
            )
        block = draw.next(count - done)
        requests.expect(_expected(block, window))
        places: list[int] = []
        for place in range(len(block.names)):
            arrival_us = _arrivals(block, place, window, seed)
            if arrival_us.size or not invoked_only:
                requests.add(arrival_us)
                places.append(place)
                done += 1
                if progress is not None:
                    progress(done, count)
        chosen.append((block, places))
    return Trace(
        functions=tuple(block.names[place] for block, places in chosen for place in places),
        offsets=offsets_of(requests.counts),
        arrival_s=requests.arrival_s(),
        duration_s=float(window.edges_s[-1]),
        attributes={
            name: np.concatenate([getattr(block, name)[places] for block, places in chosen])
            for name in ("execution_s", "memory_bytes", "trigger", "app")
        },
        provenance={
            "source": "synthesized",
            "citation": CITATION,
            "population": population,
            "functions": count,
            "hours": hours,
            "seed": int(seed),
            "start_hour": start_hour,
            "max_rate_rps": None if max_rate_rps is None else float(max_rate_rps),
            "invoked_only": bool(invoked_only),
            "transforms": [],
        },
    )


class _Requests:
    """The growing column of arrivals, allocated for what is expected and never held twice."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self._column = np.empty(0)
        self._filled = 0
        self._expected = 0.0

    def expect(self, more: float) -> None:
        """Make room, or refuse what would not fit in memory."""
        self._expected += more
        if self._expected > MOST_REQUESTS:
            raise TraceError(
                f"found parameters that make some {self._expected:.2g} requests, allowed are "
                f"{MOST_REQUESTS:.0e}: ask for fewer functions or hours, or a lower max_rate_rps",
                field="functions",
            )
        self._reserve(max(self._filled, int(self._expected)))

    def add(self, arrival_us: NDArray[np.int64]) -> None:
        """Append the arrivals of the next function."""
        end = self._filled + arrival_us.size
        if end > self._column.size:
            self._reserve(end + end // 8)
        self._column[self._filled : end] = seconds(arrival_us)
        self._filled = end
        self.counts.append(arrival_us.size)

    def arrival_s(self) -> NDArray[np.float64]:
        """Return the column, cut to what was added."""
        self._reserve(self._filled)
        return self._column

    def _reserve(self, size: int) -> None:
        # in place: the system moves pages where `np.concatenate` would copy
        self._column.resize(size, refcheck=False)


def _expected(functions: Functions, window: Window) -> float:
    return sum(
        float(window.load(per_day / DAY_S, swing)[-1])
        for per_day, swing in zip(functions.per_day, functions.swing, strict=True)
    )


def _arrivals(functions: Functions, place: int, window: Window, seed: int) -> NDArray[np.int64]:
    """Return the arrivals (microseconds, ascending) of one function."""
    rng = stream(seed, "azure arrivals", functions.names[place])
    if period_s := int(functions.period_s[place]):
        period_us = period_s * MICROSECONDS
        end_us = round(float(window.edges_s[-1]) * MICROSECONDS)
        return np.arange(rng.integers(period_us), end_us, period_us)
    load = window.load(float(functions.per_day[place]) / DAY_S, float(functions.swing[place]))
    cv = float(functions.gap_cv[place])
    if cv > 1:
        points = bursts(float(load[-1]), cv, float(functions.short_gap[place]), rng)
    else:
        points = renewal(float(load[-1]), cv, rng)
    return placed_on(points, window.edges_s, load)


def _checked_functions(functions: int) -> int:
    count = whole(functions, "functions", 1)
    if count > _MOST_FUNCTIONS:
        raise TraceError(f"found {shown(functions)}, allowed is up to {_MOST_FUNCTIONS:,}", field="functions")
    return count


def _checked_hours(hours: float) -> float:
    return number(
        hours,
        "hours",
        lambda h: _LEAST_HOURS <= h <= _MOST_HOURS,
        f"1/3600 (a second) to {_MOST_HOURS:,.0f} (a year)",
    )


def _check_population(population: Population) -> None:
    known = get_args(Population)
    if population not in known:
        raise TraceError(
            f"found {shown(population)}, allowed are {', '.join(known)}{nearest(str(population), known)}",
            field="population",
        )


def _most_per_day(population: Population, max_rate_rps: float | None) -> float:
    if max_rate_rps is None:
        return PUBLISHED[population].per_day.values[-1]
    return DAY_S * number(
        max_rate_rps, "max_rate_rps", lambda rps: rps * DAY_S >= 1, "from 1/86400 (one request a day)"
    )
