"""Placement on whole GPUs and by static quotas: the rivals of resourcing-complementary placement.

Definitions follow the cluster simulation of the Dilu artifact (sigserverless/Dilu @1134655,
`scheduling/simulations/baseline`) and section 5.1 of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policies.placement.fit import admits, affinity_mask, best, feasible, first_fit_gang, whole_shards
from policies.slots import ClusterView, PlacementRequest, Shard


@dataclass(frozen=True, slots=True)
class ExclusivePlacement:
    """One fresh GPU an instance, one a training worker; workers need not share a node (paper, 5.1).

    Any other instance on several GPUs has them on one node, the first with enough.
    """

    splits_llm: bool = False

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...] | None:
        """Take the first empty GPUs."""
        fresh = admits(request, cluster) & (cluster.residents == 0)
        if request.gpus > 1 and request.kind != "training":
            return first_fit_gang(request, cluster, np.zeros_like(fresh), fresh)
        gpus = np.flatnonzero(fresh)
        return whole_shards(request, gpus[: request.gpus]) if len(gpus) >= request.gpus else None


@dataclass(frozen=True, slots=True)
class InflessPlacement:
    """INFless+ as the Dilu artifact simulates it: best fit on SM, memory only a constraint, no LLM split.

    A training job takes the first node with enough feasible active GPUs, else the first node where active and
    fresh ones suffice. Inference follows the same affinity rule as Dilu, which the artifact grants its
    rivals too.
    """

    max_request: float = 1.0
    affinity: bool = True
    splits_llm: bool = False

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...] | None:
        """Place on active GPUs first, then on a fresh one."""
        fits = feasible(request, cluster, max_request=self.max_request, max_limit=self.max_request)
        active = cluster.residents > 0
        if request.gpus > 1:
            return first_fit_gang(request, cluster, fits & active, fits & ~active)
        near = affinity_mask(request, cluster) if self.affinity and request.kind == "inference" else None
        if near is not None:
            gpu = best(fits & near, -cluster.request)
            if gpu is not None:
                return whole_shards(request, [gpu])
        gpu = best(fits & active, -cluster.request)
        if gpu is None:
            gpu = best(fits & ~active, cluster.request)
        return None if gpu is None else whole_shards(request, [gpu])
