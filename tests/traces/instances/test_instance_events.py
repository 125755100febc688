from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import (
    InstanceEvent,
    TraceError,
    generate_instance_events,
    read_instance_events,
    write_instance_events,
)

HEADER = "time_s,action,name,service,kind,gpus,request,limit,memory_gb"
START = "0,start,a,s,inference,1,0.2,0.4,5"
EVENT = InstanceEvent(0.0, "start", "a", "s", "inference", 1, 0.2, 0.4, 5 * 2**30)


def read(path: Path, *rows: str) -> list[InstanceEvent]:
    """Write rows under the header and read them."""
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return read_instance_events(path)


def test_a_stop_carries_what_its_start_said(tmp_path: Path) -> None:
    """Memory is read in units of 2**30 bytes, and a stop needs no more than a name."""
    events = read(tmp_path / "e.csv", START, "2.5,stop,a,,,,,,", "3,start,a,s,inference,1,0.2,0.4,5")
    assert events == [
        EVENT,
        replace(EVENT, time_s=2.5, action="stop"),
        replace(EVENT, time_s=3.0),
    ]


def test_events_may_share_an_instant(tmp_path: Path) -> None:
    """A stop and a start at one time keep the order of the file."""
    events = read(tmp_path / "e.csv", START, "2,stop,a,,,,,,", START.replace("0,start,a", "2,start,b"))
    assert [(event.time_s, event.action) for event in events[1:]] == [(2.0, "stop"), (2.0, "start")]


def test_a_stop_may_repeat_its_start_but_not_differ(tmp_path: Path) -> None:
    """A repeated row is read; one that says something else is refused."""
    assert len(read(tmp_path / "e.csv", START, START.replace("0,start", "1,stop"))) == 2
    with pytest.raises(TraceError, match=r"e.csv: line 3: limit: found 0.5, allowed is nothing or what"):
        read(tmp_path / "e.csv", START, "1,stop,a,s,inference,1,0.2,0.5,5")


def test_columns_are_found_by_name_in_events_too(tmp_path: Path) -> None:
    """Columns in another order, with one more, give the same events."""
    path = tmp_path / "e.csv"
    path.write_text(
        "note,memory_gb,limit,request,gpus,kind,service,name,action,time_s\n"
        "x,5,0.4,0.2,1,inference,s,a,start,0\n",
        encoding="utf-8",
    )
    assert read_instance_events(path) == [EVENT]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,pause,b,s,llm,1,0.2,0.4,5", "action: found 'pause', allowed are start, stop"),
        ("1,start,b,s,batch,1,0.2,0.4,5", "kind: found 'batch', allowed are inference, llm, training"),
        ("1,start,,s,llm,1,0.2,0.4,5", "name: found an empty name"),
        ("1,start,b,,llm,1,0.2,0.4,5", "service: found an empty name"),
        ("1,start,b,s,llm,0,0.2,0.4,5", "gpus: found 0, allowed are whole numbers from 1"),
        ("1,start,b,s,llm,1.5,0.2,0.4,5", "gpus: found '1.5'"),
        ("1,start,b,s,llm,-1,0.2,0.4,5", "gpus: found '-1'"),
        ("1,start,b,s,llm,1,-0.2,0.4,5", "request: found '-0.2'"),
        ("1,start,b,s,llm,1,0,0.4,5", "request: found 0.0, allowed is above 0 and up to 1"),
        ("1,start,b,s,llm,1,nan,0.4,5", "request: found 'nan'"),
        ("1,start,b,s,llm,1,0.5,0.4,5", r"limit: found 0.4, allowed is from the request \(0.5\) to 1"),
        ("1,start,b,s,llm,1,0.5,1.1,5", "limit: found 1.1"),
        ("1,start,b,s,llm,1,0.5,-1,5", "limit: found '-1'"),
        ("1,start,b,s,llm,1,0.2,0.4,-5", "memory_gb: found '-5'"),
        ("1,start,b,s,llm,1,0.2,0.4,", "memory_gb: found ''"),
        ("1,start,b,s,llm,1,0.2,0.4,1e300", r"memory_gb: found 1e\+300, allowed is up to 1000000"),
        pytest.param(f"1,start,b,s,llm,{'9' * 5000},0.2,0.4,5", "gpus: found '99", id="5000 digits"),
        ("nan,start,b,s,llm,1,0.2,0.4,5", "time_s: found 'nan'"),
        ("-1,start,b,s,llm,1,0.2,0.4,5", "time_s: found '-1'"),
        ("1,start,a,s,llm,1,0.2,0.4,5", "name: found a start of 'a', which runs already"),
        ("1,stop,b,,,,,,", "name: found a stop of 'b', which does not run"),
        ("1,stop,a", "found 3 fields, allowed are the 9 of the header"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    """Each fault is named with file, line and column."""
    with pytest.raises(TraceError, match=f"e.csv: line 3: {message}"):
        read(tmp_path / "e.csv", START, row)


def test_a_bad_sequence_is_refused(tmp_path: Path) -> None:
    """Time that goes back, a second stop, a missing column and a file without events are named."""
    path = tmp_path / "e.csv"
    with pytest.raises(TraceError, match=r"line 3: time_s: found 1\.0 after 2\.0, allowed is ascending time"):
        read(path, START.replace("0,start", "2,start"), "1,stop,a,,,,,,")
    with pytest.raises(TraceError, match="line 4: name: found a stop of 'a', which does not run"):
        read(path, START, "1,stop,a,,,,,,", "2,stop,a,,,,,,")
    with pytest.raises(TraceError, match="holds a header and no event"):
        read(path)
    path.write_text("time_s,action,name\n0,stop,a\n", encoding="utf-8")
    with pytest.raises(TraceError, match="line 1: service: the column is missing"):
        read_instance_events(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"time_s": math.nan},
        {"action": "go"},
        {"kind": "x"},
        {"gpus": 0},
        {"memory_bytes": -1},
        {"limit": 0.1},
    ],
)
def test_an_event_holds_its_own_ranges(changes: dict[str, object]) -> None:
    """An event built in code is checked as one that is read."""
    with pytest.raises(TraceError, match="found"):
        replace(EVENT, **changes)  # type: ignore[arg-type]


@given(
    instances=st.integers(1, 60),
    seed=st.integers(0, 2**32),
    instances_per_service=st.integers(1, 5),
)
def test_written_events_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, instances: int, seed: int, instances_per_service: int
) -> None:
    """Writing and reading is the identity, and writing twice gives the same bytes."""
    events = generate_instance_events(instances, seed=seed, instances_per_service=instances_per_service)
    path = tmp_path_factory.mktemp("events") / "e.csv"
    write_instance_events(path, events)
    content = path.read_bytes()
    assert read_instance_events(path) == events
    write_instance_events(path, read_instance_events(path))
    assert path.read_bytes() == content


@given(data=st.data())
def test_any_damage_to_an_event_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A file with bytes changed, cut or inserted never escapes as anything but a one-line TraceError."""
    path = tmp_path_factory.mktemp("events") / "e.csv"
    content = bytearray(f"{HEADER}\n{START}\n1,stop,a,,,,,,\n".encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=4))
    path.write_bytes(bytes(content))
    try:
        events, refusal = read_instance_events(path), ""
    except TraceError as error:
        events, refusal = [], str(error)
    assert events or refusal.startswith(str(path))
    assert len(refusal.splitlines()) <= 1


def test_types_of_gpu_are_a_column_of_their_own(tmp_path: Path) -> None:
    """Joined by |, written only where an instance minds, and read back as they were."""
    path = tmp_path / "e.csv"
    bound = replace(EVENT, gpu_types=frozenset({"V100", "A10"}))
    events = [EVENT, replace(bound, name="b"), replace(bound, time_s=1.0, name="b", action="stop")]
    write_instance_events(path, events)
    assert path.read_text(encoding="utf-8").splitlines() == [
        f"{HEADER},gpu_types",
        f"{START},",
        START.replace("a,s", "b,s") + ",A10|V100",
        "1,stop,b,,,,,,,",
    ]
    assert read_instance_events(path) == events
    write_instance_events(path, [EVENT])
    assert path.read_text(encoding="utf-8").splitlines()[0] == HEADER


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "0,start,a,s,inference,1,0.2,0.4,5,T4|",
            r"line 2: gpu_types: found 'T4\|', allowed are names joined",
        ),
        ("0,start,a,s,inference,1,0.2,0.4,5,|", r"line 2: gpu_types: found '\|', allowed are names joined"),
    ],
)
def test_a_type_of_gpu_has_a_name(tmp_path: Path, row: str, message: str) -> None:
    """An empty name among the types is refused."""
    path = tmp_path / "e.csv"
    path.write_text(f"{HEADER},gpu_types\n{row}\n", encoding="utf-8")
    with pytest.raises(TraceError, match=message):
        read_instance_events(path)


def test_a_stop_may_not_name_other_types(tmp_path: Path) -> None:
    """What a stop repeats is what the start said; the message lists types in order."""
    path = tmp_path / "e.csv"
    path.write_text(f"{HEADER},gpu_types\n{START},B|A\n{START.replace('0,start', '1,stop')},A|B\n")
    assert read_instance_events(path)[1].gpu_types == frozenset({"A", "B"})
    path.write_text(f"{HEADER},gpu_types\n{START},B|A\n{START.replace('0,start', '1,stop')},C|A\n")
    with pytest.raises(TraceError, match=r"gpu_types: found 'A\|C', allowed is nothing .* \('A\|B'\)"):
        read_instance_events(path)


@pytest.mark.parametrize("types", [frozenset(), frozenset({""}), frozenset({" a"}), frozenset({"a|b"})])
def test_types_that_no_file_could_hold_are_refused(types: frozenset[str]) -> None:
    """None at all, an empty name, one with a blank around it or a separator in it."""
    with pytest.raises(TraceError, match="gpu_types: found "):
        replace(EVENT, gpu_types=types)
