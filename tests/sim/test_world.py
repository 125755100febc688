"""The world carries decisions out: batches, cold starts, training, draining, refusal."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import GIB, NO_ARRIVALS, Ran, model, plain_system, poisson, run, serves, trains

from policies import PolicyError, Size, find_system, system_names
from policies.horizontal import ResidualRateScaling
from policies.keep_alive import FixedKeepAlive
from policies.placement import ExclusivePlacement
from policies.start_up import FixedStartUp
from policies.vertical import StaticQuota
from profiles.sharing import UNMANAGED


def completed(ran: Ran, function: int = 0) -> int:
    """Number of requests served."""
    return int(ran.of(function)["count"].sum())


def test_an_idle_instance_takes_what_has_arrived_up_to_its_batch() -> None:
    """Five requests at once and a batch of three: three, then two."""
    ran = run(
        [serves(model(floor_s=0.1), Size(3, 1.0, 1.0))],
        [np.full(5, 1.0)],
        duration_s=5.0,
        system=plain_system(),
    )
    assert ran.batches["count"].tolist() == [3, 2]
    assert ran.batches["start_s"].tolist() == [1.0, pytest.approx(1.1)]
    assert ran.batches["end_s"].tolist() == [pytest.approx(1.1), pytest.approx(1.2)]


def test_progress_is_kept_when_the_share_changes() -> None:
    """A batch of 1 s on the whole GPU: half of it alone, the rest on half the GPU, is done after 1.5 s."""
    functions = [
        serves(model("long", floor_s=0.0, work_s=1.0), Size(1, 0.5, 1.0)),
        serves(model("other", floor_s=0.0, work_s=10.0), Size(1, 0.5, 1.0)),
    ]
    system = plain_system(vertical=StaticQuota(sharing=UNMANAGED)).with_config({"placement.gamma": 2.0})
    ran = run(functions, [np.array([0.0]), np.array([0.5])], duration_s=60.0, system=system)
    assert ran.of(0)["end_s"][0] == pytest.approx(1.5, rel=1e-6)
    # The other one: 1 s at half speed beside the first, then alone: 0.5 + 9.5 s.
    assert ran.of(1)["end_s"][0] == pytest.approx(0.5 + 1.0 + 9.5, rel=1e-6)


def test_a_step_waits_for_its_slowest_worker() -> None:
    """Two workers, one of them beside a busy service: the job runs at the pace of that one."""
    functions = [
        serves(model("busy", floor_s=0.0, work_s=1.0), Size(1, 0.5, 1.0)),
        trains(model("job", step_work_s=0.1), Size(1, 0.5, 1.0), workers=2),
    ]
    arrivals = [np.zeros(100), NO_ARRIVALS]
    system = plain_system(vertical=StaticQuota(sharing=UNMANAGED)).with_config({"placement.gamma": 2.0})
    ran = run(functions, arrivals, duration_s=10.0, system=system, gpus_per_node=2)
    assert set(ran.gpus["gpu"]) == {0, 1}
    assert ran.training["steps"][0] == pytest.approx(10.0 / 0.2, rel=1e-6)


def test_a_finite_training_ends_when_its_iterations_are_done() -> None:
    """Fifty steps of 0.1 s take five seconds; then its memory and its share are free."""
    ran = run([trains(model("job"), Size(1, 0.5, 1.0), iterations=50)], [NO_ARRIVALS], duration_s=20.0)
    # The lone job gets its request until the first tick, 0 s, and its limit from then on.
    assert ran.training["end_s"][0] == pytest.approx(5.0, rel=1e-3)
    assert ran.training["done"][0]
    assert ran.training["steps"][0] == 50.0
    assert ran.gpus["memory_bytes"][-1] == 0
    assert ran.instances["retire_s"][0] == ran.training["end_s"][0]


def test_a_split_model_takes_the_sum_of_its_stages() -> None:
    """An LLM over two GPUs takes each stage's part of the token time on that stage's share."""
    functions = [
        serves(model("a", floor_s=0.001), Size(1, 0.6, 0.6), memory_bytes=20 * GIB),
        serves(model("b", floor_s=0.001), Size(1, 0.6, 0.6), memory_bytes=20 * GIB),
        serves(
            model("llm", kind="llm", floor_s=0.0, work_s=0.010),
            Size(1, 0.4, 0.5),
            memory_bytes=24 * GIB,
            output_tokens=10,
        ),
    ]
    ran = run(
        functions,
        [NO_ARRIVALS, NO_ARRIVALS, np.array([1.0])],
        duration_s=10.0,
        gpus_per_node=2,
        system=find_system("dilu").with_config({"routing.first_wait_s": 0.0}),
    )
    llm = ran.instances["function"] == 2
    assert sorted(ran.instances["gpus"][llm][0]) == [0, 1]
    assert sorted(ran.instances["memory_bytes"][llm][0]) == [4 * GIB, 20 * GIB]
    took_s = ran.of(2)["end_s"][0] - ran.of(2)["start_s"][0]
    assert 10 * 0.010 / 0.5 - 1e-6 <= took_s <= 10 * 0.010 / 0.4 + 1e-6


def test_llm_batches_run_for_their_longest_answer() -> None:
    """Static batching: answers of 5 and 20 tokens in one batch take 20 token times."""
    ran = run(
        [serves(model(kind="llm", floor_s=0.01), Size(2, 1.0, 1.0), output_tokens=16)],
        [np.array([1.0, 1.0])],
        tokens=[np.array([5, 20], dtype=np.int32)],
        duration_s=5.0,
        system=plain_system(),
    )
    assert ran.batches["end_s"][0] == pytest.approx(1.2)


def test_cold_starts_take_their_time_and_are_counted() -> None:
    """Beyond capacity, the second instance is launched by the scaler and serves after the start-up."""
    arrivals = poisson(40.0, 2_000, seed=1)
    system = dataclasses.replace(
        plain_system(horizontal=ResidualRateScaling(), keep_alive=FixedKeepAlive(600.0)),
        start_up=FixedStartUp(3.0),
    )
    ran = run([serves(model(floor_s=0.04), Size(1, 0.4, 0.4))], [arrivals], duration_s=50.0, system=system)
    cold = ran.instances["cold"]
    assert cold.tolist().count(False) == 1
    assert cold.sum() >= 1
    waited_s = ran.instances["ready_s"][cold] - ran.instances["launch_s"][cold]
    assert waited_s.tolist() == [3.0] * len(waited_s)
    firsts = [
        ran.batches["start_s"][ran.batches["instance"] == i].min() for i in ran.instances["instance"][cold]
    ]
    assert all(f >= r for f, r in zip(firsts, ran.instances["ready_s"][cold], strict=True))


def test_an_idle_surplus_instance_is_retired_and_frees_its_memory() -> None:
    """After a burst, keep-alive retires instances down to the minimum."""
    arrivals = np.concatenate([np.linspace(0.0, 5.0, 300, endpoint=False), [55.0]])
    system = plain_system(horizontal=ResidualRateScaling(), keep_alive=FixedKeepAlive(4.0))
    ran = run([serves(model(floor_s=0.04), Size(1, 0.2, 0.2))], [arrivals], duration_s=60.0, system=system)
    retired = ran.instances["retire_s"][~np.isnan(ran.instances["retire_s"].astype(float))]
    assert len(retired) == len(ran.instances["instance"]) - 1 >= 1
    assert ran.gpus["instances"][-1] == 1
    assert completed(ran) == len(arrivals)


def test_a_draining_instance_ends_its_batch_first() -> None:
    """An instance retired in the middle of a batch leaves when the batch is done, and takes no other."""
    arrivals = np.concatenate([np.linspace(0, 4, 80, endpoint=False), np.linspace(4, 60, 30)])
    system = plain_system().with_config(
        {"horizontal.window_s": 5, "horizontal.out_count": 2, "horizontal.in_count": 2}
    )
    ran = run([serves(model(floor_s=0.3), Size(4, 0.3, 0.3))], [arrivals], duration_s=70.0, system=system)
    for index, retire_s in zip(
        ran.instances["instance"], ran.instances["retire_s"].astype(float), strict=True
    ):
        mine = ran.batches["instance"] == index
        assert not np.isfinite(retire_s) or (ran.batches["end_s"][mine] <= retire_s).all()
    assert np.isfinite(ran.instances["retire_s"].astype(float)).any()
    assert completed(ran) == len(arrivals)


def test_a_function_without_instances_is_woken_by_its_first_request() -> None:
    """With a minimum of zero, the first request launches an instance and waits for it."""
    system = plain_system(start_up=FixedStartUp(2.0))
    ran = run(
        [serves(model(floor_s=0.01), Size(1, 0.5, 0.5), min_instances=0)],
        [np.array([10.0, 10.5])],
        duration_s=20.0,
        system=system,
    )
    assert ran.instances["launch_s"].tolist() == [10.0]
    assert ran.batches["start_s"][0] == 12.0
    assert completed(ran) == 2


def test_requests_nobody_can_serve_are_dropped() -> None:
    """Where no GPU can take any instance of a function, its requests are refused, and served once one can."""
    functions = [
        trains(model("job"), Size(1, 0.9, 1.0), iterations=100),
        serves(model(floor_s=0.01), Size(1, 0.5, 0.5)),
    ]
    system = plain_system(placement=ExclusivePlacement())
    ran = run(functions, [NO_ARRIVALS, np.arange(0.5, 30.0)], duration_s=30.0, system=system)
    dropped, served = ran.of(1, dropped=True), ran.of(1)
    assert dropped["count"].sum() >= 9
    assert served["count"].sum() + dropped["count"].sum() == 30
    assert served["start_s"].min() >= 10.0
    assert ran.outcome.launches_refused >= 1


def test_requests_past_their_time_out_are_dropped() -> None:
    """Of ten requests at once, those who waited longer than the time-out when their turn came are dropped."""
    ran = run(
        [serves(model(floor_s=1.0), Size(1, 1.0, 1.0), timeout_s=2.5)],
        [np.zeros(10)],
        duration_s=60.0,
        system=plain_system(),
    )
    assert completed(ran) == 3
    assert ran.of(0, dropped=True)["count"].sum() == 7


def test_a_function_deployed_later_starts_cold_and_serves_then() -> None:
    """A function that starts at 5 s is launched then, cold."""
    ran = run(
        [serves(model(floor_s=0.01), Size(1, 0.5, 0.5), start_s=5.0)],
        [np.array([6.0, 9.0])],
        duration_s=20.0,
        system=plain_system(start_up=FixedStartUp(2.0)),
    )
    assert ran.instances["launch_s"].tolist() == [5.0]
    assert ran.instances["cold"].tolist() == [True]
    assert ran.batches["start_s"].tolist() == [7.0, 9.0]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (serves(model(), Size(1, 0.5, 0.5), memory_bytes=41 * GIB), "memory: found 41.0 GiB"),
        (
            trains(model("job"), Size(1, 0.5, 0.5), workers=3),
            "workers: found 3, allowed are up to the 2 GPUs",
        ),
        (
            serves(model(kind="llm"), Size(1, 0.5, 0.5), memory_bytes=81 * GIB),
            "memory: found 81.0 GiB, a node of 2 has 80.0 GiB",
        ),
    ],
)
def test_a_function_larger_than_any_gpu_is_named(function, message: str) -> None:  # type: ignore[no-untyped-def]
    """What can never be placed is an error before anything runs."""
    with pytest.raises(PolicyError, match=message):
        run([function], [NO_ARRIVALS], duration_s=1.0, gpus_per_node=2)


@pytest.mark.parametrize("name", system_names())
@given(
    seed=st.integers(0, 2**32 - 1),
    rate_rps=st.sampled_from([1.0, 30.0, 400.0]),
    gpus=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=15, deadline=None)
def test_no_request_is_lost_or_served_twice(name: str, seed: int, rate_rps: float, gpus: int) -> None:
    """Batches and drops are disjoint slices in the order of arrival; nothing is served before it arrives."""
    rng = np.random.default_rng(seed)
    functions = [
        serves(
            model(f"m{i}", floor_s=0.01, work_s=0.005, launches=200, wave_s=2e-5),
            Size(4, 0.3, 0.6),
            name=f"f{i}",
            timeout_s=[None, 0.2, None][i],
            min_instances=[1, 1, 0][i],
        )
        for i in range(3)
    ]
    functions.append(trains(model("job", launches=400, wave_s=8e-5), Size(1, 0.3, 0.9)))
    arrivals = [np.sort(rng.uniform(0, 10, rng.poisson(10 * rate_rps))) for _ in range(3)] + [NO_ARRIVALS]
    ran = run(functions, arrivals, duration_s=10.0, system=name, gpus_per_node=gpus)
    for index in range(3):
        rows = ran.batches["function"] == index
        first, count = ran.batches["first"][rows], ran.batches["count"][rows]
        order = np.argsort(first)
        gaps = first[order][1:] - (first + count)[order][:-1]
        assert (gaps >= 0).all()
        assert (
            gaps.sum() <= 4 * (ran.instances["function"] == index).sum()
        )  # batches that still run at the end
        assert (count >= 1).all()
        assert (count[ran.batches["instance"][rows] >= 0] <= 4).all()
        assert not rows.any() or first.min() == 0
        last_of_batch = arrivals[index][first + count - 1]
        assert (ran.batches["start_s"][rows] >= last_of_batch).all()
        assert (ran.batches["end_s"][rows] >= ran.batches["start_s"][rows]).all()
    for gpu in range(gpus):
        rows = ran.gpus["gpu"] == gpu
        assert (ran.gpus["memory_bytes"][rows] <= 40 * GIB).all()
        in_use = ran.gpus["active_share_s"][rows]
        assert (np.diff(in_use) >= -1e-9).all()
        assert (in_use <= ran.gpus["time_s"][rows] + 1e-6).all()
