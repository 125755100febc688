"""Reader of rate series: a file of numbers, each the mean rate of one function over one step.

INFless (ASPLOS 2022) and Dilu (ASPLOS 2025, section 5) replay three such series of Azure functions, named
bursty, periodic and sporadic; StreamBox (USENIX ATC 2024) replays four of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from traces.errors import TraceError, shown
from traces.parameters import positive
from traces.processes import (
    MICROSECONDS,
    load_at,
    placed_on,
    regular,
    renewal,
    seconds,
    spread_evenly,
)
from traces.readers.source import Block, Progress, blocks, identity
from traces.readers.tables import number
from traces.streams import stream
from traces.trace import Trace

SeriesArrivals = Literal["even", "poisson", "gamma", "gamma-dilu"]
Per = Literal["second", "minute"]

MOST_VALUES: Final = 10**8
MOST_REQUESTS: Final = 10**9
"""Expected of a series, which then takes 8 GB."""

_LONGEST_S = 1e9  # thirty years; microseconds stay exact
_NUMBER = r"^[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?$"


def read_rate_series(
    path: Path | str,
    *,
    function: str | None = None,
    scale: float = 1.0,
    per: Per = "second",
    step_s: float = 1.0,
    arrivals: SeriesArrivals = "even",
    cv: float = 1.0,
    truncate: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Trace:
    """Read the rates of one function and lay arrivals on them.

    A file does not say what its numbers count. What is known of the published ones:

    * INFless, one number a line: the mean invocations a *minute* of an Azure function over successive ten
      minutes of a week (inferred: all are multiples of 0.1). As they were: `per="minute", step_s=600`. As
      Dilu replays them, one value a second, end to end: `scale=10, truncate=True` (5 to profile, 25 for its
      thresholds).
    * StreamBox, one line of whole numbers: `bursty-load` and `_bursty-load` look like requests a minute of a
      day of an Azure function; as they were: `per="minute", step_s=60`. StreamBox replays one value a second.
      `periodic-load` and `sporadic-load` are synthetic.

    Parameters
    ----------
    path
        Numbers from 0, separated by white space or line ends; plain, gzip or zstd.
    function
        The name of the function. Without it: the file's name up to its first dot.
    scale
        Factor on every value.
    per
        What a value times `scale` is: requests a second, or a minute.
    step_s
        How long each value lasts.
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
        The streams are those of (seed, `arrivals`, function); `even` draws nothing.
    progress
        Told how many bytes are read.

    Raises
    ------
    TraceError
        If the file cannot be read, a value is not a finite number from 0, a parameter is out of range, or
        there are more than `MOST_VALUES` values or `MOST_REQUESTS` expected requests.
    """
    _check_choices(per, arrivals, truncate)
    scale, step_s, cv = positive(scale, "scale"), positive(step_s, "step_s"), positive(cv, "cv")
    path = Path(path)
    name = path.name.split(".")[0] if function is None else function
    values = _read_values(path, progress)
    with np.errstate(over="ignore"):  # of what is refused below
        rate_rps = values * scale / (60 if per == "minute" else 1)
        _check_size(path, rate_rps, step_s)
    return Trace.from_functions(
        {name: _arrivals(rate_rps, step_s, arrivals, cv, truncate, seed, name)},
        duration_s=rate_rps.size * step_s,
        provenance={
            "source": "rate series",
            "files": [identity(path)],
            "transforms": [
                {"transform": "scale", "factor": scale},
                {"transform": "replay", "per": per, "step_s": step_s},
                {"transform": "arrivals", "kind": arrivals, "truncate": truncate}
                | ({} if arrivals == "even" else {"seed": int(seed)})
                | ({"cv": cv} if arrivals in ("gamma", "gamma-dilu") else {}),
            ],
        },
    )


def _check_choices(per: Per, arrivals: SeriesArrivals, truncate: bool) -> None:
    for field, found, choices in (("per", per, Per), ("arrivals", arrivals, SeriesArrivals)):
        if found not in get_args(choices):
            raise TraceError(f"found {shown(found)}, allowed are {', '.join(get_args(choices))}", field=field)
    if truncate and arrivals != "even":
        raise TraceError(f"is for arrivals='even', found arrivals={arrivals!r}", field="truncate")


def _check_size(path: Path, rate_rps: NDArray[np.float64], step_s: float) -> None:
    if not rate_rps.size * step_s <= _LONGEST_S:
        raise TraceError(
            f"found {rate_rps.size} values of {step_s:g} s, allowed are {_LONGEST_S:g} s in all", path=path
        )
    requests = float(rate_rps.sum()) * step_s
    if not requests <= MOST_REQUESTS:
        raise TraceError(
            f"expects {requests:.3g} requests, allowed are {MOST_REQUESTS:g}; lower scale or step_s",
            path=path,
        )


def _read_values(path: Path, progress: Progress | None) -> NDArray[np.float64]:
    parts: list[NDArray[np.float64]] = []
    count = 0
    for block in blocks(path, progress=progress):
        parts.append(_values(block, path))
        count += parts[-1].size
        if count > MOST_VALUES:
            raise TraceError(f"holds more than {MOST_VALUES} values", path=path)
    return np.concatenate(parts)


def _values(block: Block, path: Path) -> NDArray[np.float64]:
    texts = pa.array(block.data.split(), pa.binary()).cast(pa.string())
    if pc.all(pc.match_substring_regex(texts, _NUMBER), min_count=0).as_py():
        values: NDArray[np.float64] = texts.cast(pa.float64()).to_numpy()
        if np.isfinite(values).all():
            return values
    return np.array(
        [
            number(text.decode(), path=path, line=line, field="rate")
            for line, content in enumerate(block.data.split(b"\n"), start=block.first_line)
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
