"""The books of a cluster: who sits where, and how much of each GPU is promised."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from policies.functions import Cluster, Kind, MixedCluster
from policies.slots import EMPTY_SLOT, Demand, Shard


@dataclass(frozen=True, slots=True)
class Tenancy:
    """One instance, the shards it occupies, and the types of GPU that it may have (`None`: any)."""

    instance: int
    service: Hashable
    kind: Kind
    shards: tuple[Shard, ...]
    gpu_types: frozenset[str] | None = None


@dataclass(slots=True)
class _Host:
    """Residents of one GPU, oldest first, each with its shard there."""

    tenancies: list[tuple[Tenancy, Shard]] = field(default_factory=list)


class ClusterBooks:
    """Columns over GPUs (a `policies.slots.ClusterView`) that `enter` and `leave` keep.

    Sums are recomputed from the residents whenever one leaves, so that no rounding error accumulates over the
    life of a cluster. An empty slot is full: its request and limit are 1.
    """

    def __init__(self, cluster: Cluster | MixedCluster) -> None:
        self.gpus_per_node = cluster.gpus_per_node
        self._type_names = sorted({group.gpu.name for group in cluster.groups})
        self._types, self.memory_capacity = _slots(cluster, self._type_names)
        self.node_kinds = _node_kinds(cluster)
        self._of_types: dict[frozenset[str], NDArray[np.bool_]] = {}
        slots = len(self.memory_capacity)
        empty = self.memory_capacity == EMPTY_SLOT
        self.request: NDArray[np.float64] = empty.astype(np.float64)
        self.limit: NDArray[np.float64] = empty.astype(np.float64)
        self.memory: NDArray[np.int64] = np.zeros(slots, dtype=np.int64)
        self.residents: NDArray[np.int32] = np.zeros(slots, dtype=np.int32)
        self._hosts = [_Host() for _ in range(slots)]
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

    def of_types(self, types: frozenset[str]) -> NDArray[np.bool_]:
        """Mask of the GPUs of these types."""
        mask = self._of_types.get(types)
        if mask is None:
            wanted = [number for number, name in enumerate(self._type_names) if name in types]
            mask = self._of_types[types] = np.isin(self._types, wanted)
            mask.flags.writeable = False  # all who ask see this one
        return mask

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
    return Demand(first.request, first.memory_bytes, len(tenancy.shards), tenancy.gpu_types)


def _slots(
    cluster: Cluster | MixedCluster, type_names: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return of each slot the number of its GPU's type and that GPU's bytes; `EMPTY_SLOT` without one."""
    shape = cluster.nodes, cluster.gpus_per_node
    types = np.full(shape, EMPTY_SLOT, dtype=np.int64)
    memory_bytes = np.full(shape, EMPTY_SLOT, dtype=np.int64)
    first = 0
    for group in cluster.groups:
        here = slice(first, first + group.nodes), slice(group.gpus_per_node)
        types[here] = type_names.index(group.gpu.name)
        memory_bytes[here] = group.gpu.memory_bytes
        first += group.nodes
    return types.reshape(-1), memory_bytes.reshape(-1)


def _node_kinds(cluster: Cluster | MixedCluster) -> NDArray[np.int64]:
    """Return the number of each node's kind."""
    numbers = {(kind.gpus_per_node, kind.gpu): number for number, kind in enumerate(cluster.kinds)}
    of_groups = [numbers[group.gpus_per_node, group.gpu] for group in cluster.groups]
    return np.repeat(np.array(of_groups, dtype=np.int64), [group.nodes for group in cluster.groups])
