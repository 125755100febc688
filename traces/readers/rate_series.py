"""Reader of rate series: a file of numbers, each the mean rate of one function over one step.

INFless (ASPLOS 2022) and Dilu (ASPLOS 2025, section 5) replay three such series of Azure functions, named
bursty, periodic and sporadic.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from traces.errors import TraceError, shown
from traces.processes import (
    MICROSECONDS,
    load_at,
    placed_on,
    regular,
    renewal,
    seconds,
    spread_evenly,
)
from traces.readers.source import read_text
from traces.readers.tables import number
from traces.streams import stream
from traces.trace import Trace

SeriesArrivals = Literal["even", "poisson", "gamma", "gamma-dilu"]


def read_rate_series(
    path: Path | str,
    *,
    function: str,
    scale: float = 1.0,
    step_s: float = 1.0,
    arrivals: SeriesArrivals = "even",
    cv: float = 1.0,
    truncate: bool = False,
    seed: int,
) -> Trace:
    """Read the rates of one function and lay arrivals on them.

    Parameters
    ----------
    path
        Numbers from 0, separated by white space or line ends.
    function
        The name of the function in the trace.
    scale
        Factor on every value; the product is the mean rate in requests a second. Dilu's artifact uses 10 end
        to end and 25 for its thresholds.
    step_s
        How long each value lasts; Dilu replays one value a second.
    arrivals
        `even`
            One arrival each time the cumulative load passes another whole request (less a half): equal
            distances inside a step, and fractions carried over so that no load is lost.
        `poisson`
            A Poisson process of the series' rate.
        `gamma`
            A renewal process with gamma gaps of true coefficient of variation `cv`, on the axis of load.
        `gamma-dilu`
            What the generator of Dilu's artifact does: the count of a step of mean m is drawn from
            Gamma(shape=m/cv^2, scale=cv^2), cut to a whole number, and spaced evenly inside the step. Its
            variance is m * cv^2: the true coefficient of variation of the counts is cv / sqrt(m), far milder
            than `cv` says ("6" at 64 requests a second is 0.75), and cutting loses about half a request a
            step.
    cv
        For `gamma` and `gamma-dilu`.
    truncate
        With `even`: cut the load of each step to a whole number, as Dilu's artifact does, instead of carrying
        the fraction over. A rate below one request a step then sends nothing.
    seed
        The streams are those of (seed, `arrivals`, `function`); `even` draws nothing.

    Raises
    ------
    TraceError
        If the file cannot be read, a value is not a finite number from 0, or a parameter is out of range.
    """
    _check_parameters(scale, step_s, arrivals, cv, truncate)
    path = Path(path)
    values = _read_values(path)
    rate_rps = values * scale
    return Trace.from_functions(
        {function: _arrivals(rate_rps, step_s, arrivals, cv, truncate, seed, function)},
        duration_s=rate_rps.size * step_s,
        provenance={
            "source": "rate series",
            "files": [{"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}],
            "transforms": [
                {"transform": "scale", "factor": scale},
                {"transform": "replay", "step_s": step_s},
                {"transform": "arrivals", "kind": arrivals, "truncate": truncate}
                | ({} if arrivals == "even" else {"seed": int(seed)})
                | ({"cv": cv} if arrivals in ("gamma", "gamma-dilu") else {}),
            ],
        },
    )


def _check_parameters(scale: float, step_s: float, arrivals: str, cv: float, truncate: bool) -> None:
    for field, value in (("scale", scale), ("step_s", step_s), ("cv", cv)):
        if not (math.isfinite(value) and value > 0):
            raise TraceError(f"found {shown(value)}, allowed is a finite number above 0", field=field)
    if arrivals not in get_args(SeriesArrivals):
        raise TraceError(
            f"found {shown(arrivals)}, allowed are {', '.join(get_args(SeriesArrivals))}", field="arrivals"
        )
    if truncate and arrivals != "even":
        raise TraceError(f"is for arrivals='even', found arrivals={arrivals!r}", field="truncate")


def _read_values(path: Path) -> NDArray[np.float64]:
    lines = read_text(path).split("\n")
    return np.array(
        [
            number(text, path=path, line=line, field="rate")
            for line, content in enumerate(lines, start=1)
            for text in content.split()
        ]
    )


def _arrivals(
    rate_rps: NDArray[np.float64],
    step_s: float,
    arrivals: SeriesArrivals,
    cv: float,
    truncate: bool,
    seed: int,
    function: str,
) -> NDArray[np.float64]:
    if truncate:
        return _evenly_counted(rate_rps * step_s, step_s)
    if arrivals == "gamma-dilu":
        rng = stream(seed, arrivals, function)
        return _evenly_counted(rng.gamma(rate_rps * step_s / cv**2, cv**2), step_s)
    edges_s = np.arange(rate_rps.size + 1, dtype=np.float64) * step_s
    load = load_at(edges_s, rate_rps)
    if arrivals == "even":
        points = regular(float(load[-1]), phase=0.5)
    else:
        true_cv = cv if arrivals == "gamma" else 1.0
        points = renewal(float(load[-1]), true_cv, stream(seed, arrivals, function))
    return seconds(placed_on(points, edges_s, load))


def _evenly_counted(load: NDArray[np.float64], step_s: float) -> NDArray[np.float64]:
    return seconds(spread_evenly(np.trunc(load).astype(np.int64), round(step_s * MICROSECONDS)))
