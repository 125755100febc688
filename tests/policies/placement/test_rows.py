from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made import GIB, Books, asks, places
from hypothesis import given
from hypothesis import strategies as st

from policies import PlacementRequest, PolicyError, Shard
from policies.books import Tenancy
from policies.placement import AlignedRows
from policies.testing import check_policy


def settle(books: Books, request: PlacementRequest) -> tuple[Shard, ...] | None:
    """Place an instance and book it."""
    shards = AlignedRows().place(request, books)
    if shards is not None:
        books.enter(Tenancy(books.instances, request.service, request.kind, shards))
        books.instances += 1
    return shards


def sit(books: Books, gpu: int, row: int, width: float, quota: float) -> None:
    """Book an instance of 1 GiB with a time quota in a row."""
    shard = Shard(gpu, width * quota, width, GIB, 1.0, row)
    books.enter(Tenancy(books.instances, books.instances, "inference", (shard,)))
    books.instances += 1


def rows(shards: tuple[Shard, ...] | None) -> list[tuple[int, object, float]]:
    """Return GPU, row and width of each shard."""
    assert shards is not None
    return [(shard.gpu, shard.seat, shard.limit) for shard in shards]


@pytest.mark.parametrize(
    ("limit", "width"), [(0.1, 0.2), (0.2, 0.2), (0.21, 0.4), (0.1 + 0.2 + 0.3, 0.6), (0.9, 1.0)]
)
def test_a_row_is_as_wide_as_the_limit_rounded_up_to_the_step(limit: float, width: float) -> None:
    """SM partitions come in steps of 20 %; the request stays what it was."""
    shards = AlignedRows().place(asks(request=0.1, limit=limit), Books())
    assert shards == (Shard(0, 0.1, width, 6 * GIB, 1.0, 0),)


def test_a_row_is_never_wider_than_the_gpu() -> None:
    """A step that does not divide the GPU ends at it."""
    shards = AlignedRows(sm_step=0.3).place(asks(request=0.5, limit=0.95), Books())
    assert rows(shards) == [(0, 0, 1.0)]


def test_instances_join_a_row_until_its_time_is_used() -> None:
    """Requests .2 in rows of .4 are half of the time each: two fill row 0, the next opens row 1."""
    books = Books(1, 2)
    taken = [rows(settle(books, asks(request=0.2, limit=0.4)))[0] for _ in range(5)]
    assert taken == [(0, 0, 0.4), (0, 0, 0.4), (0, 1, 0.4), (0, 1, 0.4), (1, 0, 0.4)]


def test_a_gpu_has_two_rows_and_no_third() -> None:
    """Two rows of .2 leave .6 of the SMs, and yet a third partition is not opened."""
    books = Books(1, 2)
    for row in (0, 1):
        sit(books, 0, row, 0.2, 1.0)
    assert places(AlignedRows().place(asks(request=0.1, limit=0.2), books)) == [1]
    assert places(AlignedRows(rows=3).place(asks(request=0.1, limit=0.2), books)) == [0]


def test_the_sms_of_rows_sum_to_at_most_the_gpu() -> None:
    """Beside a row of .6 there is one of .4, but none of .6."""
    books = Books(1, 2)
    sit(books, 0, 0, 0.6, 1.0)
    assert rows(AlignedRows().place(asks(request=0.1, limit=0.6), books)) == [(1, 0, 0.6)]
    assert rows(AlignedRows().place(asks(request=0.1, limit=0.4), books)) == [(0, 1, 0.4)]


def test_two_decimal_parts_may_fill_a_gpu_exactly() -> None:
    """.33 + .56 + .11 is more than 1 in binary, and fills a GPU: as SMs of rows and as times in a row."""
    policy = AlignedRows(rows=3, sm_step=0.01)
    partitions, times = Books(1, 1), Books(1, 1)
    for row, part in enumerate((0.33, 0.56)):
        sit(partitions, 0, row, part, 1.0)
        sit(times, 0, 0, 1.0, part)
    assert rows(policy.place(asks(request=0.11, limit=0.11), partitions)) == [(0, 2, 0.11)]
    assert policy.place(asks(request=0.12, limit=0.12), partitions) is None
    assert rows(policy.place(asks(request=0.11, limit=1.0), times)) == [(0, 0, 1.0)]
    assert policy.place(asks(request=0.12, limit=1.0), times) is None


def test_a_wider_row_is_joined_a_narrower_one_is_not() -> None:
    """In a row of .6 a request of .1 needs a sixth of the time; its limit becomes the row's width."""
    books = Books(1, 1)
    sit(books, 0, 0, 0.6, 0.8)
    sit(books, 0, 1, 0.2, 0.2)
    shards = AlignedRows().place(asks(request=0.1, limit=0.4), books)
    assert rows(shards) == [(0, 0, 0.6)]
    assert AlignedRows().place(asks(request=0.13, limit=0.4), books) is None, "more than .2 of the time"


def test_the_narrowest_row_that_is_wide_enough_is_joined() -> None:
    """Both rows have room for a limit of .2; the wide one is left for others."""
    books = Books(1, 1)
    sit(books, 0, 0, 0.6, 0.1)
    sit(books, 0, 1, 0.4, 0.1)
    assert rows(AlignedRows().place(asks(request=0.1, limit=0.2), books)) == [(0, 1, 0.4)]


def test_the_least_occupied_used_gpu_comes_first() -> None:
    """HGO .3 before HGO .5, whatever the number of residents, and before a fresh GPU."""
    books = Books()
    sit(books, 1, 0, 1.0, 0.5)
    for _ in range(3):
        sit(books, 2, 0, 1.0, 0.1)
    assert places(AlignedRows().place(asks(request=0.3, limit=1.0), books)) == [2]


def test_joining_comes_before_opening() -> None:
    """GPU 1 is less occupied but would need a new row; GPU 0 has one with room."""
    books = Books(1, 3)
    sit(books, 0, 0, 0.6, 0.5)
    sit(books, 1, 0, 0.2, 0.5)
    assert rows(AlignedRows().place(asks(request=0.2, limit=0.6), books)) == [(0, 0, 0.6)]
    assert rows(AlignedRows().place(asks(request=0.4, limit=0.6), books)) == [(1, 1, 0.6)]


def test_a_gpu_at_the_threshold_takes_no_newcomer() -> None:
    """With an HGO of .95 a GPU is passed over although .04 would still fit; at .94 it is not."""
    books = Books(1, 2)
    sit(books, 0, 0, 1.0, 0.95)
    assert places(AlignedRows().place(asks(request=0.04, limit=1.0), books)) == [1]
    assert places(AlignedRows(hgo_threshold=1.0).place(asks(request=0.04, limit=1.0), books)) == [0]


def test_a_row_that_is_left_by_all_is_free_again() -> None:
    """Row 0 went with its last instance: its number and its SMs are a newcomer's."""
    books = Books(1, 1)
    sit(books, 0, 0, 0.4, 1.0)
    sit(books, 0, 1, 0.2, 1.0)
    assert AlignedRows().place(asks(request=0.5, limit=0.8), books) is None
    books.leave(0)
    assert rows(AlignedRows().place(asks(request=0.5, limit=0.8), books)) == [(0, 0, 0.8)]


def test_rows_need_memory() -> None:
    """A row with time left is no place for what the GPU's memory cannot hold."""
    books = Books(1, 1)
    settle(books, asks(request=0.1, limit=0.2, gib=38))
    assert AlignedRows().place(asks(request=0.1, limit=0.2), books) is None


def test_a_gang_takes_rows_on_one_node() -> None:
    """Node 0 has one GPU with room; on node 1 one worker joins a row and one opens a fresh GPU's."""
    books = Books(2, 2)
    sit(books, 0, 0, 1.0, 0.8)
    sit(books, 3, 0, 0.8, 0.2)
    shards = AlignedRows().place(asks("training", request=0.4, limit=0.7, gpus=2), books)
    assert rows(shards) == [(3, 0, 0.8), (2, 0, 0.8)]
    assert AlignedRows().place(asks("training", gpus=3), books) is None


@given(
    wanted=st.lists(
        st.tuples(st.integers(1, 100), st.integers(0, 100), st.sampled_from([1, 1, 2]), st.booleans()),
        max_size=60,
    )
)
def test_rows_are_never_oversubscribed(wanted: list[tuple[int, int, int, bool]]) -> None:
    """Whatever comes and goes: two rows, one width each, SMs and each row's time sum to at most 1."""
    books = Books(2, 2)
    live: list[int] = []
    for request, more, gpus, leaves in wanted:
        kind = "training" if gpus > 1 else "inference"
        limit = min(100, request + more) / 100
        if settle(books, asks(kind, request=request / 100, limit=limit, gib=0, gpus=gpus)) is not None:
            live.append(books.instances - 1)
        if leaves and live:
            books.leave(live.pop(len(live) // 2))
    for gpu in range(4):
        shards = books.shards(gpu)
        widths = {(shard.seat, shard.limit) for shard in shards}
        assert {row for row, _ in widths} <= {0, 1}
        assert len(widths) == len({row for row, _ in widths})
        assert sum(width for _, width in widths) <= 1.0 + 1e-9
        for row, _ in widths:
            assert sum(s.request / s.limit for s in shards if s.seat == row) <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("constant", "value"), [("rows", 0), ("sm_step", 0.0), ("sm_step", 1.2), ("hgo_threshold", 0.0)]
)
def test_impossible_row_constants_are_refused(constant: str, value: float) -> None:
    """The message names the constant."""
    with pytest.raises(PolicyError, match=f"{constant}: found"):
        replace(AlignedRows(), **{constant: value})


def test_rows_keep_the_contract() -> None:
    """It is a placement policy."""
    assert check_policy(AlignedRows()) == ("placement",)
