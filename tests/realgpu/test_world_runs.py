"""The real world carries decisions out with processes: batches, cold starts, training, draining, refusal.

Workers are virtual: they let the time pass that the profile has for their work. Bounds on times are generous:
the host may be busy.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_worlds import (
    GIB,
    NO_ARRIVALS,
    Ran,
    Targets,
    children,
    deployed,
    descriptors,
    model,
    plain_system,
    poisson,
    run_folders,
    run_simulated,
    run_virtually,
    serves,
    trains,
)

from analysis import summarise
from policies import Deployment, Size, find_system
from policies.horizontal import ResidualRateScaling
from policies.keep_alive import FixedKeepAlive
from policies.placement import ExclusivePlacement
from policies.start_up import FixedStartUp
from profiles import IgniterInterference
from realgpu.world import run
from recording import Arrivals, Manifest, Recorder, load

SMALL = Size(1, 0.3, 0.3)


def accounts_for_everything(ran: Ran, function: int = 0) -> tuple[int, int, int]:
    """Check that batches and drops are disjoint slices in the order of arrival.

    Returns the requests completed, dropped and unfinished.
    """
    arrivals = ran.deployment.arrivals[function]
    rows = ran.batches["function"] == function
    first, count = ran.batches["first"][rows], ran.batches["count"][rows]
    order = np.argsort(first)
    assert (first[order][1:] >= (first + count)[order][:-1]).all()
    assert (count >= 1).all()
    served = ran.of(function)
    assert (served["start_s"] >= arrivals[served["first"] + served["count"] - 1]).all()
    assert (served["end_s"] > served["start_s"]).all()
    assert (ran.batches["end_s"][rows] < ran.deployment.duration_s).all()
    batch = ran.deployment.functions[function].size
    assert batch is not None
    assert (served["count"] <= batch.batch).all()
    completed = int(served["count"].sum())
    dropped = int(ran.of(function, dropped=True)["count"].sum())
    unfinished = len(arrivals) - completed - dropped
    assert unfinished >= 0
    return completed, dropped, unfinished


@pytest.fixture(autouse=True)
def _nothing_stays() -> Any:
    """Every run leaves this process without children, folders and descriptors of its own."""
    before = descriptors()
    yield
    assert children(_own_pid()) == set()
    assert run_folders() == []
    assert descriptors() == before


def _own_pid() -> int:
    return int(Path("/proc/self").readlink().name)


def test_an_idle_instance_takes_what_has_arrived_up_to_its_batch() -> None:
    """Five requests at once and a batch of three: three, then two, each as long as the profile says."""
    function = serves(model(floor_s=0.1), Size(3, 1.0, 1.0))
    ran = run_virtually(
        deployed([function], [np.full(5, 0.2)], duration_s=0.8),
        plain_system(horizontal=ResidualRateScaling()),
    )
    assert ran.batches["count"].tolist() == [3, 2]
    took_s = ran.batches["end_s"] - ran.batches["start_s"]
    assert took_s == pytest.approx([0.1, 0.1], rel=0.05)
    assert ran.batches["start_s"][0] == pytest.approx(0.2, abs=0.15)
    assert ran.instances["ready_s"].tolist() == [0.0]
    assert ran.instances["cold"].tolist() == [False]
    assert ran.outcome.further["send_lateness_s"]["max"] < 0.15
    assert "batches were sent" in ran.outcome.notes[0]


def test_every_request_is_accounted_for() -> None:
    """Three functions, one with a time-out that is too short: completed, dropped and unfinished add up."""
    functions = [
        serves(model("a", floor_s=0.03), Size(4, 0.3, 0.3)),
        serves(model("b", floor_s=0.05), Size(1, 0.3, 0.3), timeout_s=0.1),
        serves(model("c", floor_s=0.02), Size(2, 0.3, 0.3)),
    ]
    arrivals = [poisson(60.0, 2.0, 1), poisson(60.0, 2.0, 2), poisson(20.0, 2.0, 3)]
    ran = run_virtually(deployed(functions, arrivals, duration_s=2.0, gpus=3), "mps-r")
    counts = [accounts_for_everything(ran, function) for function in range(3)]
    assert counts[0][0] > 60
    assert counts[1][1] > 30
    assert counts[2] == (len(arrivals[2]), 0, 0) or counts[2][2] <= 4
    assert ran.outcome.events > 100


def test_llm_batches_run_for_their_longest_answer() -> None:
    """Static batching: answers of 5 and 20 tokens in one batch take 20 token times."""
    function = serves(model(kind="llm", floor_s=0.01), Size(2, 1.0, 1.0), output_tokens=16)
    deployment = deployed(
        [function],
        [np.array([0.1, 0.1])],
        duration_s=0.6,
        tokens=[np.array([5, 20], dtype=np.int32)],
    )
    ran = run_virtually(deployment, plain_system())
    assert ran.batches["end_s"][0] - ran.batches["start_s"][0] == pytest.approx(0.2, rel=0.05)


def test_a_finite_training_ends_when_its_iterations_are_done() -> None:
    """Twenty-five steps of 20 ms take half a second; then its process is gone and its memory free."""
    job = trains(model("job"), Size(1, 0.5, 1.0), iterations=25)
    ran = run_virtually(deployed([job], [NO_ARRIVALS], duration_s=1.5), "dilu")
    assert ran.training["steps"].tolist() == [25.0]
    assert ran.training["done"].tolist() == [True]
    assert ran.training["end_s"][0] == pytest.approx(0.5, rel=0.15)
    assert ran.gpus["memory_bytes"][-1] == 0
    assert ran.training["end_s"][0] <= ran.instances["retire_s"][0] < 1.5


def test_whoever_is_left_alone_has_its_limit() -> None:
    """A server beside a training gets its request, and its limit once the training is done and gone."""
    functions = [
        serves(model("server"), Size(1, 0.2, 0.4)),
        trains(model("job"), Size(1, 0.3, 0.6), iterations=20),
    ]
    ran = run_virtually(deployed(functions, [NO_ARRIVALS] * 2, duration_s=1.6), "dilu")
    assert ran.training["done"].tolist() == [True]
    times_s, own = (ran.quotas[name][ran.quotas["instance"] == 0] for name in ("time_s", "quota"))
    assert own.tolist() == [0.2, 0.4]
    assert times_s[1] > ran.training["end_s"][0]


def test_a_job_without_a_place_is_tried_again_until_there_is_one() -> None:
    """A GPU that another holds for 1.2 s: refused once, tried at 1 s in vain, placed at 2 s."""
    functions = [
        trains(model("job"), Size(1, 0.9, 1.0), iterations=60),
        trains(model("later"), Size(1, 0.9, 1.0)),
    ]
    system = plain_system(placement=ExclusivePlacement())
    ran = run_virtually(deployed(functions, [NO_ARRIVALS] * 2, duration_s=2.6), system)
    assert ran.outcome.launches_refused == 1
    assert ran.instances["function"].tolist() == [0, 1]
    assert ran.instances["launch_s"][1] == pytest.approx(2.0, abs=0.3)
    assert ran.instances["cold"].tolist() == [False, True]


def test_an_endless_training_is_recorded_with_the_part_of_its_last_step() -> None:
    """One second of steps of 0.3 s on the limit of the GPU: 3.3 of them, and all of it was active."""
    job = trains(model("job", step_work_s=0.3), Size(1, 0.5, 1.0))
    ran = run_virtually(deployed([job], [NO_ARRIVALS], duration_s=1.0), plain_system())
    assert ran.training["steps"][0] == pytest.approx(1.0 / 0.3, rel=0.15)
    assert ran.training["done"].tolist() == [False]
    assert ran.gpus["active_share_s"][-1] == pytest.approx(1.0, rel=0.02)
    assert np.isnan(ran.instances["retire_s"].astype(float)).all()


def test_a_batch_that_still_runs_at_the_end_was_active_until_then() -> None:
    """It is in no table of batches, its request is unfinished, and it used its share for half a second."""
    function = serves(model(floor_s=5.0), Size(1, 0.4, 0.4))
    ran = run_virtually(deployed([function], [np.array([0.2])], duration_s=0.7), plain_system())
    assert accounts_for_everything(ran) == (0, 0, 1)
    assert ran.gpus["active_share_s"][-1] == pytest.approx(0.5 * 0.4, rel=0.2)


def test_an_action_clears_the_window_of_rates() -> None:
    """Polls come on whole seconds, and a launch lets rates begin anew."""
    policy = Targets([1, 2, 2])
    function = serves(model(), Size(1, 0.2, 0.2))
    run_virtually(
        deployed([function], [np.arange(0.0, 3.4, 0.1)], duration_s=3.4), plain_system(horizontal=policy)
    )
    assert policy.shown == [(1.0, 1, 1), (2.0, 1, 2), (3.0, 2, 1)]


def test_a_gang_of_workers_sits_on_several_gpus() -> None:
    """A training on two GPUs is one process in two seats, and waits for the slower one."""
    busy = serves(model("busy", floor_s=0.0, work_s=1.0), Size(1, 0.5, 0.5))
    job = trains(model("job", step_work_s=0.05), Size(1, 0.5, 0.5), workers=2)
    ran = run_virtually(deployed([busy, job], [np.zeros(9), NO_ARRIVALS], duration_s=1.0, gpus=2), "mps-l")
    assert [list(gpus) for gpus in ran.instances["gpus"][ran.instances["function"] == 1]] == [[0, 1]]
    assert ran.training["workers"].tolist() == [2]
    assert ran.training["steps"][0] == pytest.approx(1.0 / 0.1, rel=0.15)


@pytest.mark.slow
def test_dilu_moves_quotas_beside_training() -> None:
    """A burst fills batches: the server gets its limit, training is throttled and recovers."""
    server = serves(
        model("server", floor_s=0.002, work_s=0.008, launches=300, wave_s=2e-5), Size(8, 0.3, 0.6)
    )
    job = trains(model("job", launches=400, wave_s=8e-5), Size(1, 0.4, 0.8))
    arrivals = np.sort(np.concatenate([poisson(150.0, 1.0, 5), poisson(5.0, 3.0, 6)]))
    deployment = deployed([server, job], [arrivals, NO_ARRIVALS], duration_s=3.0)
    system = find_system("dilu").with_config({"placement.gamma": 2.0})
    ran = run_virtually(deployment, system)
    own = {index: ran.quotas["quota"][ran.quotas["instance"] == index] for index in (0, 1)}
    assert own[0].max() == 0.6
    assert own[0].min() == 0.3
    assert own[1].min() < 0.3
    assert own[1].max() > own[1].min() * 1.2
    assert (ran.quotas["quota"] > 0.0).all()
    assert (np.diff(ran.quotas["time_s"]) >= 0.0).all()
    assert 595 <= ran.outcome.further["ticks"] + ran.outcome.further["ticks_missed"] <= 700
    assert ran.training["steps"] == pytest.approx(
        run_simulated(deployment, system).training["steps"], rel=0.2
    )


@pytest.mark.slow
def test_beyond_capacity_instances_are_launched_and_serve() -> None:
    """At three times what one instance can do, scaling launches more; a cold start takes its time."""
    system = plain_system(
        horizontal=ResidualRateScaling(), keep_alive=FixedKeepAlive(60.0), start_up=FixedStartUp(0.8)
    )
    function = serves(model(floor_s=0.05), Size(1, 0.2, 0.2))
    ran = run_virtually(deployed([function], [poisson(60.0, 4.0, 4)], duration_s=4.0), system)
    cold = ran.instances["cold"]
    assert cold.sum() >= 2
    ready = cold & ~np.isnan(ran.instances["ready_s"].astype(float))
    started_s = (ran.instances["ready_s"] - ran.instances["launch_s"])[ready].astype(float)
    assert (started_s >= 0.8).all()
    assert started_s.min() < 1.5
    for index, ready_s in zip(ran.instances["instance"][ready], ran.instances["ready_s"][ready], strict=True):
        starts_s = ran.batches["start_s"][ran.batches["instance"] == index]
        assert len(starts_s)
        assert starts_s.min() >= ready_s
    accounts_for_everything(ran)


@pytest.mark.slow
def test_an_idle_surplus_instance_is_retired_and_its_process_gone() -> None:
    """After a burst, keep-alive retires down to the minimum, and the memory is free."""
    system = plain_system(horizontal=ResidualRateScaling(), keep_alive=FixedKeepAlive(1.0))
    function = serves(model(floor_s=0.04), Size(1, 0.2, 0.2))
    arrivals = np.linspace(0.0, 2.0, 120, endpoint=False)
    ran = run_virtually(deployed([function], [arrivals], duration_s=6.0), system)
    retired = ~np.isnan(ran.instances["retire_s"].astype(float))
    assert retired.sum() == len(retired) - 1 >= 1
    assert ran.gpus["instances"][-1] == 1
    for index, retire_s in zip(ran.instances["instance"], ran.instances["retire_s"], strict=True):
        ends_s = ran.batches["end_s"][ran.batches["instance"] == index]
        assert np.isnan(retire_s) or not len(ends_s) or ends_s.max() <= retire_s
    assert accounts_for_everything(ran) == (120, 0, 0)


@pytest.mark.slow
def test_a_draining_instance_ends_its_batch_first() -> None:
    """Scaling in retires an instance in the middle of a batch of half a second; it leaves after that."""
    arrivals = np.concatenate([np.linspace(0, 2, 60, endpoint=False), np.linspace(2, 6, 16)])
    system = plain_system().with_config(
        {"horizontal.window_s": 2, "horizontal.out_count": 1, "horizontal.in_count": 1}
    )
    function = serves(model(floor_s=0.5), Size(4, 0.3, 0.3))
    ran = run_virtually(deployed([function], [arrivals], duration_s=6.0), system)
    retire_s = ran.instances["retire_s"].astype(float)
    assert np.isfinite(retire_s).any()
    for index, left_s in zip(ran.instances["instance"], retire_s, strict=True):
        mine = ran.batches["instance"] == index
        assert not np.isfinite(left_s) or (ran.batches["end_s"][mine] <= left_s).all()
    accounts_for_everything(ran)


def test_a_function_without_instances_is_woken_by_its_first_request() -> None:
    """With a minimum of zero, the first request launches an instance and waits for it."""
    function = serves(model(floor_s=0.01), Size(1, 0.5, 0.5), min_instances=0)
    deployment = deployed([function], [np.array([0.3, 0.5])], duration_s=2.0)
    ran = run_virtually(deployment, plain_system(start_up=FixedStartUp(0.7)))
    assert ran.instances["launch_s"] == pytest.approx([0.3], abs=0.2)
    assert ran.instances["cold"].tolist() == [True]
    assert 1.0 <= ran.batches["start_s"][0] < 1.6
    assert accounts_for_everything(ran) == (2, 0, 0)


def test_a_function_deployed_later_starts_cold_and_serves_then() -> None:
    """A function that starts at 0.5 s is launched then, cold, and a training job as well."""
    functions = [
        serves(model(floor_s=0.01), SMALL, start_s=0.5),
        trains(model("job"), SMALL, start_s=0.5),
    ]
    deployment = deployed(functions, [np.array([0.6, 2.4]), NO_ARRIVALS], duration_s=3.0, gpus=2)
    ran = run_virtually(deployment, plain_system(start_up=FixedStartUp(0.9)))
    assert ran.instances["launch_s"] == pytest.approx([0.5, 0.5], abs=0.2)
    assert 1.4 <= ran.batches["start_s"][0] < 2.4
    assert ran.batches["start_s"][1] == pytest.approx(2.4, abs=0.3)
    assert (ran.instances["ready_s"] >= 1.4).all()
    assert 1.4 <= ran.training["start_s"][0] < 2.4


@pytest.mark.slow
def test_requests_nobody_can_serve_are_dropped() -> None:
    """A GPU that a job holds: a server's requests are refused until it is done, then served."""
    functions = [
        trains(model("job"), Size(1, 0.9, 1.0), iterations=60),
        serves(model(floor_s=0.01), Size(1, 0.5, 0.5)),
    ]
    arrivals = [NO_ARRIVALS, np.arange(0.1, 4.0, 0.1)]
    system = plain_system(placement=ExclusivePlacement())
    ran = run_virtually(deployed(functions, arrivals, duration_s=4.0), system)
    completed, dropped, _ = accounts_for_everything(ran, 1)
    assert dropped >= 9
    assert completed >= 9
    assert ran.outcome.launches_refused >= 2
    assert ran.of(1)["start_s"].min() >= ran.training["end_s"][0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dilu", "exclusive", "mps-l", "infless+", "has-gpu", "fast-gs+", "torpor"])
def test_every_sort_of_system_runs(name: str) -> None:
    """Sizes on offer, weighed dispatch, shares that are wanted, eviction: all work with processes too."""
    functions = [
        serves(model("a", floor_s=0.01, work_s=0.005, slo_s=0.2), Size(4, 0.3, 0.6), min_instances=1),
        serves(model("b", floor_s=0.01, work_s=0.005, slo_s=0.2), Size(4, 0.3, 0.6), min_instances=0),
    ]
    arrivals = [poisson(60.0, 2.5, 7), poisson(30.0, 2.5, 8)]
    deployment = deployed(functions, arrivals, duration_s=2.5, gpus=2)
    system = dataclasses.replace(find_system(name), start_up=FixedStartUp(0.2))
    ran = run_virtually(deployment, system)
    for function in range(2):
        rows = ran.batches["function"] == function
        order = np.argsort(ran.batches["first"][rows])
        first, count = ran.batches["first"][rows][order], ran.batches["count"][rows][order]
        assert (first[1:] >= (first + count)[:-1]).all()
    assert ran.of(0)["count"].sum() > 60


def test_tables_of_a_run_are_read_and_summarised(tmp_path: Path) -> None:
    """What the real world writes passes the reader's checks, and the metrics come out of it."""
    functions = [serves(model("a", floor_s=0.02), Size(2, 0.3, 0.3)), trains(model("job"), Size(1, 0.3, 0.6))]
    deployment = deployed(functions, [poisson(40.0, 2.0, 9), NO_ARRIVALS], duration_s=2.0)
    with Recorder(tmp_path / "dilu", quotas=True) as recorder:
        outcome = run(deployment, find_system("dilu"), seed=0, recorder=recorder, backend="virtual")
        recorder.close(_manifest(deployment, outcome.simulated_s))
        arrivals = Arrivals.from_functions(deployment.arrivals, deployment.output_tokens)
        summary = summarise(load(recorder.staging, arrivals=arrivals), wall_s=2.0)
        recorder.publish(summary)
    assert summary["world"] == "realgpu"
    assert summary["requests"] == len(deployment.arrivals[0])
    assert summary["requests"] == summary["completed"] + summary["dropped"] + summary["unfinished"]
    assert summary["completed"] > 50
    assert summary["training"]["steps_per_s"] > 5.0


def _manifest(deployment: Deployment, simulated_s: float) -> Manifest:
    functions = [
        {"name": function.name, "kind": function.kind, "slo_s": function.slo_s}
        for function in deployment.functions
    ]
    cluster = {"nodes": 1, "gpus_per_node": 1, "gpu": "test", "gpu_memory_bytes": 40 * GIB}
    return Manifest.model_validate(
        {
            "system": "dilu",
            "world": "realgpu",
            "seed": 0,
            "simulated_s": simulated_s,
            "cluster": cluster,
            "functions": functions,
        }
    )


def test_progress_is_told_and_ends_at_the_end() -> None:
    """Times never go back, and the last one is the duration."""
    told: list[float] = []
    deployment = deployed([serves(model(), SMALL)], [np.array([0.1])], duration_s=0.5)
    run_virtually(deployment, plain_system(), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 0.5
    assert 3 <= len(told) <= 7


def test_a_named_interference_model_reaches_the_workers() -> None:
    """Two servers at once take longer under iGniter's model than without."""
    functions = [serves(model(name, floor_s=0.1), Size(1, 0.4, 0.4)) for name in ("bert-base", "vgg19")]
    deployment = deployed(functions, [np.full(4, 0.1)] * 2, duration_s=0.9)
    plain = run_virtually(deployment, "mps-l")
    disturbed = run_virtually(deployment, "mps-l", interference=IgniterInterference())
    assert disturbed.latencies(0).min() > 1.02 * plain.latencies(0).min()
