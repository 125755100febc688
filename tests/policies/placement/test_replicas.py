from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made import Books, asks, places

from policies import PolicyError
from policies.placement import MemoryPlacement, ReplicaPlacement
from policies.testing import check_policy


def residents(*counts: int, gpus_per_node: int = 4) -> Books:
    """Books with so many residents of 1 GiB on each GPU."""
    books = Books(len(counts) // gpus_per_node, gpus_per_node)
    for gpu, count in enumerate(counts):
        for _ in range(count):
            books.seat(gpu, request=0.9, limit=1.0, gib=1)
    return books


# ------------------------------------------------------------------------------------------------- replicas


def test_a_gpu_takes_as_many_as_it_has_replicas_whatever_they_ask() -> None:
    """Four whole-GPU instances share GPU 0, and the fifth goes to GPU 1."""
    books = Books()
    for _ in range(4):
        assert places(ReplicaPlacement().place(asks(request=1.0, limit=1.0), books)) == [0]
        books.seat(0, request=1.0, limit=1.0)
    assert places(ReplicaPlacement().place(asks(request=0.1, limit=0.1), books)) == [1]
    assert places(ReplicaPlacement(replicas=5).place(asks(), books)) == [0]


@pytest.mark.parametrize(("allocation", "gpu"), [("first", 1), ("packed", 2), ("distributed", 3)])
def test_three_ways_to_pick_a_replica(allocation: str, gpu: int) -> None:
    """GPU 0 is full: 1 is the next, 2 has most taken, 3 fewest."""
    books = residents(4, 2, 3, 1)
    assert places(replace(ReplicaPlacement(), allocation=allocation).place(asks(), books)) == [gpu]


def test_replicas_do_not_stretch_memory() -> None:
    """Where memory is used up, a free replica is of no use."""
    books = Books(1, 2)
    books.seat(0, gib=38)
    assert places(ReplicaPlacement().place(asks(), books)) == [1]
    assert ReplicaPlacement().place(asks(gib=41), books) is None


def test_no_free_replica_is_a_refusal() -> None:
    """All are taken."""
    assert ReplicaPlacement(replicas=1).place(asks(), residents(1, 1, 1, 1)) is None


@pytest.mark.parametrize(
    ("allocation", "gpus"), [("first", [1, 3]), ("packed", [3, 1]), ("distributed", [4, 5])]
)
def test_workers_take_replicas_of_different_gpus_of_one_node(allocation: str, gpus: list[int]) -> None:
    """Node 0 has replicas on GPUs 1 and 3, node 1 on all: never two of one GPU, never two nodes."""
    books = residents(4, 2, 4, 3, 0, 0, 1, 1)
    policy = replace(ReplicaPlacement(), allocation=allocation)
    assert places(policy.place(asks("training", gpus=2), books)) == gpus
    assert ReplicaPlacement().place(asks("training", gpus=5), books) is None
    assert ReplicaPlacement().place(asks("training", gpus=4), residents(4, 0, 0, 0, 0, 0, 0, 4)) is None


@pytest.mark.parametrize(("constant", "value"), [("replicas", 0), ("allocation", "worst")])
def test_impossible_replica_constants_are_refused(constant: str, value: object) -> None:
    """The message names the constant."""
    with pytest.raises(PolicyError, match=f"{constant}: found"):
        replace(ReplicaPlacement(), **{constant: value})


# --------------------------------------------------------------------------------------------------- memory


def test_the_least_shared_gpu_with_memory_is_taken() -> None:
    """GPU 2 has fewest residents but no memory left; of the others GPU 1 has fewest."""
    books = residents(3, 1, 0, 2)
    books.seat(2, gib=38)
    assert places(MemoryPlacement().place(asks(), books)) == [1]


def test_shares_do_not_count_for_memory_placement() -> None:
    """Nine instances of nine tenths sit on one GPU, as long as memory holds them."""
    assert places(MemoryPlacement().place(asks(request=1.0, limit=1.0), residents(9, gpus_per_node=1))) == [0]
    assert MemoryPlacement().place(asks(gib=32), residents(9, gpus_per_node=1)) is None


def test_a_gang_takes_the_least_shared_gpus_of_a_node() -> None:
    """GPUs 4 and 6 have two residents together, no pair of node 0 has fewer than three."""
    assert places(MemoryPlacement().place(asks("training", gpus=2), residents(1, 2, 9, 9, 1, 9, 1, 9))) == [
        4,
        6,
    ]


@pytest.mark.parametrize(
    "policy",
    [
        ReplicaPlacement(),
        ReplicaPlacement(replicas=2, allocation="packed"),
        ReplicaPlacement(allocation="distributed"),
        MemoryPlacement(),
    ],
)
def test_share_blind_placements_keep_the_contract(policy: ReplicaPlacement | MemoryPlacement) -> None:
    """They are placement policies."""
    assert check_policy(policy) == ("placement",)
