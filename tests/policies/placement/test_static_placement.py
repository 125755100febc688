from __future__ import annotations

import pytest
from hand_made import GIB, Books, asks, places
from hypothesis import given
from hypothesis import strategies as st

from policies import Shard
from policies.placement import ExclusivePlacement, InflessPlacement
from policies.placement.fit import affinity_mask, feasible, whole_shards


def test_two_decimal_shares_may_fill_a_gpu_exactly() -> None:
    """.33 + .56 + .11 is a full GPU although it adds up to more than 1 in binary; a point more is not."""
    books = Books(1, 1)
    for share in (0.33, 0.56):
        books.seat(0, request=share, limit=share, gib=1)
    assert books.request[0] + 0.11 > 1.0
    assert feasible(asks(request=0.11, limit=0.11, gib=1), books, max_request=1.0, max_limit=1.0).all()
    assert not feasible(asks(request=0.12, limit=0.12, gib=1), books, max_request=1.0, max_limit=1.0).any()


@given(points=st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_points_that_sum_to_a_hundred_fit(points: list[int]) -> None:
    """Feasibility follows the sum in points of a share, whatever binary fractions make of it."""
    books = Books(1, 1)
    for point in points:
        books.seat(0, request=point / 100, limit=point / 100, gib=0)
    rest = 100 - sum(points)
    if rest > 0:
        fits = feasible(
            asks(request=rest / 100, limit=rest / 100, gib=0), books, max_request=1.0, max_limit=1.0
        )
        assert fits.all()
    over = asks(request=max(rest + 1, 1) / 100, limit=1.0, gib=0)
    assert not feasible(over, books, max_request=1.0, max_limit=9.0).any()


def test_each_of_three_bounds_can_forbid_a_gpu() -> None:
    """Request, limit and memory are separate: exceeding any one of them is enough."""
    books = Books()
    books.seat(0, request=0.8, limit=0.8, gib=1)
    books.seat(1, request=0.1, limit=1.4, gib=1)
    books.seat(2, request=0.1, limit=0.1, gib=35)
    books.seat(3, request=0.7, limit=0.9, gib=34)
    assert feasible(asks(), books, max_request=1.0, max_limit=1.5).tolist() == [False, False, False, True]


def test_the_other_workers_of_a_slowed_training_are_near() -> None:
    """Beside service s on GPU 0 runs a training: its other workers' GPUs are near, GPU 0 is not."""
    books = Books()
    books.seat(0, 1, 3, kind="training")
    books.seat(0, service="s")
    near = affinity_mask(asks(service="s"), books)
    assert near is not None
    assert near.tolist() == [False, True, False, True]
    assert affinity_mask(asks(service="another"), books) is None


def test_inference_neighbours_make_nothing_near() -> None:
    """A service that shares only with serving instances has no affinity."""
    books = Books()
    books.seat(0, service="s")
    books.seat(0, 1, kind="llm")
    assert affinity_mask(asks(service="s"), books) is None


def test_the_parts_of_a_gang_are_equal() -> None:
    """Each of four workers holds a full shard and a quarter of the instance."""
    shards = whole_shards(asks(gpus=4), [0, 1, 2, 3])
    assert shards[2] == Shard(2, 0.3, 0.6, 6 * GIB, 0.25)
    assert len(shards) == 4


# ---------------------------------------------------------------------------------------------- exclusive


def test_exclusive_takes_the_first_empty_gpus() -> None:
    """However small, an instance gets a GPU of its own; a training job gets one a worker."""
    books = Books()
    books.seat(0, request=0.1, limit=0.1, gib=1)
    books.seat(2, request=0.1, limit=0.1, gib=1)
    assert places(ExclusivePlacement().place(asks(), books)) == [1]
    assert places(ExclusivePlacement().place(asks("training", gpus=2), books)) == [1, 3]


def test_exclusive_workers_need_not_share_a_node() -> None:
    """The device plugin knows no nodes: two workers land on two of them."""
    books = Books(2, 2)
    books.seat(1)
    books.seat(2)
    assert places(ExclusivePlacement().place(asks("training", gpus=2), books)) == [0, 3]


@pytest.mark.parametrize(("gpus", "gib"), [(4, 6), (1, 41)])
def test_exclusive_refuses_what_has_no_empty_gpu(gpus: int, gib: int) -> None:
    """Too few empty GPUs, or too little memory on one, is a refusal."""
    books = Books()
    books.seat(0)
    assert ExclusivePlacement().place(asks("training", gpus=gpus, gib=gib), books) is None


# ------------------------------------------------------------------------------------------------ INFless+


def test_static_quotas_admit_by_their_sum() -> None:
    """-l admits by limits, -r by requests: the same two functions share a GPU only under -r."""
    as_limit, as_request = Books(), Books()
    as_limit.seat(0, request=0.6, limit=0.6)
    as_request.seat(0, request=0.3, limit=0.3)
    policy = InflessPlacement()
    assert places(policy.place(asks(request=0.6, limit=0.6), as_limit)) == [1]
    assert places(policy.place(asks(request=0.3, limit=0.3), as_request)) == [0]


def test_infless_packs_the_fullest_sms_whatever_the_memory() -> None:
    """Best fit is on SM alone: GPU 1 has more request, GPU 0 more memory."""
    books = Books()
    books.seat(0, request=0.2, limit=0.2, gib=30)
    books.seat(1, request=0.3, limit=0.3, gib=1)
    books.seat(2, request=0.8, limit=0.8, gib=1)
    assert places(InflessPlacement().place(asks(request=0.3, limit=0.3), books)) == [1]


def test_infless_follows_affinity_unless_told_not_to() -> None:
    """The other worker of the slowed training is preferred to a better fit."""
    books = Books()
    books.seat(0, 1, request=0.2, limit=0.2, kind="training")
    books.seat(0, request=0.1, limit=0.1, service="s")
    books.seat(2, request=0.6, limit=0.6)
    wanted = asks(request=0.3, limit=0.3, service="s")
    assert places(InflessPlacement().place(wanted, books)) == [1]
    assert places(InflessPlacement(affinity=False).place(wanted, books)) == [2]
    books.seat(1, request=0.6, limit=0.6)
    assert places(InflessPlacement().place(wanted, books)) == [2], "a near GPU that is full is passed over"


def test_the_fullest_of_the_near_gpus_is_taken() -> None:
    """Among the slowed training's other workers best fit decides too."""
    books = Books()
    books.seat(0, 1, 2, request=0.2, limit=0.2, kind="training")
    books.seat(0, request=0.1, limit=0.1, service="s")
    books.seat(2, request=0.1, limit=0.1)
    assert places(InflessPlacement().place(asks(request=0.3, limit=0.3, service="s"), books)) == [2]


def test_infless_does_not_split_an_llm() -> None:
    """Fragments of 20 GiB on four GPUs do not make room for 28 GiB."""
    books = Books()
    for gpu in range(4):
        books.seat(gpu, request=0.2, limit=0.2, gib=20)
    assert InflessPlacement().place(asks("llm", request=0.5, limit=0.5, gib=28), books) is None


def test_a_gang_takes_the_first_node_with_enough_active_gpus() -> None:
    """Node 1 has two active GPUs that fit, node 0 only one and a fresh one: node 1."""
    books = Books(2, 2)
    for gpu in (0, 2, 3):
        books.seat(gpu, request=0.2, limit=0.2)
    assert places(InflessPlacement().place(asks("training", gpus=2, limit=0.3), books)) == [2, 3]


def test_a_gang_mixes_active_and_fresh_gpus_of_one_node() -> None:
    """Where no node has enough active GPUs, the first with active and fresh ones together, active first."""
    books = Books(2, 3)
    books.seat(0, request=0.9, limit=0.9)
    books.seat(2, request=0.2, limit=0.2)
    assert places(InflessPlacement().place(asks("training", gpus=2, limit=0.3), books)) == [2, 1]


def test_a_gang_stays_on_one_node() -> None:
    """Two free GPUs on two nodes are no place for two workers."""
    books = Books(2, 2)
    for gpu in (0, 3):
        books.seat(gpu, request=1.0, limit=1.0)
    assert InflessPlacement().place(asks("training", gpus=2), books) is None
