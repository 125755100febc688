from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import InstanceEvent, TraceError, generate_instance_events

GIB = 2**30


def split(events: list[InstanceEvent]) -> tuple[list[InstanceEvent], dict[str, InstanceEvent]]:
    """Return the starts, and the stops by name."""
    starts = [event for event in events if event.action == "start"]
    stops = {event.name: event for event in events if event.action == "stop"}
    assert len(starts) + len(stops) == len(events)
    return starts, stops


@given(st.integers(1, 300), st.integers(0, 2**32))
def test_the_mix_and_the_stops_are_those_of_the_paper_s_simulation(instances: int, seed: int) -> None:
    """2:2:6 by whole numbers, one start a second, the stated stops at whole minutes, in order of time."""
    events = generate_instance_events(instances, seed=seed)
    assert [event.time_s for event in events] == sorted(event.time_s for event in events)
    starts, stops = split(events)
    kinds = Counter(event.kind for event in starts)
    fifth = instances * 2 // 10
    assert (kinds["training"], kinds["llm"], kinds["inference"]) == (fifth, fifth, instances - 2 * fifth)
    assert [event.time_s for event in starts] == list(range(instances))
    assert len({event.name for event in starts}) == len({event.service for event in starts}) == instances
    lives = {
        event.name: (stops[event.name].time_s - event.time_s) / 60 for event in starts if event.name in stops
    }
    serving = [life for name, life in lives.items() if not name.startswith("training")]
    training = [life for name, life in lives.items() if name.startswith("training")]
    assert (len(serving), len(training)) == (instances * 6 // 10, instances // 10)
    assert set(serving) <= {1, 2, 3}
    assert set(training) <= {10, 11, 12, 13, 14, 15}


def test_sizes_cover_exactly_the_stated_ranges() -> None:
    """Every value of each discrete range occurs and none outside; shares keep their bounds."""
    starts, _ = split(generate_instance_events(5000, seed=1))
    of_kind = {
        kind: [event for event in starts if event.kind == kind] for kind in ("training", "llm", "inference")
    }
    assert {event.gpus for event in of_kind["training"]} == {2, 4}
    assert {event.gpus for event in of_kind["llm"] + of_kind["inference"]} == {1}
    assert {event.memory_bytes // GIB for event in of_kind["training"]} == {25, 30, 35, 40}
    assert {event.memory_bytes // GIB for event in of_kind["llm"]} == set(range(20, 31))
    assert {event.memory_bytes // GIB for event in of_kind["inference"]} == set(range(3, 11))
    for kind, (low, high), (lowest_limit, highest_limit) in (
        ("training", (0.4, 0.8), (0.6, 1.0)),
        ("llm", (0.4, 0.6), (0.6, 0.8)),
        ("inference", (0.2, 0.4), (0.4, 0.6)),
    ):
        requests = [event.request for event in of_kind[kind]]
        limits = [event.limit for event in of_kind[kind]]
        assert (min(requests), max(requests)) == (low, high)
        assert sum(requests) / len(requests) == pytest.approx(
            (low + high) / 2, abs=4 * (high - low) / math.sqrt(12 * len(requests))
        )
        assert lowest_limit <= min(limits)
        assert max(limits) == highest_limit
        assert all(limit - request > 0.199 for request, limit in zip(requests, limits, strict=True))
        assert all(round(share, 2) == share for share in requests + limits)


def test_lives_take_every_stated_minute() -> None:
    """Both ends of the range of minutes occur, for serving instances and for trainings."""
    starts, stops = split(generate_instance_events(1000, seed=1))
    begun = {event.name: event.time_s for event in starts}
    minutes: dict[bool, set[float]] = {True: set(), False: set()}
    for name, stop in stops.items():
        minutes[stop.kind == "training"].add((stop.time_s - begun[name]) / 60)
    assert minutes == {False: {1, 2, 3}, True: {10, 11, 12, 13, 14, 15}}


def test_starts_are_shuffled_and_depend_on_the_seed() -> None:
    """Kinds are mixed in time, the same seed repeats every event and another one does not."""
    events = generate_instance_events(200, seed=1)
    first_half = Counter(event.kind for event in split(events)[0][:100])
    assert min(first_half.values()) > 8
    assert generate_instance_events(200, seed=1) == events
    assert generate_instance_events(200, seed=2) != events


def test_what_stops_frees_its_place_first() -> None:
    """At one instant stops stand before starts."""
    events = generate_instance_events(300, seed=1)
    by_time: dict[float, list[str]] = {}
    for event in events:
        by_time.setdefault(event.time_s, []).append(event.action)
    mixed = [actions for actions in by_time.values() if len(set(actions)) > 1]
    assert mixed
    assert all(actions == sorted(actions, reverse=True) for actions in mixed)


def test_instances_of_one_service_have_one_size() -> None:
    """With several instances a service, all services but the last are full, and their instances alike."""
    starts, _ = split(generate_instance_events(100, seed=1, instances_per_service=8))
    services: dict[str, list[InstanceEvent]] = {}
    for event in starts:
        services.setdefault(event.service, []).append(event)
    sizes = Counter((members[0].kind, len(members)) for members in services.values())
    assert sizes == {
        ("training", 1): 20,
        ("llm", 8): 2,
        ("llm", 4): 1,
        ("inference", 8): 7,
        ("inference", 4): 1,
    }
    for members in services.values():
        assert len({(event.request, event.limit, event.memory_bytes) for event in members}) == 1


@pytest.mark.parametrize(("instances", "per_service"), [(0, 1), (-1, 1), (1.5, 1), (True, 1), (5, 0)])
def test_a_number_of_instances_is_an_integer_from_1(instances: object, per_service: int) -> None:
    """Anything else is refused in one line."""
    with pytest.raises(TraceError, match="allowed are integers from 1"):
        generate_instance_events(instances, seed=1, instances_per_service=per_service)  # type: ignore[arg-type]
