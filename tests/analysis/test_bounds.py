from __future__ import annotations

import math
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import compare, summarise
from analysis.bounds import TOLERANCE, VolumeBound, volume_bound
from analysis.occupancy import holding
from recording import Arrivals, Manifest, MemoryRecorder, RecordedCluster, Run
from recording.manifest import RecordedMixedCluster

CAPACITY = 1000
END_S = 12.0


ALIKE = RecordedCluster(nodes=4, gpus_per_node=4, gpu="A100", gpu_memory_bytes=CAPACITY)


def run_of(
    recorder: MemoryRecorder,
    simulated_s: float = END_S,
    cluster: RecordedCluster | RecordedMixedCluster = ALIKE,
) -> Run:
    """Build a run from rows in memory, on GPUs of 1,000 bytes."""
    manifest = Manifest(
        system="dilu", world="sim", seed=0, simulated_s=simulated_s, cluster=cluster, functions=()
    )
    return Run(manifest, recorder, Arrivals.from_functions([], None))


def held(recorder: MemoryRecorder, time_s: float, gpu: int, needs: list[float], memory: int = 0) -> None:
    """Record that from now on these needs, and so many bytes, are on a GPU; all of it is reserved."""
    reserved = 1.0 if needs else 0.0
    recorder.gpu(time_s, gpu, len(needs), sum(needs), reserved, reserved, memory, 0.0)


def mixed(*memory_bytes: int) -> RecordedMixedCluster:
    """A cluster of a node with two GPUs for each size of memory."""
    nodes = [
        {"nodes": 1, "gpus_per_node": 2, "gpu": f"type-{size}", "gpu_memory_bytes": size}
        for size in memory_bytes
    ]
    return RecordedMixedCluster.model_validate(
        {
            "nodes": len(nodes),
            "gpus_per_node": 2,
            "gpus": 2 * len(nodes),
            "gpus_by_type": {f"type-{size}": 2 for size in memory_bytes},
            "groups": nodes,
        }
    )


def bound_of(recorder: MemoryRecorder) -> VolumeBound:
    """Bound of a run with these rows."""
    return volume_bound(holding(run_of(recorder)))


def test_the_bound_by_hand() -> None:
    """Sums are rounded up at each moment, the larger resource counts, and moments weigh by their time."""
    recorder = MemoryRecorder()
    held(recorder, 0.0, 0, [0.3], 500)  # until 4: 0.3 -> 1 GPU, 0.5 -> 1
    held(recorder, 4.0, 1, [0.5, 0.4], 300)  # until 6: 1.2 -> 2 GPUs, 0.8 -> 1
    held(recorder, 6.0, 2, [0.1], 900)
    held(recorder, 6.0, 3, [0.1], 800)  # until 10: 1.4 -> 2 GPUs, 2.5 -> 3
    for gpu in (0, 1, 2, 3):
        held(recorder, 10.0, gpu, [])  # until 12: nothing
    bound = bound_of(recorder)
    assert (bound.start_s.tolist(), bound.end_s.tolist()) == ([0.0, 4.0, 6.0], [4.0, 6.0, 10.0])
    assert (bound.sm.tolist(), bound.memory.tolist()) == ([1, 2, 2], [1, 1, 3])
    summary = summarise(run_of(recorder))
    assert summary["gpus_bound"] == {
        "peak": 3,
        "mean": pytest.approx((4 * 1 + 2 * 2 + 4 * 3) / 12),
        "sm_mean": pytest.approx((4 * 1 + 6 * 2) / 12),
        "memory_mean": pytest.approx((6 * 1 + 4 * 3) / 12),
    }
    assert summary["mean_gpus"] == pytest.approx((10 + 6 + 4 + 4) / 12)
    assert summary["gpus_over_bound"] == pytest.approx(24 / 20)


def test_what_is_reserved_is_no_need() -> None:
    """Four whole GPUs for four instances that need a quarter each are four times the bound."""
    recorder = MemoryRecorder()
    for gpu in range(4):
        held(recorder, 0.0, gpu, [0.25], 100)
    summary = summarise(run_of(recorder))
    assert (summary["gpus_bound"]["mean"], summary["gpus_over_bound"]) == (1.0, 4.0)


@pytest.mark.parametrize(
    ("needs", "gpus"), [([0.1] * 30, 3), ([0.7, 0.2, 0.1], 1), ([1 / 3] * 9, 3), ([0.1] * 31, 4)]
)
def test_rounding_errors_are_no_gpu(needs: list[float], gpus: int) -> None:
    """A sum that is whole but for rounding is not rounded up; a whole tenth more is."""
    recorder = MemoryRecorder()
    for gpu, need in enumerate(needs):
        held(recorder, 0.0, gpu, [need])
    assert bound_of(recorder).sm.tolist() == [gpus]


def test_the_tolerance_is_as_stated() -> None:
    """Less than it above a whole number is that number, more is one GPU more."""
    for excess, gpus in ((0.5 * TOLERANCE, 1), (2.0 * TOLERANCE, 2)):
        recorder = MemoryRecorder()
        held(recorder, 0.0, 0, [0.5])
        held(recorder, 0.0, 1, [0.5 + excess])
        assert bound_of(recorder).peak == gpus


def test_states_that_last_no_time_do_not_count() -> None:
    """Neither a hand-over at one instant nor an earlier row of the same instant raises the bound."""
    recorder = MemoryRecorder()
    held(recorder, 0.0, 0, [0.9, 0.9], 2000)
    held(recorder, 0.0, 0, [0.9], 100)
    held(recorder, 5.0, 1, [0.9], 100)
    held(recorder, 5.0, 0, [])
    assert bound_of(recorder).gpus.tolist() == [1, 1]


def test_a_bound_needs_something_to_hold() -> None:
    """A run without instances has a bound of 0 and no ratio, one without time no means at all."""
    empty = summarise(run_of(MemoryRecorder()))
    assert empty["gpus_bound"] == {"peak": 0, "mean": 0.0, "sm_mean": 0.0, "memory_mean": 0.0}
    assert empty["gpus_over_bound"] is None
    instant = summarise(run_of(MemoryRecorder(), simulated_s=0.0))
    assert instant["gpus_bound"] == {"peak": 0, "mean": None, "sm_mean": None, "memory_mean": None}


def test_piled_up_needs_are_below_the_bound() -> None:
    """The bound is one of placements that respect needs: a GPU with needs of 1.6 is half of it."""
    recorder = MemoryRecorder()
    held(recorder, 0.0, 0, [0.8, 0.8], 100)
    assert summarise(run_of(recorder))["gpus_over_bound"] == 0.5


def test_the_comparison_shows_the_ratio() -> None:
    """Systems stand side by side by GPUs over bound; a summary from before there was one shows nothing."""
    recorder = MemoryRecorder()
    held(recorder, 0.0, 0, [0.5], 100)
    held(recorder, 0.0, 1, [0.5], 100)
    summary = summarise(run_of(recorder))
    before = {key: value for key, value in summary.items() if key != "gpus_over_bound"}
    shown = compare([summary, {**before, "system": "before"}])["gpus_over_bound"]
    assert shown["dilu"] == 2.0
    assert math.isnan(shown["before"])


instances = st.lists(
    st.tuples(
        st.floats(0.0, 1.0),
        st.integers(0, CAPACITY),
        st.integers(0, 11),
        st.integers(1, 12),
        st.randoms(use_true_random=False),
    ),
    max_size=40,
)


@given(instances)
def test_no_placement_beats_the_bound(instances: list[tuple[float, int, int, int, Random]]) -> None:
    """At every moment of a random placement in which all fits, at least as many GPUs are active."""
    residents: list[dict[int, tuple[float, int]]] = []
    recorder = MemoryRecorder()

    def record(second: int, gpu: int) -> None:
        own = residents[gpu].values()
        held(recorder, float(second), gpu, [need for need, _ in own], sum(memory for _, memory in own))

    active = []
    for second in range(12):
        for number, (need, memory, start, length, random) in enumerate(instances):
            if second == start + length:
                gpu = next(at for at, own in enumerate(residents) if number in own)
                del residents[gpu][number]
                record(second, gpu)
            if second == start:
                fitting = [
                    at
                    for at, own in enumerate(residents)
                    if sum(Fraction(other) for other, _ in own.values()) + Fraction(need) <= 1
                    and sum(other for _, other in own.values()) + memory <= CAPACITY
                ]
                if not fitting or random.random() < 0.2:
                    residents.append({})
                    fitting = [len(residents) - 1]
                gpu = random.choice(fitting)
                residents[gpu][number] = (need, memory)
                record(second, gpu)
        active.append(sum(1 for own in residents if own))
    bound = bound_of(recorder)
    for start_s, end_s, gpus in zip(bound.start_s, bound.end_s, bound.gpus, strict=True):
        assert gpus <= min(active[int(start_s) : int(end_s)])
    summary = summarise(run_of(recorder))
    assert summary["gpus_bound"]["peak"] <= summary["peak_gpus"]
    assert summary["gpus_over_bound"] is None or summary["gpus_over_bound"] >= 1.0 - 1e-9


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, CAPACITY)), min_size=1, max_size=60))
def test_the_bound_is_the_rounded_up_sum(sizes: list[tuple[float, int]]) -> None:
    """With exact sums it is the larger of the two, rounded up, less what the tolerance forgives."""
    recorder = MemoryRecorder()
    for gpu, (need, memory) in enumerate(sizes):
        held(recorder, 0.0, gpu, [need], memory)
    needs = sum((Fraction(need) for need, _ in sizes), Fraction(0))
    volume = Fraction(sum(memory for _, memory in sizes), CAPACITY)
    found = bound_of(recorder)
    for gpus, exact in ((found.sm[0], needs), (found.memory[0], volume)):
        assert exact - Fraction(1.001 * TOLERANCE) <= int(gpus) < exact + 1
    assert found.peak == max(found.sm[0], found.memory[0])


def test_where_gpus_differ_memory_is_bounded_by_the_largest() -> None:
    """Two small GPUs full of memory could have been one large one: no bound may ask for two."""
    recorder = MemoryRecorder()
    held(recorder, 0.0, 0, [0.1], 500)
    held(recorder, 0.0, 1, [0.1], 500)
    summary = summarise(run_of(recorder, cluster=mixed(500, 1000)))
    assert summary["gpus_bound"]["memory_mean"] == summary["gpus_bound"]["peak"] == 1
    assert summary["memory_fragmentation"] == 0.0  # each is full by its own memory
    assert summarise(run_of(recorder, cluster=mixed(500, 999)))["gpus_bound"]["peak"] == 2


def test_memory_is_a_part_of_the_gpu_that_it_is_on() -> None:
    """300 bytes are a large part of a small GPU and a small part of a large one."""
    recorder = MemoryRecorder()
    held(recorder, 0.0, 1, [0.1], 300)
    held(recorder, 0.0, 2, [0.1], 300)
    summary = summarise(run_of(recorder, cluster=mixed(400, 1000)))
    assert summary["memory_fragmentation"] == pytest.approx((0.25 + 0.7) / 2)


def test_memory_that_nobody_asks_for_is_not_fragmented() -> None:
    """Without memory in the workload its fragmentation is null; also where a GPU has an unknown memory."""
    recorder = MemoryRecorder()
    held(recorder, 0.0, 0, [0.4])
    for cluster in (ALIKE, mixed(400, 1000), mixed(0, 0)):
        summary = summarise(run_of(recorder, cluster=cluster))
        assert summary["memory_fragmentation"] is None
        assert summary["sm_fragmentation"] == pytest.approx(0.6)
        assert summary["gpus_bound"]["memory_mean"] == 0.0
    held(recorder, 6.0, 2, [0.4], 500)
    assert summarise(run_of(recorder, cluster=mixed(400, 1000)))["memory_fragmentation"] is not None
    assert summarise(run_of(recorder, cluster=mixed(0, 1000)))["memory_fragmentation"] is None
