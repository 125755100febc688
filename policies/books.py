"""The books of a cluster: who sits where, and how much of each GPU is promised."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from policies.functions import Cluster, Kind
from policies.slots import Demand, Shard


@dataclass(frozen=True, slots=True)
class Tenancy:
    """One instance and the shards it occupies."""

    instance: int
    service: Hashable
    kind: Kind
    shards: tuple[Shard, ...]


@dataclass(slots=True)
class _Host:
    """Residents of one GPU, oldest first, each with its shard there."""

    tenancies: list[tuple[Tenancy, Shard]] = field(default_factory=list)


class ClusterBooks:
    """Columns over GPUs (a `policies.slots.ClusterView`) that `enter` and `leave` keep.

    Sums are recomputed from the residents whenever one leaves, so that no rounding error accumulates over the
    life of a cluster.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.gpus_per_node = cluster.gpus_per_node
        self.memory_capacity = cluster.gpu.memory_bytes
        self.request: NDArray[np.float64] = np.zeros(cluster.gpus)
        self.limit: NDArray[np.float64] = np.zeros(cluster.gpus)
        self.memory: NDArray[np.int64] = np.zeros(cluster.gpus, dtype=np.int64)
        self.residents: NDArray[np.int32] = np.zeros(cluster.gpus, dtype=np.int32)
        self._hosts = [_Host() for _ in range(cluster.gpus)]
        self._tenancies: dict[int, Tenancy] = {}
        self._hosts_of: dict[Hashable, dict[int, int]] = {}
        self.demands: dict[Demand, int] = {}

    def enter(self, tenancy: Tenancy) -> None:
        """Book an instance's shards; its number says how old it is."""
        hosts_of = self._hosts_of.setdefault(tenancy.service, {})
        demand = _demand(tenancy)
        self.demands[demand] = self.demands.get(demand, 0) + 1
        for shard in tenancy.shards:
            gpu = shard.gpu
            tenancies = self._hosts[gpu].tenancies
            tenancies.append((tenancy, shard))
            if len(tenancies) > 1 and tenancies[-2][0].instance > tenancy.instance:  # one that comes back
                tenancies.sort(key=lambda pair: pair[0].instance)
            self.request[gpu] += shard.request
            self.limit[gpu] += shard.limit
            self.memory[gpu] += shard.memory_bytes
            self.residents[gpu] += 1
            hosts_of[gpu] = hosts_of.get(gpu, 0) + 1
        self._tenancies[tenancy.instance] = tenancy

    def leave(self, instance: int) -> Tenancy:
        """Free what an instance occupied and return it; `KeyError` if it is not here."""
        tenancy = self._tenancies.pop(instance)
        hosts_of = self._hosts_of[tenancy.service]
        for shard in tenancy.shards:
            gpu = shard.gpu
            rest = [(t, s) for t, s in self._hosts[gpu].tenancies if t is not tenancy]
            self._hosts[gpu].tenancies = rest
            self.request[gpu] = sum(s.request for _, s in rest)
            self.limit[gpu] = sum(s.limit for _, s in rest)
            self.memory[gpu] = sum(s.memory_bytes for _, s in rest)
            self.residents[gpu] = len(rest)
            hosts_of[gpu] -= 1
            if not hosts_of[gpu]:
                del hosts_of[gpu]
        if not hosts_of:
            del self._hosts_of[tenancy.service]
        demand = _demand(tenancy)
        self.demands[demand] -= 1
        if not self.demands[demand]:
            del self.demands[demand]
        return tenancy

    def tenancy(self, instance: int) -> Tenancy:
        """Return the booked instance; `KeyError` if it is not here."""
        return self._tenancies[instance]

    def hosts(self, service: Hashable) -> Sequence[int]:
        """GPUs that host an instance of `service`, ascending."""
        return sorted(self._hosts_of.get(service, ()))

    def shards(self, gpu: int) -> Sequence[Shard]:
        """What occupies `gpu`, oldest first."""
        return [shard for _, shard in self._hosts[gpu].tenancies]

    def training_gangs(self, gpu: int) -> Sequence[tuple[int, ...]]:
        """The GPUs of every training instance that has a worker on `gpu`, oldest first."""
        return [
            tuple(shard.gpu for shard in tenancy.shards)
            for tenancy, _ in self._hosts[gpu].tenancies
            if tenancy.kind == "training"
        ]


def _demand(tenancy: Tenancy) -> Demand:
    """What the instance asked for, as far as its shards tell; a split model counts by its first part."""
    first = tenancy.shards[0]
    return Demand(first.request, first.memory_bytes, len(tenancy.shards))
