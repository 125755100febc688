"""Placement that knows no shares: by replicas of a GPU, or by memory alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from policies.functions import PolicyError
from policies.placement.fit import admits, whole_shards
from policies.slots import ClusterView, PlacementRequest, Shard


@dataclass(frozen=True, slots=True)
class ReplicaPlacement:
    """Kubernetes time slicing: every GPU counts as several replicas, however busy those who take one are.

    The NVIDIA device plugin advertises each GPU `replicas` times, and an instance takes one replica of each
    of its GPUs (documentation of k8s-device-plugin, "Shared access to GPUs with CUDA time-slicing").
    Kubernetes picks a node by how many are free there, and the plugin then the GPU; here that is one step.
    The workers of a training job are one pod, on one node, and take different GPUs. Nothing in Kubernetes
    keeps memory from running out, and an instance too many would fail; here it must fit.

    Attributes
    ----------
    replicas
        How often each GPU is advertised. The plugin has no default but 1, no sharing; 4 is assumed.
    allocation
        Which GPU with a free replica: the `first`; the one with most taken (`packed`) or with fewest
        (`distributed`), as the plugin's allocation policies of these names do within a node, where
        `distributed` is its default.
    """

    replicas: int = 4
    allocation: Literal["first", "packed", "distributed"] = "first"
    splits_llm: bool = False

    def __post_init__(self) -> None:
        if self.replicas < 1:
            raise PolicyError(f"replicas: found {self.replicas}, allowed are integers from 1")
        if self.allocation not in ("first", "packed", "distributed"):
            raise PolicyError(
                f"allocation: found {self.allocation!r}, allowed are first, packed, distributed"
            )

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...] | None:
        """Take a replica of each GPU."""
        taken = cluster.residents.astype(np.int64)
        score = {
            "first": np.arange(len(taken)),
            "packed": -taken,
            "distributed": taken,
        }[self.allocation]
        return _lowest(request, cluster, (taken < self.replicas) & admits(request, cluster), score)


@dataclass(frozen=True, slots=True)
class MemoryPlacement:
    """Torpor: a model goes to the GPU with fewest others that has memory for it; compute is not reserved.

    In Torpor (ATC 2025) models live in host memory, a GPU's memory is a cache of them, and each request picks
    its GPU when it comes (late binding). Here an instance is bound to one GPU for as long as it is in that
    cache; that instances are spread evenly stands in for the choice by request. A training job takes the
    node whose least shared GPUs have fewest residents; Torpor runs none.
    """

    splits_llm: bool = False

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...] | None:
        """Take the GPUs with fewest residents."""
        return _lowest(request, cluster, admits(request, cluster), cluster.residents.astype(np.int64))


def _lowest(
    request: PlacementRequest, cluster: ClusterView, fits: NDArray[np.bool_], score: NDArray[np.int64]
) -> tuple[Shard, ...] | None:
    """The GPUs of lowest score on the node where they sum to least; ties go to the first."""
    if request.gpus > cluster.gpus_per_node:
        return None
    by_node = np.where(fits, score, np.inf).reshape(-1, cluster.gpus_per_node)
    chosen = np.argsort(by_node, axis=1, kind="stable")[:, : request.gpus]
    total = np.take_along_axis(by_node, chosen, axis=1).sum(axis=1)
    node = int(np.argmin(total))
    if not np.isfinite(total[node]):
        return None
    return whole_shards(request, chosen[node] + node * cluster.gpus_per_node)
