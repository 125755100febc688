"""Which GPUs could take an instance, and which of them is best: what all placement policies build on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policies.slots import ClusterView, PlacementRequest, Shard

ROUNDING = 1e-9
"""Sums of shares may exceed a bound by this much: two-decimal shares do not add up exactly in binary."""


def admits(request: PlacementRequest, cluster: ClusterView) -> NDArray[np.bool_]:
    """Mask of GPUs of a type that the instance may have, with memory for one shard; no slot without a GPU."""
    has_memory: NDArray[np.bool_] = cluster.memory + request.memory_bytes <= cluster.memory_capacity
    if request.gpu_types is None:
        return has_memory
    return has_memory & cluster.of_types(request.gpu_types)


def feasible(
    request: PlacementRequest, cluster: ClusterView, *, max_request: float, max_limit: float
) -> NDArray[np.bool_]:
    """Mask of GPUs where one shard fits by type, sum of requests, sum of limits and memory."""
    return (
        (cluster.request + request.request <= max_request + ROUNDING)
        & (cluster.limit + request.limit <= max_limit + ROUNDING)
        & admits(request, cluster)
    )


def whole_shards(request: PlacementRequest, gpus: NDArray[np.int64] | list[int]) -> tuple[Shard, ...]:
    """One full shard of the instance on each of `gpus`; a gang's workers each hold an equal part."""
    part = 1.0 / len(gpus)
    return tuple(Shard(int(gpu), request.request, request.limit, request.memory_bytes, part) for gpu in gpus)


def affinity_mask(request: PlacementRequest, cluster: ClusterView) -> NDArray[np.bool_] | None:
    """GPUs of the *other* workers of training jobs that already run beside this service (section 3.3, P1).

    Such a job is already slowed where they meet; slowing its other workers as well costs it nothing more.
    `None` where there are none.
    """
    mask: NDArray[np.bool_] | None = None
    for host in cluster.hosts(request.service):
        for gang in cluster.training_gangs(host):
            for gpu in gang:
                if gpu != host:
                    if mask is None:
                        mask = np.zeros(len(cluster.request), dtype=np.bool_)
                    mask[gpu] = True
    return mask


def best(mask: NDArray[np.bool_], score: NDArray[np.float64]) -> int | None:
    """The first GPU of the lowest score within `mask`; `None` where the mask is empty."""
    candidates = np.flatnonzero(mask)
    if not len(candidates):
        return None
    return int(candidates[np.argmin(score[candidates])])


def first_fit_gang(
    request: PlacementRequest,
    cluster: ClusterView,
    active: NDArray[np.bool_],
    fresh: NDArray[np.bool_],
) -> tuple[Shard, ...] | None:
    """All workers on the first node with enough feasible active GPUs, else active and fresh together."""
    by_node = active.reshape(-1, cluster.gpus_per_node)
    enough = by_node.sum(axis=1) >= request.gpus
    if enough.any():
        node = int(np.argmax(enough))
    else:
        enough = by_node.sum(axis=1) + fresh.reshape(-1, cluster.gpus_per_node).sum(axis=1) >= request.gpus
        if not enough.any():
            return None
        node = int(np.argmax(enough))
    first = node * cluster.gpus_per_node
    span = slice(first, first + cluster.gpus_per_node)
    gpus = np.concatenate([np.flatnonzero(active[span]), np.flatnonzero(fresh[span])]) + first
    return whole_shards(request, gpus[: request.gpus])
