"""Placement alone: the paper's large-scale simulation, and what may go wrong in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from policies import Cluster, PolicyError, find_system
from policies.functions import MixedCluster
from profiles import GpuType
from recording import MemoryRecorder
from recording.schema import GPUS, INSTANCES
from sim import replay_instances
from traces import InstanceEvent, InstanceKind, generate_instance_events

GIB = 2**30
A100 = GpuType("A100", 40 * GIB, 108)
MIXED = MixedCluster((Cluster(1, 1, GpuType("T4", 16 * GIB, 0)), Cluster(1, 2, GpuType("V100", 32 * GIB, 0))))
"""Slot 0 has a T4, slot 1 nothing, slots 2 and 3 V100s."""


def start(
    time_s: float,
    name: str,
    *,
    kind: InstanceKind = "inference",
    gpus: int = 1,
    memory_gb: int = 10,
    types: str = "",
) -> InstanceEvent:
    """A start event of an instance with request 0.3 and limit 0.6, on any of the `types` of GPU."""
    allowed = frozenset(types.split()) or None
    return InstanceEvent(time_s, "start", name, name, kind, gpus, 0.3, 0.6, memory_gb * GIB, allowed)


def stop(time_s: float, begun: InstanceEvent) -> InstanceEvent:
    """The stop event of a start."""
    return InstanceEvent(time_s, "stop", *[getattr(begun, f) for f in begun.__slots__[2:]])


def peak_gpus(system: str, seed: int, instances: int = 3200) -> int:
    """Most GPUs that were active at once."""
    recorder = MemoryRecorder()
    events = generate_instance_events(instances, seed=seed)
    outcome = replay_instances(Cluster(1000, 4, A100), events, find_system(system), recorder=recorder)
    assert outcome.launches_refused == 0
    columns = recorder.columns(GPUS)
    active: set[int] = set()
    peak = 0
    for gpu, residents in zip(columns["gpu"], columns["instances"], strict=True):
        (active.add if residents else active.discard)(int(gpu))
        peak = max(peak, len(active))
    return peak


def test_dilu_saves_about_what_the_paper_says() -> None:
    """Means of ten seeds: about 30 % fewer GPUs than Exclusive, 23 % fewer than INFless+-l (section 5.5),
    within 4 points.
    """
    seeds = range(10)
    exclusive, infless, dilu = (
        np.mean([peak_gpus(name, seed) for seed in seeds]) for name in ("exclusive", "infless+-l", "dilu")
    )
    assert 1.0 - dilu / exclusive == pytest.approx(0.30, abs=0.04)
    assert 1.0 - dilu / infless == pytest.approx(0.23, abs=0.04)


def test_a_stopped_instance_frees_its_gpu() -> None:
    """A GPU whose last instance stops is empty, and its row says so."""
    first = start(0.0, "a")
    recorder = MemoryRecorder()
    replay_instances(Cluster(1, 2, A100), [first, stop(5.0, first)], find_system("dilu"), recorder=recorder)
    gpus, instances = recorder.columns(GPUS), recorder.columns(INSTANCES)
    assert gpus["instances"].tolist()[:2] == [1, 0]
    assert gpus["request"].tolist()[:2] == [pytest.approx(0.3), 0.0]
    assert instances["retire_s"].tolist() == [5.0]


def test_what_does_not_fit_is_counted_and_its_stop_passed_over() -> None:
    """On a full cluster an instance is refused; the run goes on."""
    events = [start(float(i), f"i{i}") for i in range(3)]
    outcome = replay_instances(
        Cluster(1, 2, A100),
        [*events, stop(9.0, events[2])],
        find_system("exclusive"),
        recorder=MemoryRecorder(),
    )
    assert outcome.launches_refused == 1


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (start(0.0, "big", memory_gb=41), "big: memory_gb: found 41, allowed is up to 40 here"),
        (
            start(0.0, "wide", kind="training", gpus=5),
            "wide: gpus: found 5, allowed are up to the 4 GPUs of one node",
        ),
    ],
)
def test_what_can_never_fit_is_an_error(event: InstanceEvent, message: str) -> None:
    """An instance larger than anything in the cluster is named, with what is allowed."""
    with pytest.raises(PolicyError, match=message):
        replay_instances(Cluster(1, 4, A100), [event], find_system("dilu"), recorder=MemoryRecorder())


def test_nodes_that_differ_by_hand() -> None:
    """Exclusive GPUs: types are kept to, the empty slot is nobody's, and what finds no place is refused."""
    events = [
        start(0.0, "a"),  # the T4
        start(1.0, "b", types="T4"),  # refused
        start(2.0, "c", types="T4 V100"),  # the first V100
        start(3.0, "d", gpus=2),  # refused: one V100 is left
        start(4.0, "e", memory_gb=20),  # the second V100
    ]
    events += [stop(5.0, events[0]), start(6.0, "f", types="T4"), stop(7.0, events[2]), stop(7.0, events[4])]
    events += [start(8.0, "g", gpus=2), start(9.0, "h")]
    recorder = MemoryRecorder()
    outcome = replay_instances(MIXED, events, find_system("exclusive"), recorder=recorder)
    assert outcome.launches_refused == 3
    instances = recorder.columns(INSTANCES)
    order = np.argsort(instances["launch_s"])
    assert [list(instances["gpus"][row]) for row in order] == [[0], [2], [3], [0], [2, 3]]
    assert instances["launch_s"][order].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert 1 not in recorder.columns(GPUS)["gpu"]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (start(0.0, "a", types="K80"), r"a: gpu_types: found K80, allowed are those here: T4, V100"),
        (start(0.0, "a", types="T4", memory_gb=20), "a: memory_gb: found 20, allowed is up to 16 here"),
        (start(0.0, "a", memory_gb=33), "a: memory_gb: found 33, allowed is up to 32 here"),
        (start(0.0, "a", types="T4", gpus=2), "a: gpus: found 2, allowed are up to the 1 GPUs of one node"),
        (start(0.0, "a", gpus=3), "a: gpus: found 3, allowed are up to the 2 GPUs of one node"),
        (start(0.0, "a", kind="llm", memory_gb=65), "a: memory_gb: found 65, allowed is up to 64 here"),
    ],
)
def test_what_no_node_of_the_types_can_hold_is_an_error(event: InstanceEvent, message: str) -> None:
    """The types that an instance may have say which nodes count."""
    with pytest.raises(PolicyError, match=message):
        replay_instances(MIXED, [event], find_system("dilu"), recorder=MemoryRecorder())


def test_the_node_with_the_memory_may_be_too_narrow() -> None:
    """GPUs and memory have to be on one node: four small GPUs and a large one are not two large ones."""
    cluster = MixedCluster(
        (Cluster(1, 4, GpuType("T4", 16 * GIB, 0)), Cluster(1, 1, GpuType("V100", 32 * GIB, 0)))
    )
    event = start(0.0, "a", gpus=2, memory_gb=20)
    with pytest.raises(PolicyError, match="a: gpus: found 2, allowed are up to the 1 GPUs of one node"):
        replay_instances(cluster, [event], find_system("dilu"), recorder=MemoryRecorder())


def test_types_of_who_is_here_weigh_in_the_gradient() -> None:
    """Under FGD an instance of any type leaves the V100s to those who can have nothing else."""
    cluster = MixedCluster((Cluster(1, 4, GpuType("V100", 0, 0)), Cluster(1, 4, GpuType("T4", 0, 0))))
    needy = InstanceEvent(0.0, "start", "a", "a", "inference", 1, 1.0, 1.0, 0, frozenset({"V100"}))
    anyone = replace(needy, time_s=1.0, name="b", service="b", gpu_types=None)
    recorder = MemoryRecorder()
    replay_instances(cluster, [needy, anyone], find_system("fgd"), recorder=recorder)
    assert sorted(gpu for gpus in recorder.columns(INSTANCES)["gpus"] for gpu in gpus) == [0, 4]


def test_need_is_what_profiling_found_and_request_what_is_reserved() -> None:
    """Static quotas reserve the limit; need stays the profiled request."""
    recorder = MemoryRecorder()
    replay_instances(Cluster(1, 1, A100), [start(0.0, "a")], find_system("infless+-l"), recorder=recorder)
    row = {name: column[0] for name, column in recorder.columns(GPUS).items()}
    assert (row["need"], row["request"], row["limit"]) == (0.3, 0.6, 0.6)
