"""The quota of each instance over time, and how far its path in one world is from that in the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recording import Run

STILL: Final = 1e-6
"""A path with a smaller standard deviation, in shares, does not move: it has no correlation with another."""


@dataclass(frozen=True, slots=True)
class QuotaPath:
    """The quota of one instance: a step function from `times_s[0]` to `end_s`.

    Of an instance on several GPUs it is the mean over them.

    Attributes
    ----------
    function
        Index of its function.
    order
        Which instance of its function it is, counted from 0 in the order of launches.
    times_s, quotas
        When a step begins, and the share from there on.
    end_s
        When the instance left, or the run ended.
    """

    function: int
    order: int
    times_s: NDArray[np.float64]
    quotas: NDArray[np.float64]
    end_s: float

    @property
    def lasts_s(self) -> float:
        """How long it is, in seconds."""
        return self.end_s - float(self.times_s[0])

    @property
    def mean(self) -> float:
        """Mean over time; of a path without length its last value."""
        if self.lasts_s <= 0:
            return float(self.quotas[-1])
        lengths_s = np.diff(self.times_s, append=self.end_s)
        return float(np.sum(self.quotas * lengths_s)) / self.lasts_s

    def at(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the quota at times within the path; a step counts from its first moment on."""
        where = np.searchsorted(self.times_s, times_s, side="right") - 1
        return self.quotas[np.maximum(where, 0)]

    def means(self, edges_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean between each two of some times; NaN where the path is not there throughout."""
        corners_s = np.append(self.times_s, self.end_s)
        integral = np.append(0.0, np.cumsum(self.quotas * np.diff(corners_s)))
        at_edges = np.interp(edges_s, corners_s, integral)
        found: NDArray[np.float64] = np.diff(at_edges) / np.diff(edges_s)
        inside = (edges_s[:-1] >= self.times_s[0]) & (edges_s[1:] <= self.end_s)
        return np.where(inside, found, np.nan)


@dataclass(frozen=True, slots=True)
class PathDifference:
    """Two paths of the same instance of a function, over the time in which both worlds had it.

    Attributes
    ----------
    sim, real
        Mean quotas over that time.
    absolute
        Mean over time of the absolute difference, in shares.
    correlation
        Pearson's, weighted by time; `None` unless both paths move.
    """

    function: str
    order: int
    sim: float
    real: float
    absolute: float
    correlation: float | None


def quota_paths(run: Run) -> tuple[QuotaPath, ...]:
    """Return the path of every instance that had a quota, by function and order.

    Raises
    ------
    RecordingError
        If the run did not record quotas.
    """
    launched, rows = run.instances, run.quotas
    instance, function = launched["instance"].to_numpy(), launched["function"].to_numpy()
    launch_s, retire_s = (launched[name].to_numpy(dtype=np.float64) for name in ("launch_s", "retire_s"))
    time_s, gpu, quota = (rows[name].to_numpy() for name in ("time_s", "gpu", "quota"))
    rows_of = rows["instance"].to_numpy()
    seen: Counter[int] = Counter()
    paths = []
    for at in np.lexsort((instance, launch_s, function)).tolist():
        own = np.flatnonzero(rows_of == instance[at])
        order = seen[int(function[at])]
        seen[int(function[at])] += 1
        if not len(own):
            continue
        own = own[np.argsort(time_s[own], kind="stable")]
        on_gpus = [own[gpu[own] == one] for one in np.unique(gpu[own])]
        times_s, quotas = _mean_of_steps([(time_s[on_one], quota[on_one]) for on_one in on_gpus])
        end_s = run.manifest.simulated_s if np.isnan(retire_s[at]) else float(retire_s[at])
        if times_s[0] <= end_s:
            paths.append(QuotaPath(int(function[at]), order, times_s, quotas, end_s))
    return tuple(sorted(paths, key=lambda path: (path.function, path.order)))


def _mean_of_steps(
    steps: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of step functions, from when all of them have begun; of one instant the last counts."""
    times_s = np.unique(np.concatenate([own for own, _ in steps]))
    times_s = times_s[times_s >= max(own[0] for own, _ in steps)]
    columns = [quotas[np.searchsorted(own, times_s, side="right") - 1] for own, quotas in steps]
    mean: NDArray[np.float64] = np.mean(columns, axis=0)
    return times_s, mean


def compare_paths(sim: Run, real: Run) -> tuple[PathDifference, ...]:
    """Hold the paths of two runs against each other, instance by instance.

    The first launch of a function in one world goes with its first in the other, and so on; instances that
    only one world launched, or that were never there at the same time, have no partner and are left out.
    """
    others = {(path.function, path.order): path for path in quota_paths(real)}
    found = []
    for path in quota_paths(sim):
        other = others.get((path.function, path.order))
        if other is None:
            continue
        begin_s, end_s = max(path.times_s[0], other.times_s[0]), min(path.end_s, other.end_s)
        if begin_s < end_s:
            name = sim.manifest.functions[path.function].name
            found.append(_difference(name, path, other, float(begin_s), end_s))
    return tuple(found)


def _difference(name: str, sim: QuotaPath, real: QuotaPath, begin_s: float, end_s: float) -> PathDifference:
    times_s = np.unique(np.concatenate([sim.times_s, real.times_s, [begin_s]]))
    times_s = times_s[(times_s >= begin_s) & (times_s < end_s)]
    weights = np.diff(times_s, append=end_s) / (end_s - begin_s)
    ours, theirs = sim.at(times_s), real.at(times_s)
    means = float(weights @ ours), float(weights @ theirs)
    from_mean = ours - means[0], theirs - means[1]
    spread = [float(np.sqrt(weights @ (own * own))) for own in from_mean]
    correlation = None
    if min(spread) > STILL:
        correlation = float(weights @ (from_mean[0] * from_mean[1])) / (spread[0] * spread[1])
    return PathDifference(name, sim.order, *means, float(weights @ np.abs(ours - theirs)), correlation)
