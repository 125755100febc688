"""Clusters, books and functions of round numbers, for tests of policies."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

from policies import Cluster, Function, PlacementRequest, Shard
from policies.books import ClusterBooks, Tenancy
from policies.functions import Kind
from profiles import GpuType, LatencySurface, ModelProfile, StartUp, StepCurve, TrainingProfile

GIB = 2**30

MODEL = ModelProfile(
    name="model",
    kind="inference",
    latency=LatencySurface(0.010, 0.0, 0.0, 0.002, 6.0),
    slo_s=0.1,
    output_tokens=1,
    max_batch=8,
    memory_bytes=4 * GIB,
    weights_bytes=GIB,
    launches=100,
    wave_s=50e-6,
    startup=StartUp(1.0, 0.5, 0.25, 0, 1.0, 0.5),
    training=TrainingProfile(8, 2, 16 * GIB, 300, 80e-6, StepCurve(0.1, 0.02, 6.0)),
)
"""Serves in about 10 ms, starts in 2.25 s."""


def cluster(nodes: int = 1, gpus_per_node: int = 4) -> Cluster:
    """Return a cluster of 40 GiB GPUs."""
    return Cluster(nodes, gpus_per_node, GpuType("gpu", 40 * GIB, 100))


def function(**changes: Any) -> Function:
    """Return an inference function of `MODEL`."""
    serves = Function("serves", "inference", MODEL, MODEL.memory_bytes, MODEL.slo_s)
    return replace(serves, **changes)


def training(**changes: Any) -> Function:
    """Return a training function of `MODEL` with two workers."""
    return replace(Function("trains", "training", MODEL, 16 * GIB, workers=2), **changes)


def asks(
    kind: Kind = "inference",
    *,
    request: float = 0.3,
    limit: float = 0.6,
    gib: int = 6,
    gpus: int = 1,
    service: Hashable = "new",
) -> PlacementRequest:
    """Return a request for a place."""
    return PlacementRequest(service, kind, gpus, request, limit, gib * GIB)


class Books(ClusterBooks):
    """Books that are easy to fill by hand."""

    def __init__(self, nodes: int = 1, gpus_per_node: int = 4) -> None:
        super().__init__(cluster(nodes, gpus_per_node))
        self.instances = 0

    def seat(
        self,
        *gpus: int,
        request: float = 0.3,
        limit: float = 0.6,
        gib: int = 6,
        service: Hashable = None,
        kind: Kind = "inference",
    ) -> int:
        """Book an instance with an equal shard on each of `gpus`; its service is its own unless named."""
        shards = tuple(Shard(gpu, request, limit, gib * GIB, 1.0 / len(gpus)) for gpu in gpus)
        instance = self.instances
        self.instances += 1
        self.enter(Tenancy(instance, f"own-{instance}" if service is None else service, kind, shards))
        return instance


def places(shards: tuple[Shard, ...] | None) -> list[int] | None:
    """Return the GPUs of a placement."""
    return None if shards is None else [shard.gpu for shard in shards]
