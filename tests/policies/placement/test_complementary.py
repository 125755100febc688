from __future__ import annotations

from typing import Any, get_args

import pytest
from hand_made import GIB, Books, asks, places
from hypothesis import given
from hypothesis import strategies as st

from policies import PlacementRequest
from policies.books import Tenancy
from policies.functions import Kind
from policies.placement import ComplementaryPlacement

DILU = ComplementaryPlacement()

CENTS = st.integers(1, 100)
KINDS: st.SearchStrategy[Kind] = st.sampled_from(get_args(Kind))


@st.composite
def requests(draw: st.DrawFn) -> PlacementRequest:
    """Draw an instance of any kind, in two-decimal shares."""
    kind = draw(KINDS)
    request = draw(CENTS)
    return asks(
        kind,
        request=request / 100,
        limit=draw(st.integers(request, 100)) / 100,
        gib=draw(st.integers(1, 90 if kind == "llm" else 40)),
        gpus=draw(st.sampled_from([1, 2, 4])) if kind == "training" else 1,
        service=draw(st.sampled_from("abc")),
    )


VARIANTS = st.builds(
    ComplementaryPlacement,
    omega=st.sampled_from([0.8, 1.0]),
    gamma=st.sampled_from([1.0, 1.5, 2.0]),
    affinity=st.booleans(),
    complementary=st.booleans(),
    splits_llm=st.booleans(),
    llm_fit=st.sampled_from(["best", "worst"]),
    split_order=st.sampled_from(["freest", "fullest"]),
    split_limit=st.sampled_from(["limit", "request"]),
    training_fit=st.sampled_from(["best", "first"]),
)


@given(policy=VARIANTS, stream=st.lists(requests(), max_size=25), leaves=st.data())
def test_no_bound_is_ever_exceeded(
    policy: ComplementaryPlacement, stream: list[PlacementRequest], leaves: st.DataObject
) -> None:
    """Whoever comes and goes: requests <= omega, limits <= gamma, memory fits, and no shard is empty."""
    books = Books(2, 3)
    here: list[int] = []
    for instance, request in enumerate(stream):
        shards = policy.place(request, books)
        if shards is not None:
            books.enter(Tenancy(instance, request.service, request.kind, shards))
            here.append(instance)
            assert len({shard.gpu // 3 for shard in shards}) == 1, "an instance left its node"
            assert len({shard.gpu for shard in shards}) == len(shards)
            assert all(shard.memory_bytes > 0 for shard in shards)
            assert sum(shard.part for shard in shards) == pytest.approx(1.0)
        assert (books.request <= policy.omega + 1e-9).all()
        assert (books.limit <= policy.gamma + 1e-9).all()
        assert (books.memory <= books.memory_capacity).all()
        if len(here) > 4:
            books.leave(here.pop(leaves.draw(st.integers(0, len(here) - 1))))


# -------------------------------------------------------------------------------------- P2: best fit


def test_the_least_weighted_fragmentation_wins() -> None:
    """By hand: .6 * free SM + .4 * free memory is .36, .30 and .39 after placing; the second wins.

    With all the weight on SM it is .2, .5 and .1, and the third wins.
    """
    books = Books()
    books.seat(0, request=0.5, limit=0.6, gib=10)
    books.seat(1, request=0.2, limit=0.6, gib=34)
    books.seat(2, request=0.6, limit=0.6, gib=1)
    assert places(DILU.place(asks(request=0.3, limit=0.6, gib=6), books)) == [1]
    assert places(ComplementaryPlacement(alpha=1.0, beta=0.0).place(asks(), books)) == [2]


def test_the_first_of_equals_wins() -> None:
    """Equal scores are decided by the number of the GPU, active ones before fresh ones."""
    books = Books()
    books.seat(1)
    books.seat(2)
    assert places(DILU.place(asks(), books)) == [1]


def test_a_fresh_gpu_is_the_last_resort() -> None:
    """While an active GPU has room none is opened, and then the first empty one is."""
    books = Books()
    books.seat(1, request=0.7, limit=0.9)
    assert places(DILU.place(asks(), books)) == [1]
    books.seat(1)
    assert places(DILU.place(asks(), books)) == [0]


@pytest.mark.parametrize(
    ("tenant", "omega", "gamma", "gpu"),
    [
        ({"request": 0.7, "limit": 0.9}, 1.0, 1.5, 0),
        ({"request": 0.71, "limit": 0.9}, 1.0, 1.5, 1),
        ({"request": 0.1, "limit": 0.91}, 1.0, 1.5, 1),
        ({"request": 0.1, "limit": 0.91}, 1.0, 2.0, 0),
        ({"request": 0.6, "limit": 0.6}, 0.8, 1.5, 1),
        ({"gib": 34}, 1.0, 1.5, 0),
        ({"gib": 35}, 1.0, 1.5, 1),
    ],
)
def test_oversubscription_ends_at_omega_gamma_and_the_memory(
    tenant: dict[str, Any], omega: float, gamma: float, gpu: int
) -> None:
    """A request of .3, limit .6 and 6 GiB joins a tenant exactly while all three sums stay within bounds."""
    books = Books()
    books.seat(0, **tenant)
    policy = ComplementaryPlacement(omega=omega, gamma=gamma)
    assert places(policy.place(asks(request=0.3, limit=0.6, gib=6), books)) == [gpu]


@pytest.mark.parametrize("kind", ["inference", "llm", "training"])
def test_a_full_cluster_refuses(kind: Any) -> None:
    """There is no place where every GPU's requests are spoken for."""
    books = Books()
    for gpu in range(4):
        books.seat(gpu, request=0.8, limit=0.8)
    assert DILU.place(asks(kind, gpus=2 if kind == "training" else 1), books) is None


def test_without_complementarity_the_first_feasible_gpu_is_taken() -> None:
    """Ablation -RC: no score, and no LLM is split nor counted on to be."""
    books = Books()
    books.seat(0, request=0.1, limit=0.1, gib=1)
    books.seat(1, request=0.6, limit=0.6, gib=20)
    without = ComplementaryPlacement(complementary=False)
    assert places(DILU.place(asks(), books)) == [1]
    assert places(without.place(asks(), books)) == [0]
    assert not without.splits_llm
    assert without.place(asks("llm", gib=60), books) is None
    assert DILU.place(asks("llm", gib=60), books) is not None


# -------------------------------------------------------------------------------------- P1: affinity


def test_a_service_goes_beside_the_other_workers_of_the_training_it_slows() -> None:
    """Affinity beats best fit, needs room there, is for inference alone, and can be turned off."""
    books = Books()
    books.seat(0, 1, request=0.3, limit=0.9, gib=10, kind="training")
    books.seat(0, service="s", request=0.3, limit=0.5)
    books.seat(2, request=0.6, limit=0.6, gib=30)
    assert places(DILU.place(asks(service="s"), books)) == [1]
    assert places(DILU.place(asks(service="other"), books)) == [2]
    assert places(DILU.place(asks("llm", service="s"), books)) == [2]
    assert places(ComplementaryPlacement(affinity=False).place(asks(service="s"), books)) == [2]
    books.seat(1, request=0.3, limit=0.6)
    assert places(DILU.place(asks(service="s"), books)) == [2], "the near GPU's limits are at 1.5"


# ----------------------------------------------------------------------------------------------- LLMs


def test_an_llm_that_fits_goes_to_the_best_or_to_the_emptiest_memory() -> None:
    """The paper fits an LLM best, the artifact's scheduler worst."""
    books = Books()
    books.seat(0, request=0.4, limit=0.4, gib=10)
    books.seat(1, request=0.2, limit=0.2, gib=4)
    books.seat(2, request=0.3, limit=0.3, gib=12)
    llm = asks("llm", request=0.5, limit=0.6, gib=28)
    assert places(DILU.place(llm, books)) == [0]
    worst = ComplementaryPlacement(llm_fit="worst")
    assert places(worst.place(llm, books)) == [1]
    assert places(worst.place(asks(gib=28), books)) == [0], "others are fitted best all the same"


def test_an_llm_is_split_over_the_freest_fragments() -> None:
    """38 GiB over free fragments of 10, 30, 20 and 35 GiB: 35 + 3, each stage at the full shares."""
    books = Books()
    for gpu, gib in enumerate((30, 10, 20, 5)):
        books.seat(gpu, request=0.2, limit=0.4, gib=gib)
    shards = DILU.place(asks("llm", request=0.5, limit=0.6, gib=38), books)
    assert shards is not None
    assert [(s.gpu, s.memory_bytes // GIB) for s in shards] == [(3, 35), (1, 3)]
    assert [(s.request, s.limit) for s in shards] == [(0.5, 0.6)] * 2
    assert [s.part for s in shards] == pytest.approx([35 / 38, 3 / 38])


def test_the_artifact_splits_over_the_fullest_fragments() -> None:
    """The same 38 GiB, fullest first: 10 + 20 + 8, one stage more."""
    books = Books()
    for gpu, gib in enumerate((30, 10, 20, 5)):
        books.seat(gpu, request=0.2, limit=0.4, gib=gib)
    policy = ComplementaryPlacement(split_order="fullest")
    shards = policy.place(asks("llm", request=0.5, limit=0.6, gib=38), books)
    assert shards is not None
    assert [(s.gpu, s.memory_bytes // GIB) for s in shards] == [(0, 10), (2, 20), (1, 8)]


def test_a_split_takes_the_node_of_fewest_stages() -> None:
    """28 GiB need three stages on node 0 and two on node 1."""
    books = Books(2, 4)
    for gpu, gib in enumerate((30, 30, 30, 30, 20, 20)):
        books.seat(gpu, request=0.2, limit=0.4, gib=gib)
    assert places(DILU.place(asks("llm", gib=28), books)) == [4, 5]


def test_a_split_stays_on_one_node() -> None:
    """Two fragments of 20 GiB on two nodes hold no 28 GiB."""
    books = Books(2, 1)
    for gpu in (0, 1):
        books.seat(gpu, request=0.2, limit=0.4, gib=20)
    assert DILU.place(asks("llm", gib=28), books) is None


@pytest.mark.parametrize("order", ["freest", "fullest"])
def test_no_stage_is_empty(order: Any) -> None:
    """A GPU without free memory gets no stage, and filling two fragments exactly needs no third."""
    books = Books()
    for gpu, gib in enumerate((40, 20, 20, 40)):
        books.seat(gpu, request=0.2, limit=0.4, gib=gib)
    shards = ComplementaryPlacement(split_order=order).place(asks("llm", gib=40), books)
    assert shards is not None
    assert [(s.gpu, s.memory_bytes // GIB) for s in shards] == [(1, 20), (2, 20)]


def test_a_stage_is_charged_its_limit_or_only_its_request() -> None:
    """At limits of 1.1 a stage of limit .6 breaks gamma; charged its request of .3 it does not."""
    books = Books(1, 2)
    for gpu in (0, 1):
        books.seat(gpu, request=0.2, limit=1.1, gib=20)
    llm = asks("llm", request=0.3, limit=0.6, gib=30)
    assert DILU.place(llm, books) is None
    shards = ComplementaryPlacement(split_limit="request").place(llm, books)
    assert shards is not None
    assert [(s.gpu, s.request, s.limit) for s in shards] == [(0, 0.3, 0.3), (1, 0.3, 0.3)]


def test_one_fresh_gpu_is_better_than_a_split_that_opens_one() -> None:
    """Fragments that do not suffice are not topped up with a fresh GPU that could hold it all."""
    books = Books()
    books.seat(0, request=0.2, limit=0.4, gib=20)
    assert places(DILU.place(asks("llm", gib=28), books)) == [1]


def test_an_llm_larger_than_a_gpu_spans_fresh_ones() -> None:
    """60 GiB take one whole fresh GPU and 20 GiB of another; without splitting they are refused."""
    shards = DILU.place(asks("llm", gib=60), Books())
    assert shards is not None
    assert [(s.gpu, s.memory_bytes // GIB) for s in shards] == [(0, 40), (1, 20)]
    assert ComplementaryPlacement(splits_llm=False).place(asks("llm", gib=60), Books()) is None
    assert DILU.place(asks("inference", gib=60), Books()) is None


# -------------------------------------------------------------------------------------------- training


def gang_books() -> Books:
    """Return three nodes of two: one active and one fresh GPU; two loosely filled; two tightly filled."""
    books = Books(3, 2)
    for gpu, request in ((0, 0.6), (2, 0.1), (3, 0.1), (4, 0.4), (5, 0.5)):
        books.seat(gpu, request=request, limit=0.5)
    return books


def test_a_gang_takes_the_best_node_that_opens_fewest_gpus() -> None:
    """Nodes 1 and 2 open none; node 2 fits tighter, its tightest GPU first."""
    assert places(DILU.place(asks("training", gpus=2), gang_books())) == [5, 4]


def test_the_artifact_takes_the_first_node_with_room() -> None:
    """First fit over nodes ends at node 1, in the order of its GPUs."""
    first = ComplementaryPlacement(training_fit="first")
    assert places(first.place(asks("training", gpus=2), gang_books())) == [2, 3]


def test_a_gang_opens_as_few_fresh_gpus_as_it_can() -> None:
    """Node 1 offers an active GPU, however poor its fit; node 0 would open two."""
    books = Books(2, 2)
    books.seat(3, request=0.05, limit=0.05, gib=1)
    assert places(DILU.place(asks("training", gpus=2), books)) == [3, 2]


def test_an_open_gpu_is_worth_more_than_any_score() -> None:
    """Node 0 fits tighter with its fresh GPU than node 1 does, which opens none: node 1."""
    books = Books(2, 2)
    for gpu, request in ((0, 0.7), (2, 0.1), (3, 0.1)):
        books.seat(gpu, request=request, limit=0.7, gib=1)
    assert places(DILU.place(asks("training", gpus=2), books)) == [2, 3]


def test_without_complementarity_a_gang_takes_the_first_node() -> None:
    """Ablation -RC: node 0 has room on fresh GPUs, and no one asks whether node 1 would open fewer."""
    books = Books(2, 2)
    books.seat(2)
    assert places(DILU.place(asks("training", gpus=2), books)) == [2, 3]
    without = ComplementaryPlacement(complementary=False)
    assert places(without.place(asks("training", gpus=2), books)) == [0, 1]


@pytest.mark.parametrize("fit", ["best", "first"])
def test_a_gang_wider_than_any_node_is_refused(fit: Any) -> None:
    """Workers never leave a node: three of them have no place on nodes of two."""
    policy = ComplementaryPlacement(training_fit=fit)
    assert policy.place(asks("training", gpus=3), Books(3, 2)) is None
    books = Books(2, 2)
    books.seat(0, request=0.9, limit=0.9)
    books.seat(2, request=0.9, limit=0.9)
    assert policy.place(asks("training", gpus=2), books) is None


def test_one_worker_is_placed_by_the_score() -> None:
    """A training job of one GPU needs no gang."""
    books = Books()
    books.seat(0, request=0.1, limit=0.1)
    books.seat(2, request=0.5, limit=0.5)
    assert places(DILU.place(asks("training"), books)) == [2]
