"""Placement on nodes that differ: types of GPU, memory, and slots that hold none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hand_made import GIB, asks, places
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import Cluster, PlacementRequest, Shard, Size, System, find_system, system_names
from policies.books import ClusterBooks, Tenancy
from policies.functions import MixedCluster
from policies.placement import (
    ComplementaryPlacement,
    ExclusivePlacement,
    FragmentationGradient,
    InflessPlacement,
    MemoryPlacement,
    ReplicaPlacement,
)
from policies.placement.fragmentation import fragmentation, popular
from policies.slots import EMPTY_SLOT, Demand
from profiles import GpuType

TYPES = ("P4", "T4", "V100")
SMALL, MIDDLE, LARGE = (GpuType(name, gib * GIB, 0) for name, gib in zip(TYPES, (8, 16, 32), strict=True))
UNKNOWN = GpuType("G2", 0, 0)
TRIO = MixedCluster((Cluster(1, 1, SMALL), Cluster(1, 3, MIDDLE), Cluster(1, 2, LARGE)))
"""Slots 0, 3 to 5, 6 and 7 hold GPUs; 1, 2 and 8 are empty."""

SYSTEMS = list({(find_system(n).placement, find_system(n).sizing): n for n in system_names()}.values())
"""One system of each pair of placement and sizing."""


@st.composite
def clusters(draw: st.DrawFn) -> MixedCluster:
    """Draw up to four groups of nodes of three known types and an unknown one."""
    types = st.sampled_from([SMALL, MIDDLE, LARGE, UNKNOWN])
    group = st.builds(Cluster, st.integers(1, 2), st.integers(1, 4), types)
    return MixedCluster(tuple(draw(st.lists(group, min_size=1, max_size=4))))


@st.composite
def requests(draw: st.DrawFn) -> PlacementRequest:
    """Draw an instance of any kind, size and choice of types."""
    request = draw(st.integers(1, 20)) / 20
    limit = draw(st.integers(round(request * 20), 20)) / 20
    kind = draw(st.sampled_from(["inference", "llm", "training"]))
    gpus = 1 if kind == "llm" else draw(st.sampled_from([1, 1, 1, 2, 4]))
    memory = draw(st.sampled_from([0, GIB, 4 * GIB, 12 * GIB, 30 * GIB]))
    if kind == "llm":
        memory = max(memory, GIB)
    types = draw(st.none() | st.frozensets(st.sampled_from([*TYPES, "G2"]), min_size=1, max_size=2))
    service = draw(st.sampled_from("abc"))
    return PlacementRequest(service, kind, gpus, request, limit, memory, gpu_types=types)


def reserved(system: System, request: PlacementRequest) -> PlacementRequest:
    """What a system makes of a profiled size."""
    size = system.sizing.reserve(Size(1, request.request, request.limit))
    return replace(request, request=size.request, limit=size.limit)


@pytest.mark.parametrize("name", SYSTEMS)
@settings(max_examples=30, deadline=None)
@given(cluster=clusters(), asked=st.lists(requests(), max_size=25), leaving=st.sets(st.integers(0, 24)))
def test_no_placement_breaks_a_cluster_that_differs(
    name: str, cluster: MixedCluster, asked: list[PlacementRequest], leaving: set[int]
) -> None:
    """Whatever comes and goes: memory holds, types are those allowed, a gang stays on a node, and nothing is
    put where there is no GPU.
    """
    system = find_system(name)
    books = ClusterBooks(cluster)
    empty = books.memory_capacity == EMPTY_SLOT
    for number, profiled in enumerate(asked):
        request = reserved(system, profiled)
        shards = system.placement.place(request, books)
        if shards is None:
            continue
        gpus = [shard.gpu for shard in shards]
        assert not empty[gpus].any()
        assert len(set(gpus)) == len(gpus)
        if request.gpu_types is not None:
            assert books.of_types(request.gpu_types)[gpus].all()
        if not (isinstance(system.placement, ExclusivePlacement) and request.kind == "training"):
            assert len({gpu // cluster.gpus_per_node for gpu in gpus}) == 1
        assert sum(shard.memory_bytes for shard in shards) == request.memory_bytes * request.gpus
        books.enter(Tenancy(number, request.service, request.kind, shards, request.gpu_types))
        assert (books.memory[~empty] <= books.memory_capacity[~empty]).all()
        if not isinstance(system.placement, ReplicaPlacement | MemoryPlacement):  # which bound no shares
            assert (books.request[~empty] <= 1.0 + 1e-6).all()
        if number in leaving:
            books.leave(number)
    assert (books.request[empty] == 1.0).all()
    assert not books.residents[empty].any()
    assert not books.memory[empty].any()


@pytest.mark.parametrize("name", SYSTEMS)
@settings(max_examples=30, deadline=None)
@given(cluster=clusters(), profiled=requests())
def test_an_empty_cluster_takes_what_one_of_its_nodes_can(
    name: str, cluster: MixedCluster, profiled: PlacementRequest
) -> None:
    """No system overlooks a node with enough GPUs of an allowed type that have the memory."""
    system = find_system(name)
    able = any(
        (profiled.gpu_types is None or kind.gpu.name in profiled.gpu_types)
        and kind.gpu.memory_bytes >= profiled.memory_bytes
        and kind.gpus_per_node >= profiled.gpus
        for kind in cluster.kinds
    )
    shards = system.placement.place(reserved(system, profiled), ClusterBooks(cluster))
    if able:
        assert shards is not None
        assert len(shards) == profiled.gpus
    elif shards is not None:  # beyond one node: an LLM in parts, workers of a job on GPUs of their own
        assert profiled.kind != "inference"


@pytest.mark.parametrize("name", SYSTEMS)
def test_types_of_a_cluster_that_is_all_alike_change_nothing(name: str) -> None:
    """To be allowed the only type that there is, is to be allowed any."""
    system = find_system(name)
    alike, listed = Cluster(2, 4, MIDDLE), MixedCluster((Cluster(1, 4, MIDDLE), Cluster(1, 4, MIDDLE)))
    for kind, gpus in (("inference", 1), ("training", 2), ("llm", 1)):
        request = reserved(system, asks(kind, gpus=gpus))  # type: ignore[arg-type]
        free = system.placement.place(request, ClusterBooks(alike))
        bound = replace(request, gpu_types=frozenset({"T4"}))
        assert system.placement.place(bound, ClusterBooks(listed)) == free
        assert (
            system.placement.place(replace(bound, gpu_types=frozenset({"A100"})), ClusterBooks(alike)) is None
        )


def test_exclusive_takes_whole_gpus_of_the_type() -> None:
    """The first fresh one that is allowed, and never an empty slot."""
    books = ClusterBooks(TRIO)
    large = frozenset({"V100"})
    assert places(ExclusivePlacement().place(asks(), books)) == [0]
    assert places(ExclusivePlacement().place(replace(asks(), gpu_types=large), books)) == [6]
    assert places(ExclusivePlacement().place(asks(gib=12), books)) == [3]


def test_exclusive_spreads_workers_alone_over_nodes() -> None:
    """Four workers of a job take the first GPUs; an instance of four GPUs needs a node that has them."""
    books = ClusterBooks(TRIO)
    assert places(ExclusivePlacement().place(asks("training", gpus=4), books)) == [0, 3, 4, 5]
    assert ExclusivePlacement().place(asks(gpus=4), books) is None
    assert places(ExclusivePlacement().place(asks(gpus=3), books)) == [3, 4, 5]


def test_an_empty_slot_is_no_worker_s_place() -> None:
    """A node of two GPUs cannot take three workers, however wide the others are."""
    for placement in (InflessPlacement(), ComplementaryPlacement(), FragmentationGradient()):
        assert places(placement.place(asks("training", gpus=3), ClusterBooks(TRIO))) == [3, 4, 5]
        narrow = replace(asks("training", gpus=3), gpu_types=frozenset({"V100", "P4"}))
        assert placement.place(narrow, ClusterBooks(TRIO)) is None


def test_an_llm_is_split_over_types_that_it_may_have() -> None:
    """Too large for any GPU, it fills the two V100s of a node; bound to T4s, three of them."""
    placement = ComplementaryPlacement()
    shards = placement.place(asks("llm", gib=40), ClusterBooks(TRIO))
    assert shards is not None
    assert [(shard.gpu, shard.memory_bytes // GIB) for shard in shards] == [(6, 32), (7, 8)]
    bound = replace(asks("llm", gib=40), gpu_types=frozenset({"T4"}))
    assert places(placement.place(bound, ClusterBooks(TRIO))) == [3, 4, 5]


def test_an_llm_is_split_where_the_only_gpu_that_could_hold_it_whole_is_taken() -> None:
    """Fresh small GPUs serve once the large ones are full; while a fresh large one is there, it is taken."""
    cluster = MixedCluster((Cluster(1, 1, LARGE), Cluster(1, 2, MIDDLE)))
    books = ClusterBooks(cluster)
    placement = ComplementaryPlacement()
    assert places(placement.place(asks("llm", gib=30), books)) == [0]
    books.enter(Tenancy(0, "other", "inference", (Shard(0, 1.0, 1.0, 30 * GIB),)))
    assert places(placement.place(asks("llm", gib=30), books)) == [2, 3]


def test_unknown_memory_takes_what_asks_for_none() -> None:
    """Every placement goes by shares alone there, and none divides by the memory."""
    for name in SYSTEMS:
        system = find_system(name)
        books = ClusterBooks(MixedCluster((Cluster(1, 2, UNKNOWN),)))
        first = system.placement.place(reserved(system, asks(gib=0)), books)
        assert places(first) == [0]
        books.enter(Tenancy(0, "first", "inference", first or ()))
        assert system.placement.place(reserved(system, asks(gib=0)), books) is not None
        assert system.placement.place(reserved(system, asks(gib=1)), books) is None


def test_what_a_class_may_not_have_is_a_fragment_for_it() -> None:
    """Two of three empty GPUs are none of a class's type: two fragments, whatever room they have."""
    books = ClusterBooks(MixedCluster((Cluster(1, 2, SMALL), Cluster(1, 1, LARGE))))
    bound = Demand(0.5, 0, 1, frozenset({"V100"}))
    free = Demand(0.5, 0, 1)
    assert fragmentation(books, {free: 1}) == 0.0
    assert fragmentation(books, {bound: 1}) == pytest.approx(2.0)
    assert fragmentation(books, {bound: 1, free: 3}) == pytest.approx(0.5)
    both = Demand(0.5, 0, 2, frozenset({"V100"}))
    assert fragmentation(books, {both: 1}) == pytest.approx(3.0)


def test_the_gradient_leaves_a_type_to_those_who_need_it() -> None:
    """An instance of any type goes where it takes nothing from the V100s that half of all instances need."""
    books = ClusterBooks(MixedCluster((Cluster(1, 4, LARGE), Cluster(1, 4, SMALL))))
    needy = frozenset({"V100"})
    books.enter(Tenancy(0, "needy", "inference", (Shard(0, 1.0, 1.0, 0),), needy))
    any_type = asks(request=1.0, limit=1.0, gib=0)
    assert places(FragmentationGradient().place(any_type, books)) == [4]
    assert places(FragmentationGradient().place(replace(any_type, gpu_types=needy), books)) == [1]


def test_the_gradient_looks_past_full_nodes_and_the_first_empty_one() -> None:
    """With the only used node full, the types of the empty ones after it are told apart."""
    books = ClusterBooks(MixedCluster((Cluster(1, 1, LARGE), Cluster(1, 2, LARGE), Cluster(1, 2, SMALL))))
    needy = frozenset({"V100"})
    books.enter(Tenancy(0, "needy", "inference", (Shard(0, 1.0, 1.0, 0),), needy))
    any_type = asks(request=1.0, limit=1.0, gib=0)
    assert places(FragmentationGradient().place(any_type, books)) == [4]


def test_an_empty_node_of_each_kind_is_tried() -> None:
    """Of equal empty nodes the first stands for all; one of another width is not equal."""
    books = ClusterBooks(MixedCluster((Cluster(3, 1, MIDDLE), Cluster(2, 4, MIDDLE))))
    gang = asks(request=1.0, limit=1.0, gib=0, gpus=4)
    assert places(FragmentationGradient().place(gang, books)) == [12, 13, 14, 15]
    books.enter(Tenancy(0, "gang", "inference", tuple(Shard(gpu, 1.0, 1.0, 0) for gpu in range(12, 16))))
    single = asks(request=1.0, limit=1.0, gib=0)
    assert places(FragmentationGradient().place(single, books)) == [0]  # the wide one is left to gangs


def test_popular_classes_are_the_same_in_every_run() -> None:
    """Ties are broken by the names of types in order, not by how a set happens to list them."""
    demands = [Demand(0.5, 0, 1, types) for types in (None, frozenset({"a", "b"}), frozenset({"b"}))]
    for order in (demands, demands[::-1]):
        kept = popular(dict.fromkeys(order, 1), 0.6)
        assert list(kept) == demands[:2]


def test_the_slots_of_a_mixed_cluster() -> None:
    """Narrow nodes are padded with full slots of no memory; kinds are numbered by first appearance."""
    groups = (Cluster(1, 1, SMALL), Cluster(1, 2, LARGE), Cluster(1, 1, SMALL), Cluster(2, 1, LARGE))
    cluster = MixedCluster(groups)
    assert (cluster.nodes, cluster.gpus_per_node, cluster.gpus) == (5, 2, 6)
    assert cluster.kinds == (Cluster(2, 1, SMALL), Cluster(1, 2, LARGE), Cluster(2, 1, LARGE))
    books = ClusterBooks(cluster)
    gib = books.memory_capacity // GIB
    assert gib.tolist() == [8, -1, 32, 32, 8, -1, 32, -1, 32, -1]
    assert books.memory_capacity[1] == EMPTY_SLOT
    assert books.request.tolist() == books.limit.tolist() == [0, 1, 0, 0, 0, 1, 0, 1, 0, 1]
    assert books.node_kinds.tolist() == [0, 1, 0, 2, 2]
    assert np.flatnonzero(books.of_types(frozenset({"P4"}))).tolist() == [0, 4]
    assert np.flatnonzero(books.of_types(frozenset({"P4", "V100", "K80"}))).tolist() == [0, 2, 3, 4, 6, 8]
    assert not books.of_types(frozenset({"K80"})).any()
