from __future__ import annotations

import pytest
from worker_parent import MODELS, model, sit

from profiles import find_interference
from profiles.contention import Terms, contention
from profiles.sharing import LAUNCH_TOKENS, MPS_CAPS, PrioritySharing, Sharing, TimeSharing
from realgpu.board import Board
from realgpu.errors import RealGpuError
from realgpu.workers.backends.neighbours import Neighbourhood, Sharer
from realgpu.workers.seats import Seats

ROBERTA, BERT = model("roberta-large"), model("bert-base")


@pytest.fixture
def crowd(board: Board) -> Board:
    """RoBERTa serving and BERT training on GPU 0, both active; another on GPU 1."""
    sit(board, 0, ROBERTA, quota=0.6)
    sit(board, 1, BERT, quota=0.8, job="train")
    sit(board, 2, BERT, gpu=1, quota=0.9)
    board.seats["active"][:3] = 1
    return board


def look(
    board: Board, *rows: int, sharing: Sharing = LAUNCH_TOKENS, interference: str | None = None
) -> list[Terms]:
    """The terms of an instance on these rows."""
    law = None if interference is None else find_interference(interference)
    return [place.terms for place in Neighbourhood(Seats(board, rows), sharing, law, MODELS).places()]


@pytest.mark.parametrize(
    "sharing",
    [LAUNCH_TOKENS, MPS_CAPS, TimeSharing(turn_s=0.002), TimeSharing("limit", "request"), PrioritySharing()],
    ids=["tokens", "caps", "turns", "partitions", "priority"],
)
@pytest.mark.parametrize("interference", [None, "igniter", "gpulet-2080ti"])
def test_terms_are_those_of_the_law(crowd: Board, sharing: Sharing, interference: str | None) -> None:
    """What the board says of two neighbours gives both the terms that the law gives them."""
    assert BERT.training is not None
    roberta = Sharer(True, 0.3, 0.6, 0.6, 1.0, ROBERTA.wave_s, "roberta-large", 8)
    training = Sharer(False, 0.3, 0.6, 0.8, 1.0, BERT.training.wave_s, "bert-base", 8)
    law = None if interference is None else find_interference(interference)
    _, wanted = contention([roberta, training], sharing, law)
    for row in (0, 1):
        (terms,) = look(crowd, row, sharing=sharing, interference=interference)
        assert terms == pytest.approx(wanted[row])


@pytest.mark.parametrize(("field", "value"), [("active", 0), ("taken", 0), ("gpu", 1), ("quota", 0.0)])
def test_who_launches_nothing_here_costs_nothing(crowd: Board, field: str, value: float) -> None:
    """A neighbour that is inactive, has left, sits elsewhere or has no quota is not felt."""
    assert look(crowd, 0)[0].disturbed
    crowd.seats[field][1] = value
    assert look(crowd, 0) == [Terms(0.6, 0.6)]
    assert look(crowd, 0, sharing=MPS_CAPS) == [Terms(0.6, 0.6)]


def test_it_is_active_itself_whatever_the_board_says(crowd: Board) -> None:
    """The terms are those of running, also in the moment before the board says that it does."""
    (running,) = look(crowd, 0)
    crowd.seats["active"][0] = 0
    assert look(crowd, 0) == [running]


def test_without_a_quota_it_stands_still(crowd: Board) -> None:
    """Before the controller has given a quota there is no share, and no division by it."""
    crowd.seats["quota"][0] = 0.0
    for sharing in (LAUNCH_TOKENS, MPS_CAPS):
        assert look(crowd, 0, sharing=sharing)[0].share == 0.0


def test_each_gpu_has_its_own_neighbours(crowd: Board) -> None:
    """An instance on two GPUs meets on each only who sits there."""
    sit(crowd, 3, ROBERTA, gpu=1, quota=0.5, part=0.5)
    on_0, on_1 = look(crowd, 0, 3)
    assert on_0 == look(crowd, 0)[0]
    assert on_1 == look(crowd, 3)[0]
    assert on_0 != on_1


def test_a_change_is_seen_and_counters_are_none(crowd: Board) -> None:
    """The law is asked again when the board has changed, and only then."""
    neighbourhood = Neighbourhood(Seats(crowd, [0]), LAUNCH_TOKENS, None, MODELS)
    first = neighbourhood.places()
    for counter in ("cycles", "cycle_batch", "cycle_s", "steps", "last_active_ns"):
        crowd.seats[counter] += 1
    assert neighbourhood.places() is first
    for field, value in (("quota", 0.3), ("wave_s", 1e-3), ("active", 0)):
        before = neighbourhood.places()
        crowd.seats[field][1] = value
        assert neighbourhood.places() != before


def test_a_model_that_nobody_told_of_is_an_error(crowd: Board) -> None:
    """A number beyond the table of names is not taken for another model."""
    crowd.seats["model"][1] = len(MODELS)
    with pytest.raises(RealGpuError, match=f"model: found {len(MODELS)}"):
        look(crowd, 0)


@pytest.mark.parametrize(("row", "fault"), [(4, "allowed are 0 to 3"), (3, "nobody has taken")])
def test_a_seat_has_to_be_there_and_taken(crowd: Board, row: int, fault: str) -> None:
    """A worker does not sit down where the orchestrator has not put it."""
    with pytest.raises(RealGpuError, match=fault):
        Seats(crowd, [row])
