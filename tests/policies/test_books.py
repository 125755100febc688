from __future__ import annotations

from collections import Counter
from typing import get_args

import numpy as np
import pytest
from hand_made import GIB, Books, cluster
from hypothesis import given
from hypothesis import strategies as st

from policies import Shard
from policies.books import ClusterBooks, Tenancy
from policies.functions import Kind
from policies.slots import Demand

KINDS: st.SearchStrategy[Kind] = st.sampled_from(get_args(Kind))
CENTS = st.integers(1, 100).map(lambda cents: cents / 100)


@st.composite
def tenancies(draw: st.DrawFn, instance: int) -> Tenancy:
    """Draw an instance of one of three services on one to four of six GPUs."""
    gpus = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True))
    shards = tuple(Shard(gpu, draw(CENTS), draw(CENTS), draw(st.integers(0, 40 * GIB))) for gpu in gpus)
    types = draw(st.sampled_from([None, frozenset({"gpu"})]))
    return Tenancy(instance, draw(st.sampled_from("abc")), draw(KINDS), shards, types)


@given(data=st.data(), enters=st.lists(st.booleans(), max_size=30))
def test_the_columns_are_the_sums_of_who_is_here(data: st.DataObject, enters: list[bool]) -> None:
    """After any sequence of entering and leaving, every column and list equals one computed from scratch."""
    books = ClusterBooks(cluster(2, 3))
    here: dict[int, Tenancy] = {}
    for step, enter in enumerate(enters):
        if enter:
            here[step] = data.draw(tenancies(step))
            books.enter(here[step])
        elif here:
            leaves = data.draw(st.sampled_from(sorted(here)))
            assert books.leave(leaves) is here.pop(leaves)
    seats = [(tenancy, shard) for tenancy in here.values() for shard in tenancy.shards]
    for gpu in range(6):
        on_gpu = [shard for _, shard in seats if shard.gpu == gpu]
        assert books.request[gpu] == pytest.approx(sum(s.request for s in on_gpu), abs=1e-9)
        assert books.limit[gpu] == pytest.approx(sum(s.limit for s in on_gpu), abs=1e-9)
        assert books.memory[gpu] == sum(s.memory_bytes for s in on_gpu)
        assert books.residents[gpu] == len(on_gpu)
        assert books.shards(gpu) == on_gpu
        assert books.training_gangs(gpu) == [
            tuple(s.gpu for s in tenancy.shards)
            for tenancy, shard in seats
            if shard.gpu == gpu and tenancy.kind == "training"
        ]
    for service in "abc":
        assert books.hosts(service) == sorted({s.gpu for t, s in seats if t.service == service})
    assert books.demands == Counter(
        Demand(t.shards[0].request, t.shards[0].memory_bytes, len(t.shards), t.gpu_types)
        for t in here.values()
    )


@given(data=st.data(), count=st.integers(1, 20))
def test_nothing_is_left_when_all_have_left(data: st.DataObject, count: int) -> None:
    """However long the sums were, an empty cluster is exactly empty: no rounding error stays behind."""
    books = ClusterBooks(cluster(2, 3))
    for instance in range(count):
        books.enter(data.draw(tenancies(instance)))
    for instance in data.draw(st.permutations(range(count))):
        books.leave(instance)
    for column in (books.request, books.limit, books.memory, books.residents):
        assert not column.any()
    assert [books.hosts(service) for service in "abc"] == [[], [], []]
    assert [books.shards(gpu) for gpu in range(6)] == [[]] * 6
    assert books.demands == {}


def test_who_is_not_here_is_not_found() -> None:
    """Asking for, or freeing, an instance that is not booked is a mistake of the caller."""
    books = Books()
    seated = books.seat(1)
    assert books.tenancy(seated).shards[0].gpu == 1
    books.leave(seated)
    with pytest.raises(KeyError):
        books.tenancy(seated)
    with pytest.raises(KeyError):
        books.leave(seated)


def test_two_instances_of_a_service_host_it_until_both_have_left() -> None:
    """A GPU hosts a service as long as one of its instances sits there."""
    books = Books()
    first, second = books.seat(2, service="s"), books.seat(2, service="s")
    books.leave(first)
    assert books.hosts("s") == [2]
    books.leave(second)
    assert books.hosts("s") == []


def test_shards_are_seen_as_the_placement_made_them() -> None:
    """With the seat, the batch and the part that it gave each, oldest first, on their own GPU only."""
    books = ClusterBooks(cluster(1, 2))
    first = Shard(0, 0.3, 0.6, GIB, part=0.5, seat=("row", 2))
    second = Shard(1, 0.4, 0.8, 2 * GIB, part=0.5)
    third = Shard(0, 0.2, 0.2, GIB, batch=8)
    books.enter(Tenancy(0, "a", "llm", (first, second)))
    books.enter(Tenancy(1, "b", "inference", (third,)))
    assert [books.shards(gpu) for gpu in range(2)] == [[first, third], [second]]
    books.leave(0)
    assert [books.shards(gpu) for gpu in range(2)] == [[third], []]


def test_instances_of_one_demand_are_counted_together() -> None:
    """Whatever they serve and wherever they sit; an instance on two GPUs is one, and by its first part."""
    books = Books()
    books.seat(0)
    again = books.seat(3, service="other", limit=0.9)
    books.seat(0, gib=7)
    books.enter(Tenancy(9, "split", "llm", (Shard(1, 0.3, 0.6, 6 * GIB), Shard(2, 0.1, 0.2, GIB))))
    alike, larger, split = Demand(0.3, 6 * GIB, 1), Demand(0.3, 7 * GIB, 1), Demand(0.3, 6 * GIB, 2)
    assert books.demands == {alike: 2, larger: 1, split: 1}
    books.leave(again)
    assert books.demands == {alike: 1, larger: 1, split: 1}
    books.leave(9)
    assert books.demands == {alike: 1, larger: 1}


def test_the_columns_have_the_types_the_protocol_names() -> None:
    """Shares are float64, bytes int64 and residents int32, one entry a GPU."""
    books = ClusterBooks(cluster(3, 4))
    columns = (books.request, books.limit, books.memory, books.residents)
    assert [column.dtype for column in columns] == [np.float64, np.float64, np.int64, np.int32]
    assert [len(column) for column in columns] == [12] * 4
