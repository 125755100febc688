"""The clock: SimPy's queue and the light agenda, merged."""

from __future__ import annotations

from heapq import heappush

import pytest

from sim import StalledError
from sim.agenda import BLOCK, CLOSE, COMPLETE, IDLE, JOB, POLL, TICK, ClusterEnvironment, Handler


def recording(env: ClusterEnvironment, seen: list[tuple[float, str, int]]) -> tuple[Handler, ...]:
    """Handlers that write down what they are called with."""

    def handler(name: str) -> Handler:
        def note(index: int, now_s: float) -> None:
            assert now_s == env.now
            seen.append((now_s, name, index))

        return note

    return tuple(handler(name) for name in ("complete", "job", "close", "idle", "tick", "poll"))


def ignore(_: float) -> None:
    """Take note of nothing."""


def test_events_of_one_instant_are_ranked_by_kind_whatever_their_order() -> None:
    """Ends come before closes, those before ticks, those before polls, and SimPy's actors come last."""
    env = ClusterEnvironment()
    seen: list[tuple[float, str, int]] = []

    def actor():  # type: ignore[no-untyped-def]
        yield env.timeout(1.0)
        seen.append((env.now, "actor", 0))

    env.process(actor())
    for code in (POLL + 1, TICK + 2, IDLE + 3, CLOSE + 4, JOB + 5, COMPLETE + 6, COMPLETE + 2):
        heappush(env.agenda, (1.0, code))
    heappush(env.agenda, (0.5, TICK + 9))
    env.run_until(2.0, recording(env, seen), ignore)
    names = [(name, index) for _, name, index in seen]
    assert names == [
        ("tick", 9),
        ("complete", 2),
        ("complete", 6),
        ("job", 5),
        ("close", 4),
        ("idle", 3),
        ("tick", 2),
        ("poll", 1),
        ("actor", 0),
    ]
    assert env.now == 2.0


def test_what_happens_at_the_end_is_not_part_of_the_run() -> None:
    """Events at or after the end stay where they are, the agenda's and SimPy's alike."""
    env = ClusterEnvironment()
    seen: list[tuple[float, str, int]] = []
    for time_s in (0.999, 1.0, 1.5):
        heappush(env.agenda, (time_s, COMPLETE + 1))
    env.timeout(1.0).callbacks.append(lambda _: seen.append((env.now, "simpy", 0)))  # type: ignore[union-attr]
    events = env.run_until(1.0, recording(env, seen), ignore)
    assert seen == [(0.999, "complete", 1)]
    assert env.now == 1.0
    assert events == 1


def test_a_world_that_stands_still_stops_and_says_what_it_was_doing() -> None:
    """Events without end at one instant end in an error that names the instant and the next event."""
    env = ClusterEnvironment()

    def again(index: int, now_s: float) -> None:
        heappush(env.agenda, (now_s, TICK + index))

    heappush(env.agenda, (3.0, TICK + 7))
    handlers = (again,) * 6
    with pytest.raises(
        StalledError, match=r"no progress: \d+ events at 3.0 s; the next is a vertical tick of number 7"
    ):
        env.run_until(10.0, handlers, ignore)


def test_long_work_at_one_instant_is_no_stall() -> None:
    """A few blocks of events at one instant are allowed, as long as they end."""
    env = ClusterEnvironment()
    for index in range(3 * BLOCK):
        heappush(env.agenda, (1.0, COMPLETE + index))
    seen: list[tuple[float, str, int]] = []
    env.run_until(2.0, recording(env, seen), ignore)
    assert len(seen) == 3 * BLOCK
