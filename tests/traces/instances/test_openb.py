from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from traces import InstanceEvent, TraceError
from traces.instances.openb import NodeGroup, read_node_list, read_openb_pods

PODS = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,"
    "pod_phase,creation_time,deletion_time,scheduled_time"
)
NODES = "sn,cpu_milli,memory_mib,gpu,model"


def pods_file(folder: Path, *rows: str, name: str = "openb_pod_list_default.csv") -> Path:
    """Write a list of pods."""
    path = folder / name
    path.write_text("\n".join([PODS, *rows]) + "\n", encoding="utf-8")
    return path


def nodes_file(folder: Path, *rows: str, header: str = NODES) -> Path:
    """Write a list of nodes."""
    path = folder / "nodes.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def pod(
    name: str,
    *,
    gpus: object = 1,
    milli: object = 460,
    spec: str = "",
    phase: str = "Running",
    times: tuple[object, object, object] = (10, 30, 15),
) -> str:
    """A row of a pod; `times` are of creation, deletion and scheduling."""
    return ",".join(map(str, (name, 6000, 12288, gpus, milli, spec, "LS", phase, *times)))


SHARING = pod("a")
WHOLE = pod("b", gpus=8, milli=1000, spec="V100M32|G3|V100M32", times=(12, 20, 12))
CPU_ONLY = pod("c", gpus=0, milli=0, times=(13, 20, 13))
WAITING = pod("d", milli=1000, phase="Pending", times=(14, 20, ""))


def test_pods_run_for_as_long_as_they_did(tmp_path: Path) -> None:
    """From creation for the time from scheduling to deletion, so that a wait of 5 s is not replayed."""
    read = read_openb_pods(pods_file(tmp_path, SHARING, WHOLE, CPU_ONLY, WAITING))
    a = InstanceEvent(10.0, "start", "a", "a", "inference", 1, 0.46, 0.46, 0)
    b = InstanceEvent(
        12.0, "start", "b", "b", "inference", 8, 1.0, 1.0, 0, gpu_types=frozenset({"G3", "V100M32"})
    )
    assert read.events == [
        a,
        b,
        replace(b, time_s=20.0, action="stop"),
        replace(a, time_s=25.0, action="stop"),
    ]
    kept = {"pods": 4, "placed": 2, "left_out": {"never_scheduled": 1, "without_gpu": 1}}
    assert kept.items() <= read.provenance.items()
    assert (read.provenance["sharing_a_gpu"], read.provenance["bound_to_types"]) == (1, 1)
    assert read.provenance["gpus_asked_for"] == 8.46


def test_pods_may_stay_for_ever(tmp_path: Path) -> None:
    """All that ask for GPUs arrive one a second in the order of their creation, and none stops."""
    read = read_openb_pods(pods_file(tmp_path, WHOLE, SHARING, CPU_ONLY, WAITING), lifetime="forever")
    assert [(event.time_s, event.action, event.name) for event in read.events] == [
        (0.0, "start", "a"),
        (1.0, "start", "b"),
        (2.0, "start", "d"),
    ]
    assert read.provenance["left_out"] == {"without_gpu": 1}


def test_a_list_without_times_can_only_stay_for_ever(tmp_path: Path) -> None:
    """Variants have no times: their pods arrive in the order of the file, and have no lifetime."""
    path = tmp_path / "openb_pod_list_multigpu50.csv"
    path.write_text("gpu_milli,num_gpu,name\n1000,1,z\n1000,2,y\n", encoding="utf-8")
    read = read_openb_pods(path, lifetime="forever")
    assert [(event.name, event.gpus, event.gpu_types) for event in read.events] == [
        ("z", 1, None),
        ("y", 2, None),
    ]
    with pytest.raises(TraceError, match=r"multigpu50\.csv: line 1: pod_phase: the column is missing"):
        read_openb_pods(path)


def test_what_stops_makes_room_for_what_starts(tmp_path: Path) -> None:
    """In one second stops come first; a pod that was gone at once occupied nothing and is left out."""
    rows = [pod("a", times=(0, 8, 3)), pod("b", times=(5, 9, 5)), pod("c", times=(5, 7, 7))]
    read = read_openb_pods(pods_file(tmp_path, *rows))
    assert [(e.time_s, e.action, e.name) for e in read.events] == [
        (0.0, "start", "a"),
        (5.0, "stop", "a"),
        (5.0, "start", "b"),
        (9.0, "stop", "b"),
    ]
    assert read.provenance["left_out"] == {"gone_at_once": 1}


def test_a_folder_has_lists_by_name(tmp_path: Path) -> None:
    """The trace itself unless a variant is named; a wrong name is answered with the nearest."""
    pods_file(tmp_path, SHARING)
    pods_file(tmp_path, SHARING, pod("e"), name="openb_pod_list_gpuspec33.csv")
    assert len(read_openb_pods(tmp_path).events) == 2
    assert len(read_openb_pods(tmp_path, pods="gpuspec33").events) == 4
    with pytest.raises(TraceError, match=r"pods: found 'gpuspec'; did you mean 'gpuspec33'\?"):
        read_openb_pods(tmp_path, pods="gpuspec")
    with pytest.raises(TraceError, match="pods: found 'x'; allowed are default, gpuspec33"):
        read_openb_pods(tmp_path, pods="x")
    with pytest.raises(TraceError, match="pods: found 'default' beside a file, allowed is one or the other"):
        read_openb_pods(tmp_path / "openb_pod_list_default.csv", pods="default")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TraceError, match=r"empty: holds no file named openb_pod_list_\*\.csv"):
        read_openb_pods(tmp_path / "empty")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (pod("a"), "name: found 'a', which line 2 has, allowed is once"),
        (pod(""), "name: found '', allowed is a name"),
        (pod("x", gpus=-1), "num_gpu: found '-1', allowed is a finite number from 0"),
        (pod("x", gpus="one"), "num_gpu: found 'one', allowed is a finite number"),
        (pod("x", gpus=1.5), "num_gpu: found '1.5', allowed is a whole number from 0 to 1000000"),
        (pod("x", gpus="1e300"), "num_gpu: found '1e300', allowed is a whole number from 0 to 1000000"),
        (pod("x", milli=0), "gpu_milli: found '0', allowed is a whole number from 1 to 1000 for one GPU"),
        (pod("x", milli=1001), "gpu_milli: found '1001', allowed is a whole number from 0 to 1000"),
        (pod("x", milli=""), "gpu_milli: found '', allowed is a finite number"),
        (pod("x", gpus=2, milli=500), "gpu_milli: found '500', allowed is 1000 for 2 GPUs"),
        (pod("x", gpus=0, milli=500), "gpu_milli: found '500', allowed is 0 for 0 GPUs"),
        (pod("x", spec="T4||G2"), r"gpu_spec: found 'T4||G2', allowed are names joined by |"),
        (pod("x", phase="Gone"), "pod_phase: found 'Gone', allowed are Pending, Running, Succeeded, Failed"),
        (pod("x", times=("", 3, 2)), "creation_time: found '', allowed is a finite number from 0"),
        (pod("x", times=(1, 3, "")), "scheduled_time: found '', allowed is a time for a pod that is Running"),
        (pod("x", times=(2, 3, 1)), "scheduled_time: found '1', allowed is a whole number from 2"),
        (pod("x", times=(1, 2, 3)), "deletion_time: found '2', allowed is a whole number from 3"),
        (pod("x", times=(1.5, 3, 2)), "creation_time: found '1.5', allowed is a whole number"),
        (
            pod("x", phase="Pending", times=(5, 4, "")),
            "deletion_time: found '4', allowed is a whole number from 5",
        ),
        ("x,1,2", "found 3 fields, allowed are the 11 of the header"),
    ],
)
def test_a_fault_in_a_list_of_pods_is_one_line(tmp_path: Path, row: str, message: str) -> None:
    """File, line and column, what was found and what is allowed."""
    path = pods_file(tmp_path, SHARING, row)
    with pytest.raises(TraceError) as caught:
        read_openb_pods(path)
    assert str(caught.value).startswith(f"{path}: line 3: {message}"), str(caught.value)


def test_a_list_without_pods_to_place_is_refused(tmp_path: Path) -> None:
    """Pods without GPUs are nothing to place; an unknown lifetime is named."""
    with pytest.raises(TraceError, match="holds no pod to place"):
        read_openb_pods(pods_file(tmp_path, CPU_ONLY, WAITING))
    with pytest.raises(TraceError, match="lifetime: found 'long', allowed are traced, forever"):
        read_openb_pods(tmp_path, lifetime="long")  # type: ignore[arg-type]


@given(
    lives=st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 20), st.integers(0, 50), st.integers(1, 1000)),
        min_size=1,
        max_size=30,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_pod_that_ran_starts_once_and_then_stops(
    tmp_path: Path, lives: list[tuple[int, int, int, int]]
) -> None:
    """Whatever the rows: events are in order of time, and each pod stops as much later as it ran."""
    rows = [
        pod(f"p{number}", milli=milli, times=(created, created + waited + ran, created + waited))
        for number, (created, waited, ran, milli) in enumerate(lives)
    ]
    rows.append(pod("last", times=(0, 1, 0)))
    events = read_openb_pods(pods_file(tmp_path, *rows)).events
    assert [event.time_s for event in events] == sorted(event.time_s for event in events)
    started = {event.name: event for event in events if event.action == "start"}
    stopped = {event.name: event for event in events if event.action == "stop"}
    assert len(events) == 2 * len(started) == 2 * len(stopped)
    for number, (created, _, ran, milli) in enumerate(lives):
        if ran:
            start, stop = started.pop(f"p{number}"), stopped[f"p{number}"]
            assert (start.time_s, stop.time_s - start.time_s) == (created, ran)
            assert start.request == start.limit == milli / 1000
    assert list(started) == ["last"]


def test_nodes_are_grouped_in_their_order(tmp_path: Path) -> None:
    """Consecutive nodes of one type and width are a group; nodes without GPUs are left out and counted."""
    rows = ["a,1,1,2,T4", "b,1,1,2,T4", "c,1,1,0,", "d,1,1,8,G2", "e,1,1,4,T4", "f,1,1,2,T4"]
    read = read_node_list(nodes_file(tmp_path, *rows))
    assert read.groups == (
        NodeGroup(2, 2, "T4", 0),
        NodeGroup(1, 8, "G2", 0),
        NodeGroup(1, 4, "T4", 0),
        NodeGroup(1, 2, "T4", 0),
    )
    assert read.provenance["nodes_without_gpu_left_out"] == 1


def test_a_node_list_may_say_what_memory_gpus_have(tmp_path: Path) -> None:
    """In units of 2**30 bytes; empty is not known."""
    rows = ["T4,2,a,16", "G2,8,b,", "T4,1,c,16"]
    read = read_node_list(nodes_file(tmp_path, *rows, header="model,gpu,sn,gpu_memory_gb"))
    assert [group.memory_bytes for group in read.groups] == [16 * 2**30, 0, 16 * 2**30]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,2,T4,16", "sn: found 'a', which line 2 has, allowed is once"),
        ("b,2,,16", "model: found '', allowed is the type of the 2 GPUs, a name without |"),
        ("b,2,T4|G2,16", "model: found 'T4|G2', allowed is the type of the 2 GPUs"),
        ("b,2.5,T4,16", "gpu: found '2.5', allowed is a whole number from 0 to 1000000"),
        ("b,,T4,16", "gpu: found '', allowed is a finite number"),
        ("b,2,T4,24", "gpu_memory_gb: found '24', allowed is what the first T4 has (16; 0: not known)"),
        ("b,2,T4,", "gpu_memory_gb: found '', allowed is what the first T4 has (16; 0: not known)"),
        ("b,2,G2,0", "gpu_memory_gb: found '0', allowed is above 0 and up to 1000000, or nothing"),
        ("b,2,G2,1e99", "gpu_memory_gb: found '1e99', allowed is above 0 and up to 1000000"),
    ],
)
def test_a_fault_in_a_list_of_nodes_is_one_line(tmp_path: Path, row: str, message: str) -> None:
    """File, line and column, what was found and what is allowed."""
    path = nodes_file(tmp_path, "a,2,T4,16", row, header="sn,gpu,model,gpu_memory_gb")
    with pytest.raises(TraceError) as caught:
        read_node_list(path)
    assert str(caught.value).startswith(f"{path}: line 3: {message}"), str(caught.value)


def test_a_list_without_gpus_is_no_cluster(tmp_path: Path) -> None:
    """A cluster has a GPU."""
    with pytest.raises(TraceError, match="holds no node with a GPU"):
        read_node_list(nodes_file(tmp_path, "a,1,1,0,"))


def test_the_real_pods(trace_dir: Path) -> None:
    """The trace as published: how many pods ask for what, and how many were never scheduled."""
    folder = trace_dir / "openb_gpu_v2023"
    stay = read_openb_pods(folder, lifetime="forever")
    assert stay.provenance["pods"] == 8152
    assert stay.provenance["left_out"] == {"without_gpu": 1088}
    assert stay.provenance["sharing_a_gpu"] == 3078
    gpus = Counter(event.gpus for event in stay.events)
    assert gpus == {1: 6989, 2: 16, 4: 15, 8: 44}
    shares = Counter(round(event.request * 1000) for event in stay.events if event.request < 1)
    assert shares.most_common(4) == [(810, 1078), (470, 750), (320, 328), (650, 253)]
    ran = read_openb_pods(folder)
    assert ran.provenance["left_out"] == {
        "never_scheduled": 861,
        "without_gpu": 1088,
    }  # 36 pending ask for none
    assert len(ran.events) == 2 * (8152 - 1088 - 861)
    assert ran.events[-1].time_s <= 12_902_960  # when the trace was taken


def test_the_real_pods_that_are_bound_to_types(trace_dir: Path) -> None:
    """The same pods, of which 2,388 name the types that they may have."""
    folder = trace_dir / "openb_gpu_v2023"
    plain, bound = (
        read_openb_pods(folder, pods=pods, lifetime="forever") for pods in ("default", "gpuspec33")
    )
    assert bound.provenance["bound_to_types"] == 2388
    assert [replace(event, gpu_types=None) for event in bound.events] == plain.events
    types = Counter(event.gpu_types for event in bound.events)
    assert types[frozenset({"T4"})] == 1291
    assert types[frozenset({"V100M16", "V100M32"})] == 141 + 22  # 22 name V100M32 twice
    assert set().union(*(one for one in types if one)) == {
        "A10",
        "G2",
        "G3",
        "P100",
        "T4",
        "V100M16",
        "V100M32",
    }


def test_the_real_variants(trace_dir: Path) -> None:
    """Variants have other pods, in an order that is not that of creation, or without times."""
    folder = trace_dir / "openb_gpu_v2023"
    shared = read_openb_pods(folder, pods="gpushare100")
    assert shared.provenance["pods"] == 8152
    assert all(event.gpus == 1 and event.request < 1 for event in shared.events)
    wide = read_openb_pods(folder, pods="multigpu50", lifetime="forever")
    assert wide.provenance["pods"] == 9061
    assert Counter(event.gpus for event in wide.events)[8] == 556


@pytest.mark.parametrize(("which", "without"), [("gpu_node", 0), ("all_node", 310)])
def test_the_real_nodes(trace_dir: Path, which: str, without: int) -> None:
    """1,213 nodes with 6,212 GPUs of seven types; one of the two lists has 310 nodes more, without GPUs."""
    read = read_node_list(trace_dir / "openb_gpu_v2023" / f"openb_node_list_{which}.csv")
    assert read.provenance["nodes_without_gpu_left_out"] == without
    nodes: Counter[str] = Counter()
    gpus: Counter[str] = Counter()
    for group in read.groups:
        nodes[group.gpu_type] += group.nodes
        gpus[group.gpu_type] += group.nodes * group.gpus_per_node
    assert (nodes.total(), gpus.total()) == (1213, 6212)
    assert nodes == {"G2": 549, "T4": 404, "P100": 134, "V100M16": 55, "G3": 39, "V100M32": 30, "A10": 2}
    assert gpus == {"G2": 4392, "T4": 842, "P100": 265, "V100M16": 195, "G3": 312, "V100M32": 204, "A10": 2}
