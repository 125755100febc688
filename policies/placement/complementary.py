"""Dilu's resourcing-complementary placement (paper section 3.3, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from policies.placement.fit import affinity_mask, best, feasible, first_fit_gang, whole_shards
from policies.slots import ClusterView, PlacementRequest, Shard


@dataclass(frozen=True, slots=True)
class ComplementaryPlacement:
    """Pack by request, bound oversubscription by limit, balance SM against memory.

    Attributes
    ----------
    omega, gamma
        Bounds on the sums of requests and of limits on a GPU: 1 and 1.5 (paper sections 3.3 and 5.5).
    alpha, beta
        Weights of SM and of memory fragmentation in the score: .6 and .4 (sigserverless/Dilu @1134655; the
        paper gives no numbers).
    affinity
        P1: place an inference instance beside the other workers of training jobs that its service already
        slows.
    complementary
        P2: best fit by the score. Off, the first feasible GPU is taken and LLMs are not split (ablation -RC).
    splits_llm
        Split an LLM over the fragments of one node where no active GPU can hold it whole.
    llm_fit
        An LLM that fits one active GPU goes to the `best` score (paper) or to the one of least used memory
        (`worst`, the artifact's scheduler).
    split_order
        A split fills the `freest` GPU first, for fewest pipeline stages (paper section 3.3, P2), or the
        `fullest` (the artifact).
    split_limit
        Each stage is charged the `limit` (paper) or the `request` (the artifact) against gamma.
    training_fit
        Workers take the node and GPUs of `best` score, fresh GPUs last (paper, SelectOptGPU a worker), or the
        `first` node with room (the artifact).
    """

    omega: float = 1.0
    gamma: float = 1.5
    alpha: float = 0.6
    beta: float = 0.4
    affinity: bool = True
    complementary: bool = True
    splits_llm: bool = True
    llm_fit: Literal["best", "worst"] = "best"
    split_order: Literal["freest", "fullest"] = "freest"
    split_limit: Literal["limit", "request"] = "limit"
    training_fit: Literal["best", "first"] = "best"

    def __post_init__(self) -> None:
        if not self.complementary:
            object.__setattr__(self, "splits_llm", False)  # else the controller would count on the split

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...] | None:
        """Place on active GPUs by the three principles; open a fresh GPU only where none fits."""
        fits = feasible(request, cluster, max_request=self.omega, max_limit=self.gamma)
        active = cluster.residents > 0
        if request.gpus > 1:
            if self.training_fit == "first" or not self.complementary:
                return first_fit_gang(request, cluster, fits & active, fits & ~active)
            return self._best_fit_gang(request, cluster, fits, active)
        if self.affinity and request.kind == "inference":
            near = affinity_mask(request, cluster)
            if near is not None:
                gpu = self._best(request, cluster, fits & near)
                if gpu is not None:
                    return whole_shards(request, [gpu])
        gpu = self._best(request, cluster, fits & active)
        if gpu is not None:
            return whole_shards(request, [gpu])
        if request.kind == "llm" and self.splits_llm:
            shards = self._split(request, cluster, fits, active)
            if shards is not None:
                return shards
        gpu = best(fits & ~active, cluster.request)
        return None if gpu is None else whole_shards(request, [gpu])

    def _best(self, request: PlacementRequest, cluster: ClusterView, mask: NDArray[np.bool_]) -> int | None:
        """The first GPU of the lowest score within `mask`; `None` where the mask is empty."""
        gpus = np.flatnonzero(mask)
        return int(gpus[np.argmin(self._score(request, cluster, gpus))]) if len(gpus) else None

    def _score(
        self, request: PlacementRequest, cluster: ClusterView, gpus: NDArray[np.int64] | slice
    ) -> NDArray[np.float64]:
        """Weighted fragmentation that would be left on each of `gpus`; lower is better."""
        if not self.complementary:
            return np.zeros_like(cluster.request[gpus])
        if request.kind == "llm" and self.llm_fit == "worst":
            return cluster.memory[gpus].astype(np.float64)
        free_sm = 1.0 - (cluster.request[gpus] + request.request)
        capacity = np.maximum(cluster.memory_capacity[gpus], 1)  # where it is not known, nothing asks for any
        free_memory = 1.0 - (cluster.memory[gpus] + request.memory_bytes) / capacity
        return self.alpha * free_sm + self.beta * free_memory

    def _best_fit_gang(
        self,
        request: PlacementRequest,
        cluster: ClusterView,
        fits: NDArray[np.bool_],
        active: NDArray[np.bool_],
    ) -> tuple[Shard, ...] | None:
        """All workers on the node that opens fewest fresh GPUs; among those, the one of least total score."""
        fresh_costs_more = 1000.0  # any score lies in [0, 1] and a node has far fewer GPUs than this
        score = self._score(request, cluster, slice(None)) + np.where(active, 0.0, fresh_costs_more)
        by_node = np.where(fits, score, np.inf).reshape(-1, cluster.gpus_per_node)
        if request.gpus > cluster.gpus_per_node:
            return None
        chosen = np.argsort(by_node, axis=1, kind="stable")[:, : request.gpus]
        total = np.take_along_axis(by_node, chosen, axis=1).sum(axis=1)
        node = int(np.argmin(total))
        if not np.isfinite(total[node]):
            return None
        return whole_shards(request, chosen[node] + node * cluster.gpus_per_node)

    def _split(
        self,
        request: PlacementRequest,
        cluster: ClusterView,
        fits: NDArray[np.bool_],
        active: NDArray[np.bool_],
    ) -> tuple[Shard, ...] | None:
        """Spread the weights over fragments of one node: the first node of fewest stages."""
        limit = request.limit if self.split_limit == "limit" else request.request
        weightless = replace(request, limit=limit, memory_bytes=0)
        room = feasible(weightless, cluster, max_request=self.omega, max_limit=self.gamma)
        if (fits & ~active).any():
            room &= active  # one fresh GPU is better than several
        free = np.where(room, cluster.memory_capacity - cluster.memory, 0).reshape(-1, cluster.gpus_per_node)
        first_filled = (
            -free if self.split_order == "freest" else np.where(free > 0, free, np.iinfo(np.int64).max)
        )
        order = np.argsort(first_filled, axis=1, kind="stable")
        filled = np.take_along_axis(free, order, axis=1).cumsum(axis=1)
        holds = filled >= request.memory_bytes
        if not holds[:, -1].any():
            return None
        stages = np.where(holds.any(axis=1), holds.argmax(axis=1) + 1, cluster.gpus_per_node + 1)
        node = int(np.argmin(stages))
        shards: list[Shard] = []
        rest = request.memory_bytes
        for position in order[node, : stages[node]]:
            held = min(int(free[node, position]), rest)
            gpu = int(position) + node * cluster.gpus_per_node
            shards.append(Shard(gpu, request.request, limit, held, held / request.memory_bytes))
            rest -= held
        return tuple(shards)
