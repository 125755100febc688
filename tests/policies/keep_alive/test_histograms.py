from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.keep_alive import FixedKeepAlive, LongShortHistogram, idle_intervals
from policies.still_views import StillFunction


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
