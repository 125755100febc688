"""Reader of ServeGen: how often the clients of production LLMs sent requests, and how evenly.

Y. Xiang et al., ServeGen: Workload Characterization and Generation of Large Language Model Serving in
Production, arXiv 2505.09999. Format and data: github.com/alibaba/ServeGen (Apache-2.0).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from traces.columns import offsets_of
from traces.errors import TraceError, shown
from traces.parameters import number, positive, whole
from traces.processes import MICROSECONDS, placed_on, renewal, seconds
from traces.readers.servegen_pool import WINDOW_S, Client, Pool, read_pool
from traces.readers.source import Progress
from traces.streams import stream
from traces.trace import Trace

Arrivals = Literal["renewal", "poisson"]

MOST_REQUESTS: Final = 10**9
"""Expected of one trace, which then takes 16 GB."""

_WINDOW_US = WINDOW_S * MICROSECONDS
_GRAIN = 2.0**-24  # of a mean gap, as in `renewal`


class _Requests(NamedTuple):
    """Columns of the requests of one client."""

    arrival_s: NDArray[np.float64]
    input_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]


def read_servegen(
    path: Path | str,
    *,
    start_s: float = 0.0,
    duration_s: float = 86400.0,
    clients: int | None = None,
    scale: float = 1.0,
    arrivals: Arrivals = "renewal",
    seed: int = 0,
    progress: Progress | None = None,
) -> Trace:
    """Lay arrivals on the rates of a pool of clients, each a function named `client-<number>`.

    Each window of a client is a stationary process of its own, whose expected number of requests is exactly
    that of the file times `scale`. It draws from the stream of (seed, "servegen", client and window): it does
    not depend on other clients, nor on which part of the pool is read. Time 0 is `start_s`. Attributes:
    `mean_rate_rps`, expected over what is read.

    A pool that says what requests are made of gives tokens: of its input (text, and all images, audio and
    video together) and output, drawn independently from the distributions of the latest window that has
    some; 0 for a request before the first one.

    Parameters
    ----------
    path
        A folder or a tar archive (plain, gzip, zstd) of `chunk-<client>-trace.csv` and
        `chunk-<client>-dataset.json`. Archives are not unpacked to disk.
    start_s, duration_s
        Which part of the pool to read; the trace ends with the pool if that is earlier. Pools of language
        models cover 14 days and hundreds of millions of requests, or more.
    clients
        Read those with the most requests in this part only; `None` reads all. They keep the order of their
        numbers.
    scale
        Factor on all rates.
    arrivals
        `renewal`: independent gaps with the window's distribution, gamma or Weibull of the file's shape. The
        file's scale is replaced by that of the rate; the two disagree where a client was active in part of a
        window only, or the fit is rough. The coefficient of variation is that of the distribution;
        for Weibull gaps the one measured is often larger (in the median by a quarter), of a few long gaps
        that the fit leaves out. `poisson`: the rates alone.
    seed
        Of arrivals and tokens.
    progress
        Told how many requests are laid out, and how many there will be; what takes the time is not reading.

    Raises
    ------
    TraceError
        If the pool is not what the format says (`servegen_pool.read_pool`), a parameter is out of range, or
        more than `MOST_REQUESTS` are to be expected.
    """
    start_s = number(start_s, "start_s", lambda value: value >= 0, "a finite number from 0")
    duration_s, scale = positive(duration_s, "duration_s"), positive(scale, "scale")
    clients = None if clients is None else whole(clients, "clients", least=1)
    if arrivals not in get_args(Arrivals):
        raise TraceError(
            f"found {shown(arrivals)}, allowed are {', '.join(get_args(Arrivals))}", field="arrivals"
        )
    path = Path(path)
    pool = read_pool(path)
    start_us, end_us = _part(path, pool, start_s, duration_s)
    expected = _expected(pool, start_us, end_us) * scale
    chosen = _busiest(path, expected, clients)
    total = math.fsum(expected[chosen])
    if total > MOST_REQUESTS:
        raise TraceError(
            f"expects {total:.3g} requests, allowed are {MOST_REQUESTS:g}; "
            "lower duration_s, clients or scale",
            path=path,
        )
    parts: list[_Requests] = []
    for done, position in enumerate(chosen, start=1):
        parts.append(_requests(pool.clients[position], start_us, end_us, scale, arrivals, seed))
        if progress is not None:
            progress(round(math.fsum(expected[chosen[:done]])), round(total))
    has_tokens = any(pool.clients[position].token_windows for position in chosen)
    duration_s = (end_us - start_us) / MICROSECONDS
    return Trace(
        functions=tuple(f"client-{pool.clients[position].number}" for position in chosen),
        offsets=offsets_of([part.arrival_s.size for part in parts]),
        arrival_s=np.concatenate([part.arrival_s for part in parts]),
        duration_s=duration_s,
        input_tokens=np.concatenate([part.input_tokens for part in parts]) if has_tokens else None,
        output_tokens=np.concatenate([part.output_tokens for part in parts]) if has_tokens else None,
        attributes={"mean_rate_rps": expected[chosen] / duration_s},
        provenance={
            "source": "ServeGen",
            "citation": "Xiang et al., ServeGen, arXiv 2505.09999",
            "licence": "Apache-2.0, https://www.apache.org/licenses/LICENSE-2.0",
            "files": pool.files,
            "pool": _described(pool),
            "read": {"start_s": start_us / MICROSECONDS, "duration_s": duration_s, "clients": len(chosen)},
            "transforms": [
                {"transform": "scale", "factor": scale},
                {"transform": "arrivals", "kind": arrivals, "seed": int(seed)},
            ],
        },
    )


def _part(path: Path, pool: Pool, start_s: float, duration_s: float) -> tuple[int, int]:
    """Return where the part that is read begins and ends, in microseconds."""
    first_s = int(pool.start_s[0])
    if not first_s <= start_s < pool.end_s:
        raise TraceError(
            f"found {start_s}, allowed is from {first_s} and below {pool.end_s}, the end of the pool",
            path=path,
            field="start_s",
        )
    start_us = round(start_s * MICROSECONDS)
    end_us = round(min(start_s + duration_s, pool.end_s) * MICROSECONDS)
    if end_us <= start_us:
        raise TraceError(f"found {duration_s}, allowed is a microsecond or more", field="duration_s")
    return start_us, end_us


def _expected(pool: Pool, start_us: int, end_us: int) -> NDArray[np.float64]:
    """Return float64[C], the requests of each client between two times."""
    begin_us = pool.start_s * MICROSECONDS
    within_us = np.clip(begin_us + _WINDOW_US, start_us, end_us) - np.clip(begin_us, start_us, end_us)
    return np.array([math.fsum(requests) for requests in pool.rate_rps * seconds(within_us)])


def _busiest(path: Path, expected: NDArray[np.float64], clients: int | None) -> list[int]:
    """Return the positions of the clients that expect most, of equals the first ones, in ascending order."""
    if clients is None:
        return list(range(expected.size))
    if clients > expected.size:
        raise TraceError(
            f"found {clients}, allowed are up to the {expected.size} of the pool", path=path, field="clients"
        )
    return sorted(np.argsort(-expected, kind="stable")[:clients].tolist())


def _requests(
    client: Client, start_us: int, end_us: int, scale: float, arrivals: Arrivals, seed: int
) -> _Requests:
    windows = client.windows
    windows_us = windows.start_s * MICROSECONDS
    touched = (windows.rate_rps > 0) & (windows_us < end_us) & (windows_us + _WINDOW_US > start_us)
    parts = [_Requests(np.empty(0), np.empty(0, np.int32), np.empty(0, np.int32))]
    for window in np.flatnonzero(touched):
        name = f"client {client.number} window {windows.start_s[window]}"
        load = float(windows.rate_rps[window]) * WINDOW_S * scale
        rng = stream(seed, "servegen", name)
        if arrivals == "poisson":
            points = renewal(load, 1.0, rng)
        elif windows.is_weibull[window]:
            points = weibull_renewal(load, float(windows.shape[window]), rng)
        else:
            points = renewal(load, 1 / math.sqrt(windows.shape[window]), rng)
        time_us = placed_on(points, np.array([0.0, WINDOW_S]), np.array([0.0, load]))
        time_us += windows_us[window] - start_us
        tokens = _tokens(client, windows.start_s[window], time_us.size, seed, name)
        inside = slice(*np.searchsorted(time_us, [0, end_us - start_us]))
        parts.append(_Requests(seconds(time_us[inside]), *(column[inside] for column in tokens)))
    return _Requests(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _tokens(
    client: Client, time_s: float, size: int, seed: int, name: str
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Draw input and output tokens; 0 where it is unknown what requests are made of."""
    known = client.tokens_at(time_s)
    if known is None:
        return np.zeros(size, np.int32), np.zeros(size, np.int32)
    inputs, outputs = known.draw(size, stream(seed, "servegen tokens", name))
    return inputs.astype(np.int32), outputs.astype(np.int32)


def weibull_renewal(load: float, shape: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the points in [0, load) of a stationary renewal process of rate 1 with Weibull gaps.

    What `renewal` is for gamma gaps, and on the same grid. The first gap is a uniform part of a length-biased
    gap: if `x` has Weibull density, `x` times that density is the one of a power of a gamma variable.
    """
    unit = 1 / math.gamma(1 + 1 / shape)  # a scale whose mean gap is 1
    cv = math.sqrt(math.gamma(1 + 2 / shape) * unit**2 - 1)
    first = rng.random() * rng.standard_gamma(1 + 1 / shape) ** (1 / shape) * unit
    end = math.ceil(load / _GRAIN)
    reached = round(min(first, load + 1) / _GRAIN)
    points = [np.array([reached], dtype=np.int64)]
    while reached < end:
        missing = (end - reached) * _GRAIN
        gaps = rng.weibull(shape, size=int(missing + 4 * cv * math.sqrt(missing)) + 16) * unit
        steps = np.rint(np.minimum(gaps, load + 1) / _GRAIN).astype(np.int64)
        points.append(np.cumsum(steps) + reached)
        reached = int(points[-1][-1])
    placed: NDArray[np.float64] = np.concatenate(points) * np.float64(_GRAIN)
    return placed[: np.searchsorted(placed, load)]


def _described(pool: Pool) -> dict[str, Any]:
    """Return what there is in a pool, read or not."""
    total_rps = pool.rate_rps.sum(axis=0)
    weibull = sum(int(client.windows.is_weibull.sum()) for client in pool.clients)
    active = int(np.count_nonzero(pool.rate_rps))
    return {
        "clients": len(pool.clients),
        "start_s": int(pool.start_s[0]),
        "end_s": pool.end_s,
        "mean_rate_rps": math.fsum(total_rps) / total_rps.size,
        "highest_rate_rps": float(total_rps.max()),
        "windows": {"idle": pool.rate_rps.size - active, "gamma": active - weibull, "weibull": weibull},
    }
