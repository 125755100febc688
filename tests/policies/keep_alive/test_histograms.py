from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import PolicyError
from policies.keep_alive import FixedKeepAlive, HybridHistogram, LongShortHistogram, idle_intervals
from policies.keep_alive.histograms import _percentile
from policies.slots import KeepAlivePolicy, Prewarms
from policies.still_views import StillFunction, StillInstance, still_functions
from policies.testing import check_policy


@pytest.mark.parametrize(
    ("counts", "lengths"),
    [
        ([], []),
        ([3, 1, 2], []),
        ([0, 0, 0], [3]),
        ([0, 5, 0, 0, 1, 1, 0, 0, 0], [1, 2, 3]),
        ([4, 0, 4], [1]),
    ],
)
def test_an_idle_interval_is_a_run_of_silent_seconds(counts: list[int], lengths: list[int]) -> None:
    """Runs at either end count with the length they have so far."""
    assert idle_intervals(np.array(counts, dtype=np.int64)).tolist() == lengths


@given(st.lists(st.integers(0, 2), max_size=60))
def test_the_intervals_hold_all_silent_seconds(counts: list[int]) -> None:
    """Their lengths sum to the number of zeros, and none is empty."""
    lengths = idle_intervals(np.array(counts, dtype=np.int64))
    assert lengths.sum() == counts.count(0)
    assert (lengths > 0).all()


def test_the_two_tails_are_mixed() -> None:
    """By hand: 50 gaps of 10 s, then 50 of 2 s.

    The long window of 858 s holds 56 samples of them all, of which the 90th percentile is 10 s; the last
    200 s hold gaps of 2 s alone, and end with a request.
    """
    counts = ([0] * 10 + [1]) * 50 + ([0] * 2 + [1]) * 70
    policy = LongShortHistogram()
    assert policy.idle_timeout_s(StillFunction(tuple(counts))) == pytest.approx(0.5 * 10 + 0.5 * 2)
    heavier = LongShortHistogram(mix=0.75)
    assert heavier.idle_timeout_s(StillFunction(tuple(counts))) == pytest.approx(0.75 * 10 + 0.25 * 2)


def test_the_tail_interpolates_between_intervals() -> None:
    """Gaps of 1 to 11 s: the 90th percentile is 10 s, the median 6 s."""
    counts = tuple(second for gap in range(1, 12) for second in [0] * gap + [1])
    assert LongShortHistogram().idle_timeout_s(StillFunction(counts)) == pytest.approx(10.0)
    assert LongShortHistogram(tail=50.0).idle_timeout_s(StillFunction(counts)) == pytest.approx(6.0)


def test_the_windows_trail_the_present() -> None:
    """Gaps older than 858 s are forgotten."""
    counts = (0,) * 500 + (1,) + ((0,) * 4 + (1,)) * 200
    assert LongShortHistogram().idle_timeout_s(StillFunction(counts)) == pytest.approx(4.0)


def test_without_idle_intervals_the_default_stands_in() -> None:
    """A short window without a gap is as good as unknown."""
    policy = LongShortHistogram(default_s=30.0)
    assert policy.idle_timeout_s(StillFunction(())) == 30.0
    gap_long_ago = (0,) * 8 + (1,) * 300
    assert policy.idle_timeout_s(StillFunction(gap_long_ago)) == pytest.approx(0.5 * 8 + 0.5 * 30)


def test_a_fixed_time_is_fixed() -> None:
    """History does not matter; the default is OpenWhisk's ten minutes."""
    assert FixedKeepAlive().idle_timeout_s(StillFunction((0, 1, 0))) == 600.0
    assert FixedKeepAlive(5.0).idle_timeout_s(StillFunction(())) == 5.0


# ------------------------------------------------------------------------------------- pre-warming (LSTH)


def test_the_window_mixes_heads_and_tails() -> None:
    """Gaps of 1 to 21 s, then of 3 to 23 s: the 5th percentiles are 2 and 4 s, the 90th 19 and 21 s."""
    long_counts, short_counts = (
        np.array([second for gap in gaps for second in [0] * gap + [1]])
        for gaps in (range(1, 22), range(3, 24))
    )
    window = LongShortHistogram(mix=0.75).window_s(long_counts, short_counts)
    assert window == pytest.approx((0.75 * 2 + 0.25 * 4, 0.75 * 19 + 0.25 * 21))


@pytest.mark.parametrize(("name", "from_s", "until_s"), [("Periodic", 1.0, 4.3), ("Sporadic", 1.0, 6.7)])
def test_dilu_s_thresholds_on_the_published_traces(name: str, from_s: float, until_s: float) -> None:
    """INFless's traces x25: Dilu's script gets these of the first 858 and the first 200 values.

    Its bursty trace begins with 220 values of its own, so that the published one gives others.
    """
    directory = os.environ.get("DILU_TRACE_DIR")
    path = Path(directory or "", "infless", f"{name}.txt")
    if not directory or not path.is_file():
        pytest.skip("DILU_TRACE_DIR names no directory with INFless's traces")
    counts = np.array([int(float(line) * 25) for line in path.read_text().split()])
    assert LongShortHistogram().window_s(counts[:858], counts[:200]) == pytest.approx((from_s, until_s))


def test_the_pre_warm_windows_trail_the_last_request() -> None:
    """Gaps of 9 s older than 858 s before the last request are forgotten, however long the silence since."""
    counts = ((0,) * 9 + (1,)) * 30 + ((0,) * 4 + (1,)) * 200
    for silence_s in (0, 1, 500, 5000):
        window = LongShortHistogram().warm_window(StillFunction(counts + (0,) * silence_s, live=0))
        assert window == pytest.approx((4.0, 6.0))


def test_the_short_window_cuts_no_interval() -> None:
    """Gaps of 150 s: 200 s hold one and a part, which counts as 150 s too."""
    view = StillFunction(((0,) * 150 + (1,)) * 20, live=0)
    window = LongShortHistogram(mix=0.0).warm_window(view)
    assert window == pytest.approx((150.0, 152.0))
    ended_before = (1,) + (0,) * 50 + (1,) + (0,) * 8 + (1,)
    window = LongShortHistogram(short_s=10, mix=0.0).warm_window(StillFunction(ended_before, live=0))
    assert window == pytest.approx((8.0, 10.0))


def test_what_comes_as_regularly_as_a_timer_finds_a_warm_instance() -> None:
    """A request every 21 s leaves 20 silent seconds: the window holds the 21st second, wherever it comes."""
    window = LongShortHistogram().warm_window(StillFunction(STEADY, live=0))
    assert window.from_s <= 20.0
    assert window.until_s >= 22.0


def test_nothing_is_pre_warmed_before_it_is_known() -> None:
    """Without a request, or without a gap, the window is from the request itself until past the default."""
    for counts in ((), (0,) * 50, (1,) * 50):
        assert LongShortHistogram().warm_window(StillFunction(counts, live=0)) == (0.0, 62.0)


@dataclass(frozen=True)
class Mid(StillFunction):
    """A function in the middle of a second, of which a request came in the beginning."""

    @property
    def now_s(self) -> float:
        """Half a second after the last whole one."""
        return len(self.counts) + 0.5

    @property
    def last_arrival_s(self) -> float:
        """In the present second."""
        return len(self.counts) + 0.25


def test_a_silence_that_a_request_has_just_ended_counts() -> None:
    """The present second is in no history yet, but the gap before it is over."""
    view = Mid((1,) + (0,) * 7, live=0)
    assert LongShortHistogram().warm_window(view) == (7.0, 9.0)
    assert HybridHistogram(bin_s=1, range_s=60, history_s=600).warm_window(view).from_s == pytest.approx(6.3)


STEADY = ((0,) * 20 + (1,)) * 50
"""A request every 21 s: both histograms are sure of it."""
SECONDS = HybridHistogram(bin_s=1, range_s=600, history_s=1800)


@pytest.mark.parametrize("policy", [LongShortHistogram(), SECONDS], ids=repr)
@pytest.mark.parametrize(
    ("changes", "goes"),
    [
        ({}, True),
        ({"cold_start_s": 17.0}, True),
        ({"cold_start_s": 20.0}, False),
        ({"min_instances": 1, "live": 2}, False),
        ({"waiting": 1}, False),
        ({"live": 3}, True),
    ],
    ids=repr,
)
def test_an_idle_function_goes_at_once_where_it_can_come_back_in_time(
    policy: LongShortHistogram | HybridHistogram, changes: dict[str, Any], goes: bool
) -> None:
    """Warm from 20 or 18 s: it goes, unless a launch takes longer, one is kept, or a request waits."""
    view = StillFunction(STEADY, **{"min_instances": 0, **changes})
    timeout_s = policy.idle_timeout_s(view)
    assert timeout_s == 0.0 if goes else timeout_s >= 20.0


class Busy(StillFunction):
    """A function of which one instance serves."""

    @property
    def instances(self) -> tuple[StillInstance, ...]:
        """One idle, one at work."""
        return (StillInstance(0), StillInstance(1, idle=False))


def test_while_one_instance_serves_the_others_stay_the_keep_alive_time() -> None:
    """Until the window ends at 22 s; and one that was launched ahead is not thrown away either."""
    assert LongShortHistogram().idle_timeout_s(Busy(STEADY, live=2, min_instances=0)) == pytest.approx(22.0)
    silent = StillFunction(STEADY + (0,) * 16, min_instances=0)
    assert LongShortHistogram().idle_timeout_s(silent) == pytest.approx(22.0)


@given(
    counts=st.lists(st.integers(0, 2), max_size=120),
    silence_s=st.integers(0, 400),
    policy=st.sampled_from([LongShortHistogram(40, 10), HybridHistogram(bin_s=2, range_s=30, history_s=60)]),
)
def test_a_silence_changes_no_window(
    counts: list[int], silence_s: int, policy: LongShortHistogram | HybridHistogram
) -> None:
    """The window is the same throughout a silence, and begins no later than it ends."""
    counts.append(1)
    window = policy.warm_window(StillFunction(tuple(counts), live=0))
    assert policy.warm_window(StillFunction((*counts, *(0,) * silence_s), live=0)) == window
    assert 0.0 <= window.from_s <= window.until_s < math.inf


# -------------------------------------------------------------------------------------- hybrid histogram


def requests_after(*gaps: int) -> StillFunction:
    """Return a function with a request, and one after each of the gaps."""
    return StillFunction((1, *(second for gap in gaps for second in (*(0,) * gap, 1))), live=0)


def test_the_histogram_s_window_by_hand() -> None:
    """Twenty idle times in minute 2 and one in minute 9: .9 of 2 min to 1.1 of the end of minute 9.

    The 99th percentile is the longest of 21, and the 5th one of the others.
    """
    window = HybridHistogram().warm_window(requests_after(*[130] * 20, 575))
    assert window == pytest.approx((0.9 * 120, 1.1 * 600))


def test_idle_times_within_the_first_bin_pre_warm_nothing() -> None:
    """Half a minute lies in bin 0, and the window begins with the request; it ends with the bin's margin."""
    assert HybridHistogram().warm_window(requests_after(*[30] * 20)) == pytest.approx((0.0, 66.0))


def test_percentiles_are_those_of_the_counts() -> None:
    """5 of 100 in the lowest bin are the 5th percentile, 4 are not; the 99th leaves the longest one out."""
    policy = HybridHistogram(bin_s=10, range_s=6000, history_s=50_000)
    for low, head_s in ((5, 10), (4, 30)):
        window = policy.warm_window(requests_after(*[15] * low, *[35] * (99 - low), 4000))
        assert window == pytest.approx((0.9 * head_s, 1.1 * 40))


def test_the_silence_before_the_first_request_is_no_idle_time() -> None:
    """An hour of it, and then two minutes between requests: only those count."""
    view = StillFunction((0,) * 3600 + requests_after(*[130] * 3).counts, live=0)
    assert HybridHistogram().warm_window(view) == pytest.approx((0.9 * 120, 1.1 * 180))
    assert LongShortHistogram().warm_window(view) == pytest.approx((130.0, 132.0))


def test_a_flat_histogram_is_not_believed() -> None:
    """Of 20 bins, one idle time in each has CV 0, in 5 of them 1.7, in 4 of them 2, in one 4.4."""
    policy = HybridHistogram(bin_s=10, range_s=200, history_s=4000)
    standard = (0.0, 200.0)
    assert policy.warm_window(requests_after(*range(5, 200, 10))) == standard
    assert policy.warm_window(requests_after(15, 25, 35, 45, 55)) == standard
    assert policy.warm_window(requests_after(15, 25, 35, 45)) != standard
    assert policy.warm_window(requests_after(15)) != standard
    assert policy.warm_window(requests_after()) == standard


def test_idle_times_beyond_the_range_are_forecast() -> None:
    """Half of them beyond 100 s: .85 of the mean, for .30 of it; the newest weighs as much as all before."""
    policy = HybridHistogram(bin_s=10, range_s=100, history_s=4000)
    mean_s = (0.25 * 40 + 0.5 * 200 + 1.0 * 400) / 1.75
    window = policy.warm_window(requests_after(40, 200, 400))
    assert window == pytest.approx((0.85 * mean_s, 1.15 * mean_s))
    assert policy.warm_window(requests_after(15, 200)).from_s > 0.85 * 100
    within = policy.warm_window(requests_after(15, 15, 200))
    assert within == pytest.approx((0.9 * 10, 1.1 * 20))


def test_an_instance_above_the_minimum_stays_until_the_window_ends() -> None:
    """There is no pre-warming for it, so only the end of the window counts."""
    view = replace(requests_after(*[130] * 20), live=2)
    assert HybridHistogram().idle_timeout_s(view) == pytest.approx(1.1 * 180)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: LongShortHistogram(long_s=100, short_s=200), "short_s"),
        (lambda: LongShortHistogram(short_s=0), "short_s"),
        (lambda: LongShortHistogram(tail=101.0), "tail"),
        (lambda: LongShortHistogram(head=95.0), "head"),
        (lambda: LongShortHistogram(mix=1.5), "mix"),
        (lambda: LongShortHistogram(default_s=math.inf), "default_s"),
        (lambda: HybridHistogram(bin_s=0), "bin_s"),
        (lambda: HybridHistogram(history_s=14_400), "history_s"),
        (lambda: HybridHistogram(head=0.0), "head"),
        (lambda: HybridHistogram(beyond=1.5), "beyond"),
        (lambda: HybridHistogram(least_cv=math.nan), "least_cv"),
    ],
)
def test_impossible_histograms_are_refused(make: Callable[[], object], field: str) -> None:
    """One line says which constant, and what it may be."""
    with pytest.raises(PolicyError, match=rf"{field}.*: found .*, allowed"):
        make()


@pytest.mark.parametrize(
    "policy",
    [
        FixedKeepAlive(),
        LongShortHistogram(),
        LongShortHistogram(86_400, 3600, 99.0),
        HybridHistogram(),
        SECONDS,
    ],
    ids=repr,
)
def test_keep_alive_conforms(policy: KeepAlivePolicy) -> None:
    """They keep the slot's contract; those that look at idle times also pre-warm."""
    assert check_policy(policy) == ("keep_alive",)
    assert isinstance(policy, Prewarms) != isinstance(policy, FixedKeepAlive)
    for view in still_functions():
        if isinstance(policy, Prewarms):
            window = policy.warm_window(view)
            assert window == policy.warm_window(view)
            assert 0.0 <= window.from_s <= window.until_s


@given(
    st.lists(st.integers(0, 900), min_size=1, max_size=40),
    st.sampled_from([0.0, 5.0, 50.0, 90.0, 99.0, 100.0]),
)
def test_percentiles_are_numpy_s(intervals: list[int], percent: float) -> None:
    """Ours is the linear interpolation that everybody means."""
    ours = _percentile(np.sort(np.array(intervals)), percent)
    assert ours == pytest.approx(float(np.percentile(intervals, percent)))
