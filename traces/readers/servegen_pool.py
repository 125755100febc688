"""A pool of ServeGen clients: how many requests each of them sent in each ten minutes, and how evenly."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from traces.errors import TraceError
from traces.readers.archive import Entry, entries, identities
from traces.readers.servegen_tokens import TokenWindow, read_token_windows
from traces.readers.tables import Batch

WINDOW_S: Final = 600

_COLUMNS = ("window_start_s", "rate", "cv", "pattern", "p1", "p2")
_FILE = re.compile(r"chunk-([0-9]{1,9})-(trace\.csv|dataset\.json)")
_LATEST_S = 10**9
_HIGHEST_RATE_RPS = 1e7
_LARGEST_CV = 100.0  # of gamma gaps, as in `renewal`; published pools reach 10
_SMALLEST_SHAPE, _LARGEST_SHAPE = 0.1, 100.0  # of Weibull gaps; published pools have 0.16 to 7.9
_ROUNDING = 1e-6  # requests of a window
_SHAPE_ROUNDING = 1e-5  # published pools agree to 1e-6


@dataclass(frozen=True, slots=True)
class Windows:
    """The requests of one client in W windows, `WINDOW_S` each, without a gap.

    Attributes
    ----------
    start_s
        int64[W], the start of each window.
    rate_rps
        float64[W], requests a second; 0 where the client is idle.
    is_weibull
        bool[W]: gaps between requests have a Weibull distribution, otherwise a gamma distribution.
    shape
        float64[W], of that distribution; NaN where the client is idle.
    """

    start_s: NDArray[np.int64]
    rate_rps: NDArray[np.float64]
    is_weibull: NDArray[np.bool_]
    shape: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Client:
    """One client: the number in the names of its files, its requests, and what they are made of, if known."""

    number: int
    windows: Windows
    token_windows: tuple[TokenWindow, ...]

    def tokens_at(self, time_s: float) -> TokenWindow | None:
        """Return what requests are made of at a time; none if nothing was seen until then."""
        return next((window for window in reversed(self.token_windows) if window.start_s <= time_s), None)


@dataclass(frozen=True, slots=True)
class Pool:
    """All clients of one model, by number, with the same windows; name and SHA-256 of what was read."""

    clients: tuple[Client, ...]
    files: list[dict[str, str]]

    @property
    def start_s(self) -> NDArray[np.int64]:
        """int64[W], the start of each window."""
        return self.clients[0].windows.start_s

    @property
    def end_s(self) -> int:
        """Where the last window ends."""
        return int(self.start_s[-1]) + WINDOW_S

    @property
    def rate_rps(self) -> NDArray[np.float64]:
        """float64[C, W], the rates of all clients."""
        return np.stack([client.windows.rate_rps for client in self.clients])


def read_pool(path: Path) -> Pool:
    """Read the files `chunk-<client>-trace.csv` and `chunk-<client>-dataset.json` of a folder or tar archive.

    A trace has a row a window and no header: start (s), rate (requests/s), coefficient of variation of the
    gaps, `Gamma` or `Weibull` or nothing where the rate is 0, and the shape and scale (s) of that
    distribution. Other files are passed over.

    Raises
    ------
    TraceError
        If there is no such file, or a file is not what is said here and by `read_token_windows`; if a client
        stands twice or has no trace, or clients differ in their windows; and as `entries`.
    """
    windows: dict[int, Windows] = {}
    tokens: dict[int, tuple[TokenWindow, ...]] = {}
    paths: dict[int, Path] = {}
    names: list[str] = []
    for entry in entries(path, _FILE.fullmatch):
        match = _FILE.fullmatch(entry.name)
        assert match is not None, "no other file is wanted"
        number, is_trace = int(match[1]), match[2] == "trace.csv"
        if number in (windows if is_trace else tokens):
            raise TraceError(f"stands twice for client {number}; is it more than one pool?", path=entry.path)
        if is_trace:
            windows[number] = _read_windows(entry)
            paths[number] = entry.path
        else:
            tokens[number] = read_token_windows(entry)
        names.append(entry.name)
    if not windows:
        raise TraceError("holds no file named chunk-<client>-trace.csv", path=path)
    if alone := sorted(tokens.keys() - windows.keys()):
        raise TraceError(f"holds a dataset and no trace of client {alone[0]}", path=path)
    _check_same_windows(windows, paths)
    clients = tuple(Client(number, windows[number], tokens.get(number, ())) for number in sorted(windows))
    return Pool(clients, identities(path, names))


def _check_same_windows(windows: dict[int, Windows], paths: dict[int, Path]) -> None:
    first = min(windows)
    expected = windows[first].start_s
    for number, found in sorted(windows.items()):
        if not np.array_equal(found.start_s, expected):
            raise TraceError(
                f"found windows from {found.start_s[0]} to {found.start_s[-1]} s, "
                f"allowed are those of client {first}, from {expected[0]} to {expected[-1]} s",
                path=paths[number],
            )


def _read_windows(entry: Entry) -> Windows:
    batch = _columns(entry)
    start_s = batch.whole_numbers("window_start_s", most=_LATEST_S)
    off = np.concatenate([[start_s[0] % WINDOW_S != 0], np.diff(start_s) != WINDOW_S])
    _check(batch, ~off, "window_start_s", f"windows of {WINDOW_S} s, each {WINDOW_S} s after the one before")
    rate_rps = batch.numbers("rate", most=_HIGHEST_RATE_RPS)
    requests = rate_rps * WINDOW_S
    whole = abs(requests - np.rint(requests)) <= _ROUNDING * np.maximum(requests, 1)
    _check(batch, whole, "rate", f"a rate of a whole number of requests in {WINDOW_S} s")
    pattern = np.array(batch.texts("pattern").to_pylist(), dtype=str)
    active = rate_rps > 0
    named = (pattern == "Gamma") | (pattern == "Weibull")
    _check(batch, np.where(active, named, pattern == ""), "pattern", "Gamma or Weibull, or nothing at rate 0")
    is_weibull = pattern == "Weibull"
    return Windows(start_s, rate_rps, is_weibull, _shapes(batch, active, is_weibull))


def _shapes(batch: Batch, active: NDArray[np.bool_], is_weibull: NDArray[np.bool_]) -> NDArray[np.float64]:
    cv, shape, scale_s = (batch.numbers(column) for column in ("cv", "p1", "p2"))
    is_gamma = active & ~is_weibull
    _check(batch, ~is_gamma | ((cv > 0) & (cv <= _LARGEST_CV)), "cv", f"above 0 and up to {_LARGEST_CV:g}")
    agree = abs(shape * cv**2 - 1) <= _SHAPE_ROUNDING
    _check(batch, ~is_gamma | agree, "p1", "the shape 1 / cv^2 of gamma gaps")
    large = (shape >= _SMALLEST_SHAPE) & (shape <= _LARGEST_SHAPE)
    _check(
        batch, ~is_weibull | large, "p1", f"a Weibull shape from {_SMALLEST_SHAPE:g} to {_LARGEST_SHAPE:g}"
    )
    _check(batch, ~active | (scale_s > 0), "p2", "a scale above 0 s")
    return np.where(active, shape, math.nan)


def _columns(entry: Entry) -> Batch:
    lines = entry.text.removesuffix("\n").split("\n")
    rows = [line.removesuffix("\r").split(",") for line in lines]
    for line, row in enumerate(rows, start=1):
        if len(row) != len(_COLUMNS):
            raise TraceError(
                f"found {len(row)} fields, allowed are {', '.join(_COLUMNS)}", path=entry.path, line=line
            )
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    return Batch(entry.path, pa.RecordBatch.from_arrays(columns, list(_COLUMNS)), first_line=1)


def _check(batch: Batch, fits: NDArray[np.bool_], field: str, allowed: str) -> None:
    if not fits.all():
        raise batch.fault(int(np.argmin(fits)), field, allowed)
