from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made import GIB, Books, asks, places
from hypothesis import given
from hypothesis import strategies as st

from policies import Shard
from policies.functions import Choice, Size
from policies.placement import InflessChoices, InflessPlacement
from policies.testing import check_policy


def choice(batch: int, share: float, most_rps: float) -> Choice:
    """Return a choice of static quota."""
    return Choice(Size(batch, share, share), batch / most_rps, most_rps / 2, most_rps)


def place(books: Books, *choices: Choice, gib: int = 6) -> tuple[int, int, float] | None:
    """Return GPU, batch and share of what was chosen."""
    shards = InflessChoices().place(replace(asks(gib=gib), choices=choices), books)
    if shards is None:
        return None
    (shard,) = shards
    assert shard.request == shard.limit
    return shard.gpu, shard.batch, shard.request


def filled(*requests: float) -> Books:
    """One node of GPUs of which so much is promised; 0 leaves a fresh one."""
    books = Books(1, len(requests))
    for gpu, request in enumerate(requests):
        if request:
            books.seat(gpu, request=request, limit=request, gib=1)
    return books


def test_the_shard_tells_which_choice_was_taken() -> None:
    """Batch, request and limit are the choice's, not those of the function's own size."""
    wanted = replace(asks(request=0.4, limit=0.4), choices=(choice(8, 0.2, 90.0),))
    assert InflessChoices().place(wanted, Books()) == (Shard(0, 0.2, 0.2, 6 * GIB, 1.0, None, 8),)


def test_one_choice_goes_to_the_fullest_gpu_with_room() -> None:
    """The least fragment: .1 on GPU 2, where GPU 1 has no room for .3 and GPU 0 would keep .3."""
    assert place(filled(0.4, 0.8, 0.6, 0.0), choice(4, 0.3, 60.0)) == (2, 4, 0.3)


def test_the_largest_batch_that_fits_comes_first() -> None:
    """Batch 8 although batch 1 gives more a share; batch 1 where 8 has no room."""
    large, small = choice(8, 0.5, 60.0), choice(1, 0.1, 50.0)
    assert place(filled(0.4, 0.0), small, large) == (0, 8, 0.5)
    assert place(filled(0.6, 0.7), small, large) == (1, 1, 0.1)


def test_on_equal_fragments_throughput_a_share_decides() -> None:
    """Alone on a GPU each, .2 (300 rps a share) against .3 (200): fragments .8 and .7 do not outweigh it."""
    assert place(filled(0.0), choice(4, 0.2, 60.0), choice(4, 0.3, 60.0)) == (0, 4, 0.2)


def test_a_smaller_fragment_outweighs_a_little_throughput() -> None:
    """.4 leaves .1 of GPU 0 (1500), .2 leaves .3 (1000), though .2 gives 300 rps a share and .4 only 150."""
    assert place(filled(0.5, 0.0), choice(4, 0.2, 60.0), choice(4, 0.4, 60.0)) == (0, 4, 0.4)


def test_size_and_gpu_are_chosen_together() -> None:
    """Each GPU suits another size: .3 for GPU 0's .35, .2 for GPU 1's .3; 200 / .05 beats 225 / .1."""
    assert place(filled(0.65, 0.7), choice(4, 0.2, 45.0), choice(4, 0.3, 60.0)) == (1, 4, 0.3)
    assert place(filled(0.65, 0.75), choice(4, 0.2, 45.0), choice(4, 0.3, 60.0)) == (1, 4, 0.2)


def test_what_fills_a_gpu_outweighs_all_else_and_throughput_breaks_the_tie() -> None:
    """GPU 0 has .3 left, GPU 1 .2: both choices fill one, and .2 gives more a share."""
    assert place(filled(0.7, 0.8, 0.0), choice(4, 0.2, 50.0), choice(4, 0.3, 60.0)) == (1, 4, 0.2)
    assert place(filled(0.7, 0.8, 0.0), choice(4, 0.2, 30.0), choice(4, 0.3, 60.0)) == (0, 4, 0.3)


def test_a_fresh_gpu_is_taken_where_its_choice_is_worth_the_fragment() -> None:
    """.1 on GPU 0 leaves .1 and gives 10 / .1 / .1; .5 needs fresh GPU 1: 600 / .5 / .5 is more."""
    assert place(filled(0.8, 0.0), choice(4, 0.1, 10.0), choice(4, 0.5, 600.0)) == (1, 4, 0.5)
    assert place(filled(0.8, 0.0), choice(4, 0.1, 10.0), choice(4, 0.5, 200.0)) == (0, 4, 0.1)


def test_no_room_for_any_choice_is_a_refusal() -> None:
    """By shares, or by memory; the function's own size is not tried instead."""
    assert place(filled(0.9, 0.95), choice(4, 0.2, 45.0)) is None
    assert place(filled(0.5), choice(4, 0.2, 45.0), gib=40) is None


@given(
    requests=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    sizes=st.lists(st.tuples(st.sampled_from([1, 2, 4]), st.integers(1, 5), st.integers(1, 99)), min_size=1),
)
def test_no_other_pair_is_more_efficient(requests: list[int], sizes: list[tuple[int, int, int]]) -> None:
    """Against all pairs of GPU and choice: the greatest efficiency within the largest batch that fits."""
    choices = tuple(choice(batch, share / 10, float(rps)) for batch, share, rps in sizes)
    pairs = [
        (batch, rps / share / max(10 - request - share, 1e-8))
        for request in requests
        for batch, share, rps in sizes
        if request + share <= 10
    ]
    shards = InflessChoices().place(
        replace(asks(gib=1), choices=choices), filled(*(request / 10 for request in requests))
    )
    if shards is None:
        assert not pairs
        return
    (shard,) = shards
    rates = [c.most_rps for c in choices if (c.size.batch, c.size.request) == (shard.batch, shard.request)]
    left = 10 - requests[shard.gpu] - round(shard.request * 10)
    taken = max(rates) / round(shard.request * 10) / max(left, 1e-8)
    assert (shard.batch, pytest.approx(taken, rel=1e-6)) == max(pairs)


@given(requests=st.lists(st.integers(0, 10), min_size=4, max_size=4), gpus=st.sampled_from([1, 1, 2]))
def test_without_choices_it_is_infless_placement(requests: list[int], gpus: int) -> None:
    """A launch of the function's own size, and a training job, go where best fit puts them."""
    books = filled(*(request / 10 for request in requests))
    wanted = asks("training" if gpus > 1 else "inference", request=0.3, limit=0.3, gpus=gpus)
    assert InflessChoices().place(wanted, books) == InflessPlacement().place(wanted, books)


def test_the_constants_are_those_of_infless_placement() -> None:
    """The bound, and affinity for launches without choices."""
    books = Books()
    books.seat(0, 1, request=0.2, limit=0.2, kind="training")
    books.seat(0, request=0.1, limit=0.1, service="s")
    wanted = asks(request=0.3, limit=0.3, service="s")
    assert places(InflessChoices().place(wanted, books)) == [1]
    assert places(InflessChoices(affinity=False).place(wanted, books)) == [0]
    assert (
        InflessChoices(max_request=0.2).place(replace(wanted, choices=(choice(1, 0.3, 9.0),)), books) is None
    )


def test_infless_choices_keep_the_contract() -> None:
    """It is a placement policy."""
    assert check_policy(InflessChoices()) == ("placement",)
