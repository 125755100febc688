r"""Where the latencies of two runs part: the difference of their means as a sum of four terms.

A request waits until its batch may begin, the batch begins, and runs:

    latency = queueing + handover + service
    queueing = free - arrival, handover = start - free, service = end - start

where *free* is the first moment at which the batch could have begun as it is: its newest request had arrived
and its instance was ready and done with the batch before. What passes from there to the start is waiting for
the batch to close, which both worlds do alike, and whatever it takes to get it going. So the difference in
handover is lateness.

The difference in service is split again, over batch sizes k with p_k the share of requests in batches of
that size and s_k their mean service (the decomposition of Kitagawa, JASA 50(272), 1955):

    sum p_k s_k - sum p'_k s'_k = sum (p_k + p'_k) / 2 (s_k - s'_k)  +  sum (p_k - p'_k) (s_k + s'_k) / 2

the first sum being longer service at the same size, the second larger batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recording import BATCH_DTYPE, DROPPED, Run

SLOWEST: Final = 0.05
"""The part of requests that a decomposition of the tail looks at: those from the 95th percentile on."""


@dataclass(frozen=True, slots=True)
class LatencyDifference:
    """Mean latencies in both worlds and, in seconds, what the real one has more; the terms add up to it.

    Attributes
    ----------
    service_s
        Batches of the same size take longer: interference, quotas, or the profile.
    batching_s
        Batches are larger.
    queueing_s
        Batches wait longer for an instance that is ready and free, requests for those that join them.
    handover_s
        Batches begin later than they could.
    """

    sim_s: float
    real_s: float
    service_s: float
    batching_s: float
    queueing_s: float
    handover_s: float

    @property
    def total_s(self) -> float:
        """What the real world has more."""
        return self.real_s - self.sim_s


@dataclass(frozen=True, slots=True)
class ServiceAtBatch:
    """Batches of one size: how many, and the mean seconds they ran, in each world; `None` of none."""

    size: int
    sim_batches: int
    real_batches: int
    sim_s: float | None
    real_s: float | None


@dataclass(frozen=True, slots=True)
class _Served:
    """Columns of the completed requests of a function."""

    size: NDArray[np.int64]
    queueing_s: NDArray[np.float64]
    handover_s: NDArray[np.float64]
    service_s: NDArray[np.float64]

    @property
    def latency_s(self) -> NDArray[np.float64]:
        return self.queueing_s + self.handover_s + self.service_s

    def slowest(self, part: float) -> _Served:
        latency_s = self.latency_s
        chosen = latency_s >= np.quantile(latency_s, 1.0 - part)
        return _Served(
            self.size[chosen], self.queueing_s[chosen], self.handover_s[chosen], self.service_s[chosen]
        )


def latency_difference(
    sim: Run, real: Run, function: int, *, slowest: float | None = None
) -> LatencyDifference | None:
    """Say where the latencies of a function part; `None` if a world completed none of its requests.

    Parameters
    ----------
    slowest
        Of the slowest requests of each world only, this part of them; of all by default.
    """
    ours, theirs = _served(sim, function), _served(real, function)
    if not len(ours.size) or not len(theirs.size):
        return None
    if slowest is not None:
        ours, theirs = ours.slowest(slowest), theirs.slowest(slowest)
    service_s, batching_s = _split_service(ours, theirs)
    return LatencyDifference(
        sim_s=float(ours.latency_s.mean()),
        real_s=float(theirs.latency_s.mean()),
        service_s=service_s,
        batching_s=batching_s,
        queueing_s=float(theirs.queueing_s.mean() - ours.queueing_s.mean()),
        handover_s=float(theirs.handover_s.mean() - ours.handover_s.mean()),
    )


def mean_difference(differences: Sequence[LatencyDifference]) -> LatencyDifference:
    """Return the mean over repeats, term by term: the terms still add up."""
    return LatencyDifference(*np.mean([astuple(one) for one in differences], axis=0).tolist())


def service_by_batch(pairs: Sequence[tuple[Run, Run]], function: int) -> tuple[ServiceAtBatch, ...]:
    """Return how long batches ran by their size, over all repeats together."""
    worlds = []
    for world in (0, 1):
        rows = np.concatenate([_batches(pair[world], function) for pair in pairs])
        worlds.append((rows["count"].astype(np.int64), rows["end_s"] - rows["start_s"]))
    most = max((int(sizes.max(initial=0)) for sizes, _ in worlds), default=0)
    counts = [np.bincount(sizes, minlength=most + 1) for sizes, _ in worlds]
    sums_s = [np.bincount(sizes, weights=times_s, minlength=most + 1) for sizes, times_s in worlds]
    return tuple(
        ServiceAtBatch(
            size,
            *(int(own[size]) for own in counts),
            *(
                float(s[size] / own[size]) if own[size] else None
                for s, own in zip(sums_s, counts, strict=True)
            ),
        )
        for size in range(1, most + 1)
        if counts[0][size] or counts[1][size]
    )


def _split_service(ours: _Served, theirs: _Served) -> tuple[float, float]:
    """Return what service at the same size, and the mix of sizes, make of the difference in service."""
    most = int(max(ours.size.max(), theirs.size.max())) + 1
    counts = [np.bincount(own.size, minlength=most) for own in (ours, theirs)]
    shares = [own / own.sum() for own in counts]
    means_s = [
        np.bincount(own.size, weights=own.service_s, minlength=most) / np.maximum(count, 1)
        for own, count in zip((ours, theirs), counts, strict=True)
    ]
    # A size that one world does not have differs in how often it occurs, and in nothing else.
    means_s = [
        np.where(count > 0, own, other)
        for own, other, count in zip(means_s, reversed(means_s), counts, strict=True)
    ]
    longer = (shares[0] + shares[1]) / 2 * (means_s[1] - means_s[0])
    larger = (shares[1] - shares[0]) * (means_s[0] + means_s[1]) / 2
    return float(longer.sum()), float(larger.sum())


def _batches(run: Run, function: int) -> NDArray[np.void]:
    """Return the batches of a function that were served."""
    rows = np.concatenate([np.empty(0, BATCH_DTYPE), *run.tables.batch_chunks()])
    served: NDArray[np.void] = rows[(rows["function"] == function) & (rows["instance"] != DROPPED)]
    return served


def _served(run: Run, function: int) -> _Served:
    """Return what each completed request of a function waited for, and how long."""
    rows = _batches(run, function)
    rows = rows[np.lexsort((rows["start_s"], rows["instance"]))]
    ready_s = dict(zip(run.instances["instance"], run.instances["ready_s"], strict=True))
    before_s = np.array([ready_s.get(instance, 0.0) for instance in rows["instance"]], dtype=np.float64)
    follows = np.flatnonzero(rows["instance"][1:] == rows["instance"][:-1])
    before_s[follows + 1] = rows["end_s"][follows]
    arrival_s = run.arrivals.arrival_s[run.arrivals.of(function)]
    count = rows["count"].astype(np.int64)
    free_s = np.fmax(before_s, arrival_s[rows["first"] + count - 1])
    which = np.repeat(np.arange(len(rows)), count)
    within = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    return _Served(
        size=count[which],
        queueing_s=free_s[which] - arrival_s[rows["first"][which] + within],
        handover_s=(rows["start_s"] - free_s)[which],
        service_s=(rows["end_s"] - rows["start_s"])[which],
    )
