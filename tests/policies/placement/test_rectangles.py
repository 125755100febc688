from __future__ import annotations

import itertools
import time
from dataclasses import replace

import pytest
from hand_made import Books, asks, places
from hypothesis import given
from hypothesis import strategies as st

from policies import PlacementRequest, PolicyError, Shard
from policies.books import Tenancy
from policies.placement import Rectangle, RectanglePlacement, free_rectangles
from policies.testing import check_policy

TENTHS = 10


def settle(
    books: Books, request: PlacementRequest, policy: RectanglePlacement | None = None
) -> tuple[Shard, ...] | None:
    """Place an instance and book it."""
    shards = (policy or RectanglePlacement()).place(request, books)
    if shards is not None:
        books.enter(Tenancy(books.instances, request.service, request.kind, shards))
        books.instances += 1
    return shards


def sit(books: Books, gpu: int, *rectangles: Rectangle) -> None:
    """Book an instance of little memory on each of these rectangles."""
    for rectangle in rectangles:
        shard = Shard(gpu, rectangle.width * rectangle.height, rectangle.height, 1, 1.0, rectangle)
        books.enter(Tenancy(books.instances, books.instances, "inference", (shard,)))
        books.instances += 1


def cells(rectangle: Rectangle) -> set[tuple[int, int]]:
    """Return the squares of a 10 x 10 grid that a rectangle covers."""
    left, bottom, width, height = (round(edge * TENTHS) for edge in rectangle)
    return set(itertools.product(range(left, left + width), range(bottom, bottom + height)))


def seats(books: Books, gpu: int) -> list[Rectangle]:
    """Return the rectangles that are taken on a GPU."""
    found = []
    for shard in books.shards(gpu):
        assert isinstance(shard.seat, Rectangle)
        found.append(shard.seat)
    return found


@st.composite
def occupations(draw: st.DrawFn) -> tuple[Rectangle, ...]:
    """Rectangles on a grid of tenths that do not overlap."""
    taken: list[Rectangle] = []
    for _ in range(draw(st.integers(0, 7))):
        left, bottom = draw(st.integers(0, 9)), draw(st.integers(0, 9))
        width, height = draw(st.integers(1, TENTHS - left)), draw(st.integers(1, TENTHS - bottom))
        one = Rectangle(left / TENTHS, bottom / TENTHS, width / TENTHS, height / TENTHS)
        if all(cells(one).isdisjoint(cells(other)) for other in taken):
            taken.append(one)
    return tuple(taken)


# ------------------------------------------------------------------------------------------ free rectangles


def test_an_empty_gpu_is_one_free_square() -> None:
    """All of the time on all of the SMs."""
    assert free_rectangles(()) == (Rectangle(0.0, 0.0, 1.0, 1.0),)


def test_a_corner_leaves_two_alternatives() -> None:
    """Beside .6 x .4 in the corner the whole right and the whole top are free; they share a part."""
    free = free_rectangles((Rectangle(0.0, 0.0, 0.6, 0.4),))
    assert set(free) == {Rectangle(0.6, 0.0, 0.4, 1.0), Rectangle(0.0, 0.4, 1.0, 0.6)}


@pytest.mark.parametrize(("count", "request_", "limit"), [(3, 0.2, 0.6), (3, 0.33, 0.99), (6, 0.1, 0.6)])
def test_parts_of_the_time_fit_side_by_side(count: int, request_: float, limit: float) -> None:
    """Three thirds and six sixths of the time fit although no binary or decimal fraction is a third."""
    books = Books(1, 1)
    for _ in range(count):
        assert settle(books, asks(request=request_, limit=limit, gib=1)) is not None
    above = [one for one in free_rectangles(tuple(seats(books, 0))) if one.width > 1e-5]
    assert above == [Rectangle(0.0, limit, 1.0, pytest.approx(1.0 - limit))]


def test_two_decimal_shares_are_seated_exactly() -> None:
    """.15 / .2 is a little less than .75 in binary, and yet .75 wide."""
    shards = RectanglePlacement().place(asks(request=0.15, limit=0.2), Books())
    assert shards is not None
    assert shards[0].seat == Rectangle(0.0, 0.0, 0.75, 0.2)


@given(occupied=occupations())
def test_free_rectangles_cover_just_the_complement(occupied: tuple[Rectangle, ...]) -> None:
    """Each square of the GPU is either occupied or in a free rectangle."""
    taken = set().union(*map(cells, occupied)) if occupied else set()
    free = set().union(*map(cells, free_rectangles(occupied)), set())
    assert free == cells(Rectangle(0.0, 0.0, 1.0, 1.0)) - taken


@given(occupied=occupations())
def test_free_rectangles_are_all_the_maximal_ones(occupied: tuple[Rectangle, ...]) -> None:
    """They are exactly the free rectangles of the grid that no other free rectangle contains."""
    taken = set().union(*map(cells, occupied)) if occupied else set()
    every = []
    for left, bottom in itertools.product(range(TENTHS), repeat=2):
        for right, top in itertools.product(range(left + 1, TENTHS + 1), range(bottom + 1, TENTHS + 1)):
            if all((x, y) not in taken for x in range(left, right) for y in range(bottom, top)):
                every.append((left, bottom, right, top))
    grown = {(-1, 0, 0, 0), (0, -1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)}
    known = set(every)
    maximal = {
        edges
        for edges in every
        if not any(tuple(a + b for a, b in zip(edges, side, strict=True)) in known for side in grown)
    }
    found = [tuple(round(edge * TENTHS) for edge in one) for one in free_rectangles(occupied)]
    assert len(found) == len(set(found))
    assert {(x, y, x + width, y + height) for x, y, width, height in found} == maximal


# ------------------------------------------------------------------------------------------------ placement


def test_an_instance_is_as_wide_as_its_quota_and_as_high_as_its_partition() -> None:
    """Request .3 of limit .6 is half of the time on .6 of the SMs; the area is the request."""
    shards = RectanglePlacement().place(asks(request=0.3, limit=0.6), Books())
    assert shards is not None
    assert shards[0] == Shard(0, 0.3, 0.6, asks().memory_bytes, 1.0, Rectangle(0.0, 0.0, 0.5, 0.6))


def test_the_slides_example_shares_one_gpu() -> None:
    """4 ResNet (12 % SMs, 40 % time), 2 RNNT (24 %, 40 %) and 2 BERT (50 %, 60 %) go on one GPU (slides)."""
    books = Books(1, 2)
    for count, sm, quota in ((2, 0.5, 0.6), (2, 0.24, 0.4), (4, 0.12, 0.4)):
        for _ in range(count):
            assert places(settle(books, asks(request=sm * quota, limit=sm, gib=1))) == [0]


def test_sums_that_fit_are_not_enough() -> None:
    """Beside two of half the SMs for .6 of the time an area of .4 is free, but no third one fits."""
    books = Books(1, 2)
    for _ in range(2):
        settle(books, asks(request=0.3, limit=0.5, gib=1))
    assert books.request[0] == pytest.approx(0.6)
    assert places(RectanglePlacement().place(asks(request=0.3, limit=0.5, gib=1), books)) == [1]
    assert places(RectanglePlacement().place(asks(request=0.3, limit=0.75, gib=1), books)) == [0]


def test_best_area_and_best_short_side_differ() -> None:
    """For .2 x .6 a .4 x .7 hole is smaller, a .2 x 1 column is the closer fit on one side."""
    books = Books(1, 2)
    sit(books, 0, Rectangle(0.0, 0.0, 0.6, 1.0), Rectangle(0.6, 0.7, 0.4, 0.3))
    sit(books, 1, Rectangle(0.0, 0.0, 0.8, 0.6), Rectangle(0.0, 0.6, 0.8, 0.4))
    wanted = asks(request=0.12, limit=0.6, gib=1)
    assert places(RectanglePlacement().place(wanted, books)) == [1], "area .2 against .28"
    wanted = asks(request=0.24, limit=0.6, gib=1)
    assert places(RectanglePlacement().place(wanted, books)) == [0], "too wide for the column"
    other = Books(1, 2)
    sit(other, 0, Rectangle(0.0, 0.0, 0.7, 1.0), Rectangle(0.7, 0.7, 0.3, 0.3))
    sit(other, 1, Rectangle(0.0, 0.0, 0.75, 1.0))
    wanted = asks(request=0.12, limit=0.6, gib=1)
    assert places(RectanglePlacement().place(wanted, other)) == [0], "area .21 against .25"
    assert places(RectanglePlacement(rule="best-short-side").place(wanted, other)) == [1], (
        "leaves .05, not .1"
    )


def test_equal_areas_are_told_apart_by_the_shorter_side_left() -> None:
    """.4 x .1 fits a hole of .4 x .5 without a rest on one side, one of .5 x .4 with .1."""
    books = Books(1, 2)
    sit(books, 0, Rectangle(0.0, 0.0, 0.5, 1.0), Rectangle(0.5, 0.4, 0.5, 0.6))
    sit(books, 1, Rectangle(0.0, 0.0, 0.6, 1.0), Rectangle(0.6, 0.5, 0.4, 0.5))
    assert places(RectanglePlacement().place(asks(request=0.04, limit=0.1, gib=1), books)) == [1]


def test_equal_short_sides_are_told_apart_by_the_longer_one() -> None:
    """.2 x .2 leaves .1 and .4 of the hole on GPU 0, and .1 and .3 of that on GPU 1, which is emptier."""
    books = Books(1, 2)
    sit(books, 0, Rectangle(0.0, 0.0, 0.7, 1.0), Rectangle(0.7, 0.6, 0.3, 0.4))
    sit(books, 1, Rectangle(0.15, 0.0, 0.55, 1.0), Rectangle(0.7, 0.5, 0.3, 0.5))
    policy = RectanglePlacement(rule="best-short-side")
    assert places(policy.place(asks(request=0.04, limit=0.2, gib=1), books)) == [1]


def test_an_active_gpu_with_any_room_comes_before_a_fresh_one() -> None:
    """GPU 0 is fresh; GPU 2 has a hole, and it is taken."""
    books = Books()
    sit(books, 2, Rectangle(0.0, 0.0, 0.5, 0.5))
    assert places(RectanglePlacement().place(asks(request=0.1, limit=0.5), books)) == [2]


def test_the_fullest_gpus_are_compared_until_enough_have_room() -> None:
    """The tightest hole is on the emptier GPU: one that compares only the fullest does not see it."""
    books = Books(1, 2)
    sit(books, 0, Rectangle(0.0, 0.0, 1.0, 0.6))
    sit(books, 1, Rectangle(0.2, 0.2, 0.8, 0.2), Rectangle(0.2, 0.8, 0.8, 0.2), Rectangle(0.0, 0.0, 0.2, 1.0))
    wanted = asks(request=0.16, limit=0.2, gib=1)
    assert places(RectanglePlacement().place(wanted, books)) == [1]
    assert places(RectanglePlacement(compared=1).place(wanted, books)) == [0]


def test_room_is_found_however_many_gpus_have_none() -> None:
    """GPUs without a rectangle that fits do not count as compared."""
    books = Books(2, 3)
    for gpu in range(5):
        sit(books, gpu, Rectangle(0.0, 0.4, 1.0, 0.2))
    sit(books, 5, Rectangle(0.0, 0.0, 0.1, 0.1))
    assert places(RectanglePlacement(compared=1).place(asks(request=0.25, limit=0.5), books)) == [5]


def test_memory_is_a_constraint() -> None:
    """A GPU with 39 GiB in use has no room for 6, whatever its rectangles."""
    books = Books(1, 2)
    settle(books, asks(request=0.1, limit=0.1, gib=39))
    assert places(RectanglePlacement().place(asks(request=0.1, limit=0.1), books)) == [1]
    assert RectanglePlacement().place(asks(gib=41), books) is None


def test_what_leaves_frees_its_rectangle() -> None:
    """The space of the second of three instances is the next one's seat: nothing else was restructured."""
    books = Books(1, 1)
    for _ in range(3):
        settle(books, asks(request=0.3, limit=0.3, gib=1))
    taken = seats(books, 0)
    books.leave(1)
    shards = RectanglePlacement().place(asks(request=0.3, limit=0.3, gib=1), books)
    assert shards is not None
    assert shards[0].seat == taken[1]


def test_the_workers_of_a_gang_share_a_node() -> None:
    """Node 0 has one GPU with room for a worker, node 1 an active and a fresh one: both, with their seats."""
    books = Books(2, 2)
    sit(books, 0, Rectangle(0.0, 0.4, 1.0, 0.3))
    sit(books, 3, Rectangle(0.0, 0.0, 1.0, 0.2))
    shards = RectanglePlacement().place(asks("training", request=0.4, limit=0.8, gpus=2), books)
    assert shards is not None
    assert [(shard.gpu, shard.seat, shard.part) for shard in shards] == [
        (3, Rectangle(0.0, 0.2, 0.5, 0.8), 0.5),
        (2, Rectangle(0.0, 0.0, 0.5, 0.8), 0.5),
    ]
    assert RectanglePlacement().place(asks("training", gpus=3), books) is None


@given(
    wanted=st.lists(
        st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 1, 1, 2]), st.booleans()),
        max_size=60,
    ),
    rule=st.sampled_from(["best-area", "best-short-side"]),
)
def test_placed_rectangles_never_overlap(wanted: list[tuple[int, int, int, bool]], rule: str) -> None:
    """Whatever comes and goes, rectangles lie within the GPU, apart, and their areas sum to at most 1."""
    policy = replace(RectanglePlacement(), rule=rule)
    books = Books(2, 2)
    live: list[int] = []
    for twentieths, limit, gpus, leaves in wanted:
        share = limit / 20
        request = asks(
            "training" if gpus > 1 else "inference",
            request=share * twentieths / 20,
            limit=share,
            gib=0,
            gpus=gpus,
        )
        if settle(books, request, policy) is not None:
            live.append(books.instances - 1)
        if leaves and live:
            books.leave(live.pop(len(live) // 2))
    for gpu in range(4):
        taken = seats(books, gpu)
        assert sum(one.width * one.height for one in taken) <= 1.0 + 1e-9
        for one in taken:
            assert min(one) >= 0.0
            assert max(one.time + one.width, one.sm + one.height) <= 1.0 + 1e-9
        for one, other in itertools.combinations(taken, 2):
            beside = min(one.time + one.width, other.time + other.width) - max(one.time, other.time)
            above = min(one.sm + one.height, other.sm + other.height) - max(one.sm, other.sm)
            assert min(beside, above) <= 1e-9


def test_two_hundred_placements_take_well_under_a_second() -> None:
    """On 100 GPUs, of mixed sizes; the bound is generous: only another order of growth breaks it."""
    books = Books(25, 4)
    started = time.perf_counter()
    for index in range(200):
        request = (index * 7 % 29 + 3) / 80
        settle(books, asks(request=request, limit=min(1.0, request * (1.2 + index % 4)), gib=1))
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize(("constant", "value"), [("rule", "worst"), ("compared", 0)])
def test_impossible_rectangle_constants_are_refused(constant: str, value: object) -> None:
    """The message names the constant."""
    with pytest.raises(PolicyError, match=f"{constant}: found"):
        replace(RectanglePlacement(), **{constant: value})


@pytest.mark.parametrize(
    "policy", [RectanglePlacement(), RectanglePlacement(rule="best-short-side", compared=1)]
)
def test_rectangles_keep_the_contract(policy: RectanglePlacement) -> None:
    """It is a placement policy."""
    assert check_policy(policy) == ("placement",)
