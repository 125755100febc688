from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.keep_alive import FixedKeepAlive, GreedyDual
from policies.keeping import Keeping, Kept, Victim
from policies.slots import FunctionView, KeepAlivePolicy, WarmWindow
from policies.still_views import GIB, StillFunction, StillInstance

INF = math.inf


@dataclass(frozen=True, slots=True)
class Ahead:
    """Keeps nothing, and wants a warm instance in a fixed window after the last request."""

    from_s: float = 10.0
    until_s: float = 20.0
    timeout_s: float = 0.0

    def idle_timeout_s(self, function: FunctionView) -> float:
        """Return the fixed time."""
        return self.timeout_s

    def warm_window(self, function: FunctionView) -> WarmWindow:
        """Return the fixed window."""
        return WarmWindow(self.from_s, self.until_s)


@dataclass(frozen=True)
class Crowded(StillFunction):
    """A function with these very instances."""

    crowd: tuple[StillInstance, ...] = ()

    @property
    def instances(self) -> tuple[StillInstance, ...]:
        """The given ones."""
        return self.crowd


def silent(now_s: int, *, requests: int = 1, live: int = 0, least: int = 0) -> StillFunction:
    """Return a function whose last request came at 0.5 s, and whose cold start takes 5 s."""
    return StillFunction((requests,) + (0,) * (now_s - 1), live, least, cold_start_s=5.0)


def keeps(policy: KeepAlivePolicy | None, functions: int = 1) -> Keeping:
    """Return the keep-alive of some functions under a policy."""
    return Keeping(policy, functions)


# ------------------------------------------------------------------------------------------ keep-alive


def test_without_a_policy_everybody_stays() -> None:
    """Nobody expires, nobody is launched ahead, and there is no reason to ask again."""
    assert keeps(None).decide(0, silent(100, live=2), [0, 1], [(0.0, 0)]) == Kept()
    assert keeps(None).decide(0, silent(100), [], []) == Kept()


@pytest.mark.parametrize(("now_s", "expired"), [(12, ()), (13, (4,)), (14, (4, 2)), (15, (4, 2, 3))])
def test_an_instance_expires_when_it_has_idled_for_the_timeout(now_s: int, expired: tuple[int, ...]) -> None:
    """At the timeout and not before; who has idled longest is named first, and the lower number of two."""
    idle = [(4.0, 2), (4.5, 3), (3.0, 4)]
    kept = keeps(FixedKeepAlive(10.0)).decide(0, silent(now_s, live=4), [1, 2, 3, 4], idle)
    assert kept == Kept(expired, until_s=now_s)
    tied = keeps(FixedKeepAlive(10.0)).decide(0, silent(99, live=2), [0, 1], [(4.0, 1), (4.0, 0)])
    assert tied.expired == (0, 1)


def test_the_minimum_is_not_looked_at() -> None:
    """With no more than the minimum the policy need not be asked again; with more, each second."""
    keeping = keeps(FixedKeepAlive(0.0))
    assert keeping.decide(0, silent(50, live=2, least=2), [0, 1], [(0.0, 0), (0.0, 1)]) == Kept()
    assert keeping.decide(0, silent(50, live=2, least=1), [0, 1], []) == Kept(until_s=50.0)
    assert keeping.decide(0, silent(50, live=2, least=1), [0, 1], [(0.0, 0), (0.0, 1)]).expired == (0,)


# ----------------------------------------------------------------------------------------- pre-warming


@pytest.mark.parametrize(
    ("now_s", "kept"),
    [
        (1, Kept(until_s=5.0)),
        (4, Kept(until_s=5.0)),
        (5, Kept(prewarm=True)),
        (12, Kept(prewarm=True)),
        (20, Kept(prewarm=True)),
        (21, Kept()),
    ],
)
def test_an_instance_is_launched_so_early_that_it_is_ready_in_time(now_s: int, kept: Kept) -> None:
    """A start of 5 s for a window from 10.5 s: the poll at 5 s, or a later one while the window lasts."""
    assert keeps(Ahead()).decide(0, silent(now_s), [], []) == kept


@given(
    from_s=st.floats(0.01, 300.0), cold_start_s=st.floats(0.0, 60.0), width_s=st.floats(0.0, 100.0, width=32)
)
def test_polled_when_it_says_it_is_ready_by_the_window(
    from_s: float, cold_start_s: float, width_s: float
) -> None:
    """Polled at whole seconds from `until_s` on, the launch is ready by the window, but not a second early.

    Unless the cold start does not even leave the time since the first poll.
    """
    keeping, now_s = keeps(Ahead(from_s, from_s + width_s + 1.0)), 1
    view = replace(silent(now_s), cold_start_s=cold_start_s)
    kept = keeping.decide(0, view, [], [])
    if not kept.prewarm:
        now_s = math.ceil(kept.until_s)
        kept = keeping.decide(0, replace(silent(now_s), cold_start_s=cold_start_s), [], [])
        assert now_s + cold_start_s > 0.5 + from_s - 1.0
        assert now_s + cold_start_s <= 0.5 + from_s + 1e-9
    assert kept.prewarm


def test_nothing_is_launched_ahead_of_nothing() -> None:
    """Without a request yet, with a window that begins at once, or with a policy that does not pre-warm."""
    assert keeps(Ahead()).decide(0, silent(50, requests=0), [], []) == Kept()
    assert keeps(Ahead(from_s=0.0, until_s=99.0)).decide(0, silent(50), [], []) == Kept()
    assert keeps(FixedKeepAlive(0.0)).decide(0, silent(50), [], []) == Kept()


def test_a_silence_is_pre_warmed_once() -> None:
    """After the launch the same silence asks for nothing, though its window lasts; the next one does."""
    keeping = keeps(Ahead(), functions=2)
    keeping.prewarmed(0, 7, silent(5))
    assert keeping.decide(0, silent(6), [], []) == Kept()
    assert keeping.decide(1, silent(6), [], []).prewarm, "the other function is pre-warmed on its own"
    spoken = replace(silent(6), counts=(1, 0, 0, 0, 0, 1, *(0,) * 5))
    assert keeping.decide(0, spoken, [], []).prewarm


@pytest.mark.parametrize(("now_s", "expired"), [(11, ()), (20, ()), (21, (7,))])
def test_what_was_launched_ahead_waits_until_the_window_ends(now_s: int, expired: tuple[int, ...]) -> None:
    """Until 20.5 s, however short the timeout; another instance beside it goes at once."""
    keeping = keeps(Ahead())
    keeping.prewarmed(0, 7, silent(5))
    assert keeping.decide(0, silent(now_s, live=1), [7], [(10.0, 7)]).expired == expired
    beside = keeping.decide(0, silent(now_s, live=2), [7, 8], [(10.0, 7), (10.5, 8)])
    assert beside.expired == (*expired, 8)


def test_the_window_ends_before_a_long_timeout() -> None:
    """What waited in vain goes when its window ends, though an ordinary instance would stay longer."""
    keeping = keeps(Ahead(timeout_s=500.0))
    keeping.prewarmed(0, 7, silent(5))
    assert keeping.decide(0, silent(21, live=1), [7], [(10.0, 7)]).expired == (7,)


def test_a_request_makes_it_an_ordinary_instance() -> None:
    """Then the timeout counts from when it became idle, and stays so in the silence that follows."""
    keeping = keeps(Ahead(timeout_s=3.0))
    keeping.prewarmed(0, 7, silent(5))
    for now_s, expired in ((16, ()), (17, ()), (18, (7,)), (40, (7,))):
        view = replace(silent(now_s, live=1), counts=(1, *(0,) * 13, 1, *(0,) * (now_s - 15)))
        assert keeping.decide(0, view, [7], [(15.0, 7)]).expired == expired


# -------------------------------------------------------------------------------------------- eviction


def worth(requests: int, *idle: int, busy: Sequence[int] = (), least: int = 0) -> Crowded:
    """Return a function whose greedy-dual priority is the clock and its requests: cost over size is 1."""
    crowd = [StillInstance(one) for one in idle]
    crowd += [StillInstance(one, idle=False) for one in busy]
    return Crowded(
        (requests,),
        len(crowd),
        least,
        cold_start_s=1024.0,
        memory_bytes=GIB,
        crowd=tuple(sorted(crowd, key=lambda one: one.instance)),
    )


def later(view: Crowded, requests: int) -> Crowded:
    """Return the function a second later, in which more requests came."""
    return replace(view, counts=(*view.counts, requests))


def evicts(*views: Crowded | None, policy: KeepAlivePolicy | None = None) -> tuple[Keeping, list[list[int]]]:
    """Return keep-alive that sees these functions, and who is live."""
    keeping = keeps(policy or GreedyDual(), len(views))
    keeping.views = views
    return keeping, [[] if view is None else [one.instance for one in view.crowd] for view in views]


def test_the_least_worth_keeping_go_first() -> None:
    """By priority over all functions, then by number; training has no view and is left alone."""
    keeping, live = evicts(worth(5, 0, 4), None, worth(2, 3), worth(5, 1), worth(0))
    assert keeping.victims(live, launching=4) == [
        Victim(2.0, 3, 2),
        Victim(5.0, 0, 0),
        Victim(5.0, 1, 3),
        Victim(5.0, 4, 0),
    ]


def test_who_works_starts_or_has_been_retired_is_no_victim() -> None:
    """Only idle ones that are still live; an instance that has not started up is not idle."""
    keeping, live = evicts(worth(1, 0, 1, busy=(2, 3)), worth(0))
    live[0].remove(1)
    assert [victim.instance for victim in keeping.victims(live, launching=1)] == [0]


@pytest.mark.parametrize(("least", "instances"), [(0, [0, 1, 3]), (1, [0, 1, 3]), (2, [0, 1]), (4, [])])
def test_the_minimum_is_never_evicted(least: int, instances: list[int]) -> None:
    """Of four, one of them at work, as many may go as are above the minimum, the lowest numbers first."""
    keeping, live = evicts(worth(1, 3, 1, 0, busy=(2,), least=least), worth(0))
    assert [victim.instance for victim in keeping.victims(live, launching=1)] == instances


def test_a_function_makes_no_room_for_itself() -> None:
    """An idle instance is not given up for a cold one of the same function, however little it is worth."""
    keeping, live = evicts(worth(1, 0), worth(9, 1))
    assert keeping.victims(live, launching=0) == [Victim(9.0, 1, 1)]


def test_only_a_policy_that_evicts_has_victims() -> None:
    """Another keep-alive policy, or none, evicts nobody; nor does anyone before the views are there."""
    for policy in (FixedKeepAlive(0.0), Ahead()):
        keeping, live = evicts(worth(1, 0), worth(0), policy=policy)
        assert keeping.victims(live, launching=1) == []
    assert keeps(None).victims([[0]], launching=1) == []
    assert keeps(GreedyDual()).victims([[0]], launching=1) == []


def test_the_clock_is_the_priority_of_the_last_evicted() -> None:
    """Greedy-dual by hand: a function used after an eviction starts from the clock, the others do not."""
    unused, used, new = worth(3, 1), worth(4, 2), worth(0)
    keeping, live = evicts(worth(2, 0), unused, used, new)
    first = keeping.victims(live, launching=3)[0]
    assert first == Victim(2.0, 0, 0)
    keeping.evicted(first)
    keeping.views = (worth(2), unused, later(used, 2), later(worth(0, 5), 1))
    live = [[], [1], [2], [5]]
    assert keeping.victims(live, launching=0) == [
        Victim(3.0, 1, 1),
        Victim(2.0 + 1.0, 5, 3),
        Victim(2.0 + 4.0 + 2.0, 2, 2),
    ]


def test_asking_for_victims_moves_no_clock() -> None:
    """A priority counts only once its instance has gone, and the clock never falls."""
    keeping, live = evicts(worth(7, 0), worth(0))
    keeping.victims(live, launching=1)
    keeping.views = (later(worth(7, 0), 1), worth(0))
    assert keeping.victims(live, launching=1) == [Victim(8.0, 0, 0)]
    for evicted in (5.0, 3.0):
        keeping.evicted(Victim(evicted, 9, 1))
    keeping.views = (later(later(worth(7, 0), 1), 1), worth(0))
    assert keeping.victims(live, launching=1) == [Victim(5.0 + 9.0, 0, 0)]


@st.composite
def crowds(draw: st.DrawFn) -> list[Crowded]:
    """Draw up to five functions with idle and busy instances, numbered over all of them."""
    owners = draw(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=20))
    return [
        worth(
            draw(st.integers(0, 3)),
            *(one for one, (owner, idle) in enumerate(owners) if owner == function and idle),
            busy=[one for one, (owner, idle) in enumerate(owners) if owner == function and not idle],
            least=draw(st.integers(0, 3)),
        )
        for function in range(5)
    ]


@given(views=crowds(), launching=st.integers(0, 4))
def test_victims_are_ordered_idle_and_spare(views: list[Crowded], launching: int) -> None:
    """Of every other function as many as idle and as are above its minimum; a lower priority goes first."""
    keeping, live = evicts(*views)
    victims = keeping.victims(live, launching)
    assert [v.worth for v in victims] == sorted(v.worth for v in victims)
    for function, view in enumerate(views):
        idle = {one.instance for one in view.crowd if one.idle}
        named = [victim.instance for victim in victims if victim.function == function]
        spare = max(0, len(view.crowd) - view.min_instances)
        assert len(named) == (0 if function == launching else min(len(idle), spare))
        assert set(named) <= idle
