"""Fragmentation-gradient descent (FGD): place where the GPUs' fragments grow least."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.functions import PolicyError
from policies.placement.fit import ROUNDING, feasible, whole_shards
from policies.slots import ClusterView, Demand, PlacementRequest, Shard


@dataclass(frozen=True, slots=True)
class FragmentationGradient:
    """FGD: place where the residual GPU that typical instances cannot use falls most (Weng et al., ATC 2023).

    The classes of instances are those that live in the cluster and the newcomer, each as popular as it is
    frequent. `fragmentation` is the expected residual that an instance of a random class could not use; each
    GPU where the newcomer fits is tried, and the one with the steepest fall, or the least rise, is taken;
    of equal ones the first. A training job's workers are chosen one by one on each node, and the node is
    taken whose fragmentation falls most in sum. FGD knows one fraction of a GPU, the request here, and no
    limit; nor has it a preference for GPUs in use, so that it may take a fresh one where both would do.

    A GPU of a type that a class may not have is all fragment for it (`no_access` in the authors' code), and
    how many GPUs of its own types there are does not count: who may have any type fills the types first that
    few classes can use, and those few may then find them full.

    Attributes
    ----------
    coverage
        Only the most popular classes count that together make up this part of all instances. Assumed; a
        parameter of the authors' kubernetes-scheduler-simulator, whose default is .6.
    share_step, memory_step
        Demands are rounded up to multiples of these parts of a GPU before they are counted, 5 % of the SMs
        and a sixteenth of the memory: assumed, because FGD takes its classes from traces of few sizes.
    omega, max_limit
        Bounds on the sums of requests and of limits on a GPU; FGD has only the first.
    """

    coverage: float = 0.95
    share_step: float = 0.05
    memory_step: float = 0.0625
    omega: float = 1.0
    max_limit: float = float("inf")
    splits_llm: bool = False

    def __post_init__(self) -> None:
        for name in ("coverage", "share_step", "memory_step", "omega"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise PolicyError(f"{name}: found {getattr(self, name)}, allowed is 0 < {name} <= 1")
        if not self.max_limit > 0.0:
            raise PolicyError(f"max_limit: found {self.max_limit}, allowed are shares above 0")

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...] | None:
        """Descend the gradient: on every node one worker after the other, and then the best node."""
        fits = feasible(request, cluster, max_request=self.omega, max_limit=self.max_limit)
        room = fits.reshape(-1, cluster.gpus_per_node)
        nodes = _without_copies(room.sum(axis=1) >= request.gpus, cluster)
        if not len(nodes):
            return None
        room = room[nodes]
        residual, free = _left(cluster, self.omega)
        residual, free = residual[nodes], free[nodes]
        classes = _columns(self._classes(request, cluster), cluster, nodes)
        fall = np.zeros(len(nodes))
        chosen = np.zeros((request.gpus, len(nodes)), dtype=np.int64)
        every = np.arange(len(nodes))
        for worker in range(request.gpus):
            falls = _falls(residual, free, classes, request.request, request.memory_bytes)
            falls = np.where(room, falls.round(9), -np.inf)  # so that rounding errors break no tie
            gpu = chosen[worker] = falls.argmax(axis=1)
            fall += falls[every, gpu]
            room[every, gpu] = False
            residual[every, gpu] -= request.request
            free[every, gpu] -= request.memory_bytes
        best = int(fall.round(9).argmax())
        return whole_shards(request, chosen[:, best] + int(nodes[best]) * cluster.gpus_per_node)

    def _classes(self, request: PlacementRequest, cluster: ClusterView) -> dict[Demand, int]:
        """Return the most popular demands, the request's own counted with those of the cluster."""
        own = Demand(request.request, request.memory_bytes, request.gpus)
        most_memory = int(cluster.memory_capacity.max())
        memory_step = self.memory_step * most_memory or 1.0  # where it is not known, nothing asks for any
        counts: dict[Demand, int] = {}
        for demand, count in (*cluster.demands.items(), (own, 1)):
            rounded = Demand(
                min(1.0, round(math.ceil(demand.request / self.share_step - ROUNDING) * self.share_step, 9)),
                min(most_memory, int(math.ceil(demand.memory_bytes / memory_step) * memory_step)),
                demand.gpus,
                demand.gpu_types,
            )
            counts[rounded] = counts.get(rounded, 0) + count
        return popular(counts, self.coverage)


def popular(counts: Mapping[Demand, int], coverage: float) -> dict[Demand, int]:
    """Return the fewest most frequent demands that make up `coverage` of all."""
    wanted = coverage * sum(counts.values()) - ROUNDING
    kept: dict[Demand, int] = {}
    for demand, count in sorted(counts.items(), key=lambda item: (-item[1], _ordered(item[0]))):
        if wanted <= 0.0:
            break
        kept[demand] = count
        wanted -= count
    return kept


def fragmentation(cluster: ClusterView, classes: Mapping[Demand, int], omega: float = 1.0) -> float:
    """GPUs' worth of residual request share that an instance of a random class cannot use (ATC 2023).

    A class can use what is left of a GPU of its types that has room for one of its shards, on a node that has
    as many such GPUs as it needs; all else that is left is a fragment for it. Classes weigh by their counts.
    """
    if not classes:
        return 0.0
    residual, free = _left(cluster, omega)
    columns = _columns(classes, cluster, np.arange(len(residual)))
    total = residual.sum(axis=1)[:, None]
    fits = _fits(residual, free, columns)
    wasted = np.where(fits, 0.0, residual).sum(axis=2, keepdims=True)
    hosts = fits.sum(axis=2, keepdims=True) >= columns.gpus
    return float(np.where(hosts, wasted, total).sum(axis=(1, 2)) @ columns.popularity)


def _ordered(demand: Demand) -> tuple[float, int, int, list[str]]:
    """Return what sorts demands the same way in every run."""
    return demand.request, demand.memory_bytes, demand.gpus, sorted(demand.gpu_types or ())


class _Columns(NamedTuple):
    """The classes of instances; all but the popularity broadcast over nodes and their GPUs.

    `allowed` says which GPUs are of a class's types; `None` where no class minds.
    """

    popularity: NDArray[np.float64]
    request: NDArray[np.float64]
    memory: NDArray[np.int64]
    gpus: NDArray[np.int64]
    allowed: NDArray[np.bool_] | None


def _columns(classes: Mapping[Demand, int], cluster: ClusterView, nodes: NDArray[np.int64]) -> _Columns:
    """Return the classes as columns, to be held against these nodes."""
    counts = np.array(list(classes.values()), dtype=np.float64)
    request, memory, gpus, types = zip(*classes, strict=True)
    return _Columns(
        counts / counts.sum(),
        np.array(request, dtype=np.float64)[:, None, None],
        np.array(memory, dtype=np.int64)[:, None, None],
        np.array(gpus, dtype=np.int64)[:, None, None],
        _allowed(types, cluster, nodes),
    )


def _allowed(
    types: Sequence[frozenset[str] | None], cluster: ClusterView, nodes: NDArray[np.int64]
) -> NDArray[np.bool_] | None:
    """Return for each class which GPUs of these nodes are of its types; `None` where all may be of any."""
    if all(one is None for one in types):
        return None
    any_type = np.ones(len(cluster.request), dtype=np.bool_)
    masks = [any_type if one is None else cluster.of_types(one) for one in types]
    return np.stack([mask.reshape(-1, cluster.gpus_per_node)[nodes] for mask in masks])


def _left(cluster: ClusterView, omega: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the residual request share and the free bytes of each GPU, a row a node."""
    shape = (-1, cluster.gpus_per_node)
    residual = np.maximum(omega - cluster.request, 0.0)
    return residual.reshape(shape), (cluster.memory_capacity - cluster.memory).reshape(shape)


def _without_copies(mask: NDArray[np.bool_], cluster: ClusterView) -> NDArray[np.int64]:
    """Return the nodes in `mask`; of the empty ones of one kind, which are alike, only the first."""
    used = (cluster.residents > 0).reshape(-1, cluster.gpus_per_node).any(axis=1)
    empty = np.flatnonzero(mask & ~used)
    _, first = np.unique(cluster.node_kinds[empty], return_index=True)
    return np.sort(np.concatenate([np.flatnonzero(mask & used), empty[first]]))


def _fits(residual: NDArray[np.float64], free: NDArray[np.int64], classes: _Columns) -> NDArray[np.bool_]:
    """Whether a shard of each class has room on each GPU."""
    fits = (classes.request <= residual + ROUNDING) & (classes.memory <= free)
    return fits if classes.allowed is None else fits & classes.allowed


def _falls(
    residual: NDArray[np.float64], free: NDArray[np.int64], classes: _Columns, share: float, memory: int
) -> NDArray[np.float64]:
    """How far a node's fragmentation falls if a shard of this share and memory goes to each of its GPUs."""
    total = residual.sum(axis=1)[:, None]
    fits = _fits(residual, free, classes)
    hosts = fits.sum(axis=2, keepdims=True)
    wasted = np.where(fits, 0.0, residual)
    waste = wasted.sum(axis=2, keepdims=True)
    before = np.where(hosts >= classes.gpus, waste, total)
    still_fits = _fits(residual - share, free - memory, classes)
    still_hosts = hosts - fits + still_fits
    waste_then = waste - wasted + np.where(still_fits, 0.0, residual - share)
    after = np.where(still_hosts >= classes.gpus, waste_then, total - share)
    falls: NDArray[np.float64] = np.tensordot(classes.popularity, before - after, axes=1)
    return falls
