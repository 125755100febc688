"""Virtual workers as processes of their own.

Times are those that the worker reports: instants at which progress reached 1. Where the board stays as it is
they do not depend on the machine; where it changes, on how soon the worker saw that. Hence best of three.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from worker_parent import Agency, begin, model, sit, wait_until

from profiles import LatencySurface, StepCurve, find_interference
from profiles.contention import contention
from profiles.sharing import LAUNCH_TOKENS, MPS_CAPS, Sharing, TimeSharing
from realgpu.board import Board
from realgpu.workers import Done, Failed, Finished, Ready, Run, Stop, Stopped, packed
from realgpu.workers.backends.neighbours import Sharer
from realgpu.workers.backends.virtual import VirtualBackend
from realgpu.workers.seats import Seats

ROBERTA, BERT, LLAMA = model("roberta-large"), model("bert-base"), model("llama2-7b")
TRIES = 3
TOLERANCE = 0.02


def nearest(wanted: float, measure: Callable[[], float]) -> float:
    """The relative error of the best of some tries."""
    error = float("inf")
    for _ in range(TRIES):
        error = min(error, abs(measure() / wanted - 1))
        if error < TOLERANCE:
            break
    return error


def test_a_batch_takes_what_the_profile_says(board: Board, agency: Agency) -> None:
    """Alone, service time is the profile's at every batch and quota, to a microsecond."""
    sit(board, 0, ROBERTA)
    worker = agency.hire()
    ready = worker.start(begin(board, ROBERTA))
    assert ready.loaded["backend"] == "virtual"
    for quota in (1.0, 0.5, 0.2):
        board.seats["quota"][0] = quota
        for count in (1, 8):
            wanted_s = ROBERTA.latency.seconds(count, quota)
            assert worker.serve(count) == pytest.approx(wanted_s, abs=1e-6)


def test_the_board_tells_of_batches(board: Board, agency: Agency) -> None:
    """Activity, cycles and the last activity are on the board; an LLM's cycle is one token."""
    sit(board, 0, LLAMA)
    worker = agency.hire()
    worker.start(begin(board, LLAMA))
    worker.channel.send(Run(3, 2, 10))
    assert wait_until(lambda: board.seats["active"][0] == 1)
    done = worker.expect(Done)
    assert (done.first, done.count) == (3, 2)
    seat = board.seats[0]
    assert seat["active"] == 0
    assert seat["last_active_ns"] == done.end_ns
    assert (seat["cycles"], seat["cycle_batch"]) == (1, 2)
    assert seat["cycle_s"] == pytest.approx(LLAMA.latency.seconds(2, 1.0), abs=1e-6)
    assert done.start_ns < done.end_ns <= time.monotonic_ns()


def test_a_quota_takes_effect_in_the_middle_of_a_batch(board: Board, agency: Agency) -> None:
    """Progress is kept and the rest goes at the new pace, down as well as up."""
    sit(board, 0, ROBERTA)
    worker = agency.hire()
    worker.start(begin(board, ROBERTA))
    slow_s, fast_s = (ROBERTA.latency.seconds(32, quota) for quota in (0.1, 1.0))
    for before, after in ((0.1, 1.0), (1.0, 0.1)):
        before_s, after_s = (slow_s, fast_s) if before < after else (fast_s, slow_s)
        error = float("inf")
        for _ in range(TRIES):
            board.seats["quota"][0] = before
            worker.channel.send(Run(0, 32, 1))
            time.sleep(before_s / 2)
            board.seats["quota"][0] = after
            changed_ns = time.monotonic_ns()
            done = worker.expect(Done)
            first_s = (changed_ns - done.start_ns) / 1e9
            wanted_s = first_s + (1 - first_s / before_s) * after_s
            error = min(error, abs((done.end_ns - done.start_ns) / 1e9 / wanted_s - 1))
            if error < TOLERANCE:
                break
        assert error < TOLERANCE


@pytest.mark.parametrize(
    ("sharing", "interference"),
    [(LAUNCH_TOKENS, None), (MPS_CAPS, "igniter"), (TimeSharing(weights="request", turn_s=0.1), None)],
    ids=["tokens", "caps-igniter", "turns"],
)
def test_two_workers_share_a_gpu_by_the_law(
    board: Board, agency: Agency, sharing: Sharing, interference: str | None
) -> None:
    """A batch beside training, and the training beside the batch, go as the law of contention says."""
    sit(board, 0, ROBERTA, quota=0.6)
    sit(board, 1, BERT, quota=0.8, job="train")
    serving, training = agency.hire(), agency.hire()
    serving.start(begin(board, ROBERTA, sharing=sharing, interference=interference))
    training.start(begin(board, BERT, rows=(1,), job="train", sharing=sharing, interference=interference))
    assert wait_until(lambda: board.seats["active"][1] == 1)
    assert BERT.training is not None
    sharers = [
        Sharer(True, 0.3, 0.6, 0.6, 1.0, ROBERTA.wave_s, "roberta-large", 8),
        Sharer(False, 0.3, 0.6, 0.8, 1.0, BERT.training.wave_s, "bert-base", 8),
    ]
    _, (mine, theirs) = contention(sharers, sharing, interference and find_interference(interference))
    work_s = ROBERTA.latency.seconds(32, mine.share)
    batch_s = max(work_s * mine.stretch + ROBERTA.launches * mine.delay_s, work_s + mine.wait_s)
    alone_s = ROBERTA.latency.seconds(32, 0.6)
    assert abs(batch_s / alone_s - 1) > 2 * TOLERANCE  # the neighbour matters
    time.sleep(0.01)
    assert nearest(batch_s, lambda: serving.serve(32)) < TOLERANCE

    step_s = BERT.training.step_s(theirs.share) * theirs.stretch + BERT.training.launches * theirs.delay_s

    def pace() -> float:
        serving.channel.send(Run(0, 32, 1))
        time.sleep(0.005)
        first, begun = board.seats["steps"][1], time.monotonic()
        time.sleep(batch_s * 0.8)
        steps, took_s = board.seats["steps"][1] - first, time.monotonic() - begun
        serving.expect(Done)
        return float(took_s / steps)

    assert nearest(step_s, pace) < TOLERANCE


def test_a_batch_that_follows_another_does_not_wait_for_its_turn(board: Board, agency: Agency) -> None:
    """Only after a pause does a batch wait for the rest of a turn: the second of two in a row is faster."""
    sharing = TimeSharing(turn_s=0.6)
    sit(board, 0, ROBERTA, quota=0.5)
    sit(board, 1, BERT, quota=0.5)
    board.seats["active"][1] = 1
    worker = agency.hire()
    worker.start(begin(board, ROBERTA, sharing=sharing))
    _, (terms, _) = contention(
        [
            Sharer(True, 0.3, 0.6, 0.5, 1.0, ROBERTA.wave_s, "roberta-large", 8),
            Sharer(True, 0.3, 0.6, 0.5, 1.0, BERT.wave_s, "bert-base", 8),
        ],
        sharing,
    )
    work_s = ROBERTA.latency.seconds(8, terms.share)
    worker.channel.send(Run(0, 8, 1))
    worker.channel.send(Run(8, 8, 1))
    first, second = worker.expect(Done), worker.expect(Done)
    assert (first.end_ns - first.start_ns) / 1e9 == pytest.approx(work_s + terms.wait_s, abs=1e-6)
    assert (second.end_ns - second.start_ns) / 1e9 == pytest.approx(work_s * terms.stretch, abs=1e-6)
    assert terms.wait_s > 2 * work_s


def test_a_model_split_over_gpus_meets_neighbours_on_each(board: Board, agency: Agency) -> None:
    """Each stage runs on the quota that it has on its own GPU."""
    sit(board, 0, LLAMA, gpu=0, part=0.25, quota=0.5)
    sit(board, 1, LLAMA, gpu=1, part=0.75, quota=0.9)
    worker = agency.hire()
    worker.start(begin(board, LLAMA, rows=(0, 1)))
    token_s = 0.25 * LLAMA.latency.seconds(4, 0.5) + 0.75 * LLAMA.latency.seconds(4, 0.9)
    assert worker.serve(4, 6) == pytest.approx(6 * token_s, abs=1e-6)
    assert list(board.seats["cycles"][:2]) == [1, 1]


def test_training_takes_steps_until_it_is_stopped(board: Board, agency: Agency) -> None:
    """Steps a second are the profile's, a started step counts for its part, and `Stop` is soon obeyed."""
    assert BERT.training is not None
    sit(board, 0, BERT, job="train", quota=0.7)
    worker = agency.hire()
    ready = worker.start(begin(board, BERT, job="train"))
    step_s = BERT.training.step_s(0.7)
    time.sleep(3.5 * step_s)
    worker.channel.send(Stop())
    stopped = worker.expect(Stopped)
    assert worker.status() == 0
    assert stopped.steps * step_s == pytest.approx((stopped.at_ns - ready.at_ns) / 1e9, abs=0.05)
    seat = board.seats[0]
    assert seat["steps"] == stopped.steps > 3
    assert seat["cycles"] == int(stopped.steps)
    assert seat["cycle_s"] == pytest.approx(step_s, abs=1e-6)
    assert seat["cycle_batch"] == BERT.training.batch
    assert (seat["active"], seat["last_active_ns"]) == (0, stopped.at_ns)


def test_training_ends_with_its_iterations(board: Board, agency: Agency) -> None:
    """After the last step comes `Finished`, at the instant of its end; then the worker waits for `Stop`."""
    assert BERT.training is not None
    sit(board, 0, BERT, job="train")
    worker = agency.hire()
    worker.start(begin(board, BERT, job="train", iterations=3))
    finished = worker.expect(Finished)
    assert finished.steps == 3.0
    assert board.seats["active"][0] == 0
    assert (board.seats["steps"][0], board.seats["cycles"][0]) == (3.0, 3)
    worker.channel.send(Stop())
    assert worker.expect(Stopped) == Stopped(3.0, finished.at_ns)
    assert worker.status() == 0


def test_no_quota_is_no_progress(board: Board, agency: Agency) -> None:
    """Without a quota a batch stands still, and goes on when it gets one."""
    sit(board, 0, ROBERTA, quota=0.0)
    worker = agency.hire()
    worker.start(begin(board, ROBERTA))
    worker.channel.send(Run(0, 1, 1))
    time.sleep(0.1)
    given_ns = time.monotonic_ns()
    board.seats["quota"][0] = 1.0
    done = worker.expect(Done)
    assert done.start_ns < given_ns
    assert (done.end_ns - given_ns) / 1e9 >= ROBERTA.latency.seconds(1, 1.0) - 1e-6


def test_noise_is_of_the_seed_and_the_number(board: Board) -> None:
    """Batches and steps scatter about the profile with mean one, the same for the same seed, none without."""
    profile = replace(ROBERTA, latency=LatencySurface(0.0002, 0.0, 0.0, 0.0, 3.0))
    training = replace(profile.training, step=StepCurve(0.0, 0.0002, 3.0)) if profile.training else None
    profile = replace(profile, training=training)
    sit(board, 0, profile)

    def seconds(seed: int, noise: float, batches: int) -> list[float]:
        backend = VirtualBackend(
            begin(board, profile, seed=seed, options={"noise": noise}), Seats(board, [0])
        )
        times_ns = [backend.run(1, 1, time_passes) for _ in range(batches)]
        return [(one[1] - one[0]) / 1e9 for one in times_ns if one is not None]

    def time_passes(sleep_s: float = 0.0) -> bool:
        time.sleep(sleep_s)
        return False

    first = seconds(1, 0.2, 300)
    assert seconds(1, 0.2, 20) == pytest.approx(first[:20], abs=2e-9)
    assert seconds(2, 0.2, 20) != pytest.approx(first[:20], rel=0.01)
    ratios = [one / 0.0002 for one in first]
    assert statistics.mean(ratios) == pytest.approx(1.0, abs=0.04)
    assert statistics.stdev(ratios) == pytest.approx(0.2, abs=0.03)
    assert seconds(1, 0.0, 3) == pytest.approx([0.0002] * 3, abs=2e-9)

    sit(board, 0, profile, job="train")
    options = {"noise": 0.2}
    backend = VirtualBackend(begin(board, profile, job="train", seed=1, options=options), Seats(board, [0]))
    begun_ns = time.monotonic_ns()
    steps, at_ns = backend.train(300, time_passes)
    assert steps == 300.0
    assert (at_ns - begun_ns) / 1e9 == pytest.approx(sum(first), rel=0.02, abs=0.005)
    assert board.seats["cycle_s"][0] == pytest.approx(first[-1], abs=2e-9)


def test_waking_up_late_makes_nothing_longer(board: Board) -> None:
    """A batch and a step end when their progress says so, not when a busy machine lets the worker notice."""
    sit(board, 0, ROBERTA, quota=0.5)

    def oversleep(sleep_s: float = 0.0) -> bool:
        time.sleep(sleep_s + 0.03)
        return False

    serving = VirtualBackend(begin(board, ROBERTA), Seats(board, [0]))
    times_ns = serving.run(4, 1, oversleep)
    assert times_ns is not None
    wanted_s = ROBERTA.latency.seconds(4, 0.5)
    assert (times_ns[1] - times_ns[0]) / 1e9 == pytest.approx(wanted_s, abs=1e-6)

    assert ROBERTA.training is not None
    training = VirtualBackend(begin(board, ROBERTA, job="train"), Seats(board, [0]))
    step_s, errors_s = ROBERTA.training.step_s(0.5), []
    for _ in range(TRIES):
        begun_ns = time.monotonic_ns()
        steps, at_ns = training.train(2, oversleep)
        assert steps == 2.0
        assert board.seats["cycle_s"][0] == pytest.approx(step_s, abs=1e-6)
        errors_s.append(abs((at_ns - begun_ns) / 1e9 - 2 * step_s))
    assert min(errors_s) < 0.01


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"profile": "AAAA"}, "begin: profile: cannot be unpacked"),
        ({"profile": packed("a profile")}, "begin: profile: found str, allowed is ModelProfile"),
        ({"sharing": packed(3)}, "begin: sharing: found int"),
        ({"interference": "ignitor"}, "nearest is 'igniter'"),
        ({"seats": (9,)}, "begin: seats: found 9"),
        ({"seats": (1,)}, "nobody has taken"),
        ({"board": "/nowhere/board"}, "/nowhere/board: cannot be mapped"),
        ({"options": {"looks": 1}}, "nearest is 'look_s'"),
        ({"options": {"look_s": 0}}, "look_s: found 0"),
        ({"options": {"noise": -0.1}}, "noise: found -0.1, allowed are 0 to 1"),
        ({"options": {"noise": True}}, "noise: found True"),
        ({"models": ()}, "model: found 1"),
    ],
)
def test_a_begin_that_cannot_be_is_refused(
    board: Board, agency: Agency, fields: dict[str, Any], fault: str
) -> None:
    """The worker says in one line what is wrong, and ends with status 1."""
    sit(board, 0, ROBERTA)
    worker = agency.hire()
    worker.channel.send(replace(begin(board, ROBERTA), **fields))
    if "models" in fields:  # the board is read with the first batch
        worker.expect(Ready)
        worker.channel.send(Run(0, 1, 1))
    failed = worker.expect(Failed)
    assert fault in failed.reason
    assert "\n" not in failed.reason
    assert worker.status() == 1
    assert "Traceback" in worker.log.read_text()


def test_a_model_that_is_only_served_cannot_be_trained(board: Board, agency: Agency) -> None:
    """Training asks for a training profile."""
    sit(board, 0, ROBERTA)
    worker = agency.hire()
    worker.channel.send(begin(board, replace(ROBERTA, training=None), job="train"))
    assert "none for training" in worker.expect(Failed).reason
    assert worker.status() == 1
