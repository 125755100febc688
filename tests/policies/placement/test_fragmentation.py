from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made import GIB, Books, asks, places
from hypothesis import given
from hypothesis import strategies as st

from policies import PolicyError, Shard
from policies.books import Tenancy
from policies.placement import FragmentationGradient
from policies.placement.fragmentation import fragmentation, popular
from policies.slots import Demand
from policies.testing import check_policy

SMALL, HALF, WHOLE = Demand(0.2, GIB, 1), Demand(0.5, GIB, 1), Demand(1.0, GIB, 1)
PAIR = Demand(0.5, GIB, 2)


def two_nodes(*requests: float) -> Books:
    """Two nodes of two GPUs with an instance of 1 GiB of each request that is not 0."""
    books = Books(2, 2)
    for gpu, request in enumerate(requests):
        if request:
            books.seat(gpu, request=request, limit=request, gib=1)
    return books


# -------------------------------------------------------------------------------------------- fragmentation


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ({SMALL: 1}, 0.1),  # only the .1 left on GPU 1 is too little
        ({HALF: 1}, 0.1 + 0.4),  # GPU 1 on the first node; GPU 3 on the second
        ({WHOLE: 1}, 0.7 + 0.1 + 0.4),  # no GPU of node 0 is whole; GPU 2 of node 1 is
        ({PAIR: 1}, 0.7 + 0.1 + 1.0 + 0.4),  # no node has two GPUs with a half: all that is left
        ({SMALL: 3, WHOLE: 1}, 0.75 * 0.1 + 0.25 * 1.2),
        ({}, 0.0),
    ],
)
def test_fragmentation_of_two_nodes_by_hand(classes: dict[Demand, int], expected: float) -> None:
    """.7 and .1 are left on node 0, 1 and .4 on node 1."""
    assert fragmentation(two_nodes(0.3, 0.9, 0.0, 0.6), classes) == pytest.approx(expected)


def test_what_memory_denies_is_a_fragment_too() -> None:
    """The .7 of GPU 0 is of no use to a class that needs more memory than is left there."""
    books = Books(1, 2)
    books.seat(0, request=0.3, limit=0.3, gib=35)
    assert fragmentation(books, {Demand(0.2, 5 * GIB, 1): 1}) == 0.0
    assert fragmentation(books, {Demand(0.2, 6 * GIB, 1): 1}) == pytest.approx(0.7)


def test_a_full_cluster_and_an_empty_one_have_no_fragments() -> None:
    """Nothing is left, or all is whole."""
    assert fragmentation(two_nodes(), {WHOLE: 1, PAIR: 2}) == 0.0
    assert fragmentation(two_nodes(1.0, 1.0, 1.0, 1.0), {SMALL: 1}) == 0.0


@given(
    requests=st.lists(st.integers(0, 100), min_size=4, max_size=4),
    classes=st.dictionaries(st.sampled_from([SMALL, HALF, WHOLE, PAIR]), st.integers(1, 9), min_size=1),
)
def test_fragmentation_lies_between_nothing_and_all_that_is_left(
    requests: list[int], classes: dict[Demand, int]
) -> None:
    """It is a part of the residual, whatever the classes."""
    books = two_nodes(*(request / 100 for request in requests))
    assert -1e-9 <= fragmentation(books, classes) <= float((1.0 - books.request).sum()) + 1e-9


# -------------------------------------------------------------------------------------------------- classes


def test_typical_classes_are_the_most_frequent_ones() -> None:
    """Of 20 instances, 19 cover .95; ties are broken by the demand, so that the order of arrival is none."""
    counts = {WHOLE: 1, SMALL: 10, HALF: 9}
    assert popular(counts, 0.95) == {SMALL: 10, HALF: 9}
    assert popular(counts, 0.96) == counts
    assert popular(counts, 0.5) == {SMALL: 10}
    assert popular({WHOLE: 1, SMALL: 1}, 0.5) == popular({SMALL: 1, WHOLE: 1}, 0.5) == {SMALL: 1}


def test_rare_classes_do_not_decide() -> None:
    """One whole-GPU instance among 41 small ones keeps GPU 0 whole only if all classes are covered."""
    books = Books(1, 3)
    for _ in range(40):
        books.seat(1, request=0.01, limit=0.01, gib=0)
    books.seat(2, request=1.0, limit=1.0, gib=1)
    wanted = asks(request=0.01, limit=0.01, gib=0)
    assert places(FragmentationGradient().place(wanted, books)) == [0]
    assert places(FragmentationGradient(coverage=1.0).place(wanted, books)) == [1]


def test_sizes_that_hardly_differ_are_one_class() -> None:
    """.31 and .34 count as .35, 5 and 6 GiB of 40 as 5 and 7.5."""
    books = Books()
    books.seat(0, request=0.31, limit=0.31, gib=5)
    books.seat(1, request=0.34, limit=0.34, gib=6)
    classes = FragmentationGradient()._classes(asks(request=0.35, limit=0.35, gib=6), books)
    assert classes == {Demand(0.35, int(7.5 * GIB), 1): 2, Demand(0.35, 5 * GIB, 1): 1}


# ------------------------------------------------------------------------------------------------ placement


def test_a_whole_gpu_is_kept_for_those_who_need_one() -> None:
    """Whole-GPU instances are common: a small one goes where their room is gone anyhow, not to GPU 0."""
    books = Books(1, 4)
    books.seat(1, request=0.5, limit=0.5, gib=1)
    for gpu in (2, 3):
        books.seat(gpu, request=1.0, limit=1.0, gib=1)
    assert places(FragmentationGradient().place(asks(request=0.2, limit=0.4), books)) == [1]


def test_a_gpu_whose_rest_would_be_useless_is_avoided() -> None:
    """All ask for .3: on GPU 0 a third would leave a useless .1, on GPU 1 a second leaves .4, of use."""
    books = Books(1, 2)
    for _ in range(2):
        books.seat(0, request=0.3, limit=0.3)
    books.seat(1, request=0.3, limit=0.3)
    assert places(FragmentationGradient().place(asks(request=0.3, limit=0.6), books)) == [1]


def test_a_useless_rest_is_the_best_place() -> None:
    """.2 fit in GPU 1's .2, of which the common .5 can make no use; elsewhere they would spoil a half."""
    books = Books(1, 3)
    for gpu, request in ((0, 0.5), (1, 0.8), (2, 0.5)):
        books.seat(gpu, request=request, limit=request, gib=1)
    for _ in range(5):
        books.seat(2, request=0.1, limit=0.1, gib=1)
    assert places(FragmentationGradient().place(asks(request=0.2, limit=0.2), books)) == [1]


def test_of_equal_falls_the_first_gpu_is_taken() -> None:
    """On an empty cluster all GPUs are alike."""
    assert places(FragmentationGradient().place(asks(request=0.3, limit=0.3), Books(2, 2))) == [0]


@pytest.mark.parametrize("gpus", [1, 2])
@pytest.mark.parametrize("uneven", [(0, 1), (1,), (2, 3)])
def test_rounding_errors_break_no_tie(gpus: int, uneven: tuple[int, int]) -> None:
    """Shares of .1, .2 and .3 sum to more than .6 in binary: the first node is taken, wherever that is so."""
    books = Books(3, 2)
    for gpu in range(4):
        for request in (0.1, 0.2, 0.3) if gpu in uneven else (0.3, 0.2, 0.1):
            books.seat(gpu, request=request, limit=request, gib=1)
    for gpu in (4, 5):
        books.seat(gpu, request=1.0, limit=1.0, gib=1)
    assert books.request[uneven[0]] > 0.6
    shards = FragmentationGradient().place(asks("training", request=0.2, limit=0.2, gpus=gpus), books)
    assert places(shards) == [0, 1][:gpus]


def test_limits_do_not_count_unless_bounded() -> None:
    """Requests sum to 1 at most; limits only where a bound is set."""
    books = Books(1, 2)
    books.seat(0, request=0.5, limit=1.0, gib=1)
    books.seat(1, request=0.9, limit=0.9, gib=1)
    wanted = asks(request=0.3, limit=0.9, gib=1)
    assert places(FragmentationGradient().place(wanted, books)) == [0]
    assert FragmentationGradient(max_limit=1.5).place(wanted, books) is None
    assert FragmentationGradient().place(asks(request=0.6, limit=0.6), books) is None


def test_a_gang_takes_the_node_whose_fragments_fall_most() -> None:
    """Two workers fill the halves of node 1; on node 0 they would break GPUs that others need whole."""
    books = Books(3, 2)
    for gpu in (2, 3):
        books.seat(gpu, request=0.5, limit=0.5, gib=1)
    books.seat(4, request=1.0, limit=1.0, gib=1)
    books.seat(5, request=1.0, limit=1.0, gib=1)
    shards = FragmentationGradient().place(asks("training", request=0.5, limit=0.9, gpus=2), books)
    assert places(shards) == [2, 3]
    assert FragmentationGradient().place(asks("training", gpus=3), books) is None


@given(
    requests=st.lists(st.integers(0, 20), min_size=6, max_size=6),
    memories=st.lists(st.integers(0, 35), min_size=6, max_size=6),
    request=st.integers(1, 20),
    gib=st.integers(1, 20),
)
def test_the_choice_is_the_steepest_fall_of_the_metric(
    requests: list[int], memories: list[int], request: int, gib: int
) -> None:
    """Booked on every GPU in turn and measured, no place is better than the one that was chosen."""
    policy = FragmentationGradient()
    books = Books(2, 3)
    for gpu, (share, held) in enumerate(zip(requests, memories, strict=True)):
        if share:
            books.seat(gpu, request=share / 20, limit=share / 20, gib=held)
    wanted = asks(request=request / 20, limit=1.0, gib=gib)
    classes = policy._classes(wanted, books)
    measured = {}
    for gpu in range(6):
        shard = Shard(gpu, wanted.request, wanted.limit, wanted.memory_bytes)
        if books.request[gpu] + wanted.request <= 1.0 + 1e-9 and books.memory[gpu] + gib * GIB <= 40 * GIB:
            books.enter(Tenancy(99, 99, "inference", (shard,)))
            measured[gpu] = fragmentation(books, classes)
            books.leave(99)
    chosen = places(policy.place(wanted, books))
    if not measured:
        assert chosen is None
    else:
        least = min(measured.values())
        first = next(gpu for gpu, left in measured.items() if left <= least + 1e-8)
        assert chosen == [first]


@given(
    requests=st.lists(st.integers(0, 14), min_size=4, max_size=4),
    memories=st.lists(st.sampled_from([0, 5, 10, 15, 20]), min_size=4, max_size=4),
    gib=st.sampled_from([5, 10, 20]),
)
def test_a_gang_takes_the_steepest_fall_of_the_metric(
    requests: list[int], memories: list[int], gib: int
) -> None:
    """A node of two GPUs takes a pair in one way only: booked and measured, the chosen node is the best."""
    policy = FragmentationGradient()
    books = Books(2, 2)
    for gpu, (share, held) in enumerate(zip(requests, memories, strict=True)):
        if share:
            books.seat(gpu, request=share / 20, limit=share / 20, gib=held)
    wanted = asks("training", request=0.3, limit=0.3, gpus=2, gib=gib)
    classes = policy._classes(wanted, books)
    measured = []
    for node in (0, 1):
        shards = tuple(Shard(2 * node + i, 0.3, 0.3, gib * GIB, 0.5) for i in (0, 1))
        before = fragmentation(books, classes)
        books.enter(Tenancy(99, 99, "training", shards))
        measured.append(fragmentation(books, classes) - before)
        books.leave(99)
    first = 0 if measured[0] <= measured[1] + 1e-8 else 1
    chosen = places(policy.place(wanted, books))
    assert chosen is not None
    assert sorted(chosen) == [2 * first, 2 * first + 1]


@pytest.mark.parametrize(
    ("constant", "value"),
    [("coverage", 0.0), ("coverage", 1.1), ("share_step", 0.0), ("memory_step", 2.0), ("max_limit", 0.0)],
)
def test_impossible_gradient_constants_are_refused(constant: str, value: float) -> None:
    """The message names the constant."""
    with pytest.raises(PolicyError, match=f"{constant}: found"):
        replace(FragmentationGradient(), **{constant: value})


def test_the_gradient_keeps_the_contract() -> None:
    """It is a placement policy."""
    assert check_policy(FragmentationGradient()) == ("placement",)
