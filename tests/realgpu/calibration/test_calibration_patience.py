"""How often a thing is measured, and what may be begun."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from virtual_device import quick

from profiles import LatencySurface, Measurement, Point
from realgpu.calibration.budget import ENDING_PART, ENDING_S, MARGIN, Budget, StartUps, expected_s
from realgpu.calibration.measuring import Patience, _decode_step
from realgpu.calibration.subjects import find_subjects


def result(took_s: list[float]) -> Measurement:
    """The measurement of some seconds."""
    return Measurement("bert-base", "serve", 4, 0.5, "virtual", tuple(took_s))


def noisy(spread: float) -> Callable[[], float]:
    """A thing that takes about a second, without taking it."""
    rng = np.random.default_rng(5)
    return lambda: float(np.exp(spread * rng.standard_normal()))


def test_what_is_steady_is_repeated_seldom_and_what_is_not_often() -> None:
    """Until the interval of the median is narrow enough, or there have been enough repeats."""
    patience = Patience(spread=0.01, least=7, most=60, most_s=100.0, settling_s=0.0)
    assert len(patience.repeat(noisy(0.0), result).seconds) == 7
    some = patience.repeat(noisy(0.02), result)
    assert 7 < len(some.seconds) < 60
    assert some.spread <= 0.01
    assert len(patience.repeat(noisy(0.5), result).seconds) == 60


def test_what_is_slow_is_repeated_a_few_times() -> None:
    """When it has taken long enough, the fewest repeats are all."""
    patience = Patience(spread=0.0, least=7, most=60, most_s=0.05, least_slow=3, settling_s=0.0)
    calls: list[float] = []

    def once() -> float:
        time.sleep(0.03)
        calls.append(time.monotonic())
        return 1.0 + 0.1 * len(calls)

    found = patience.repeat(once, result)
    assert len(found.seconds) == 3
    assert len(calls) == 4
    assert found.seconds[0] == pytest.approx(1.2)  # the first was thrown away


def test_repeats_are_thrown_away_until_things_have_settled() -> None:
    """At least the warm-ups, and for as long as a gate's bucket may last."""
    calls: list[float] = []

    def once() -> float:
        time.sleep(0.005)
        calls.append(time.monotonic())
        return 1.0

    begun_s = time.monotonic()
    found = Patience(least=6, most=6, settling_s=0.05).repeat(once, result)
    thrown_away = len(calls) - len(found.seconds)
    assert thrown_away >= 2
    assert calls[thrown_away - 1] - begun_s >= 0.05


def test_the_longest_that_a_measurement_takes_is_foretold() -> None:
    """Whatever a batch takes, warm-ups, repeats and what is sent ahead are in it."""
    patience = Patience(most=60, most_s=1.5, least_slow=3, warm_ups=1, settling_s=0.0)
    assert patience.longest_s(10.0, "train") == pytest.approx(40.0)
    assert patience.longest_s(10.0, "serve") == pytest.approx(60.0)
    assert 1.5 < patience.longest_s(0.1, "serve") < 2.0
    assert 0.06 < patience.longest_s(0.001, "serve") < 0.1


def test_a_decode_step_is_an_answer_without_its_prompt() -> None:
    """Seconds, launches and cost alike; noise never makes it take no time."""
    prompt = Measurement("llama2-7b", "serve", 1, 1.0, "mps", (0.01,) * 3, launches=100, cost=900.0)
    answer = Measurement("llama2-7b", "serve", 1, 1.0, "mps", (0.17, 0.33, 0.005), launches=1700, cost=1700.0)
    step = _decode_step(prompt, answer)
    assert step.seconds == pytest.approx((0.01, 0.02, 1e-9))
    assert (step.launches, step.cost) == (100, 50.0)


def test_nothing_is_begun_that_cannot_be_ended() -> None:
    """What is left is the budget without its end; without a budget there is always time."""
    budget = Budget(100.0)
    assert budget.left_s == pytest.approx(100.0 - ENDING_S, abs=0.5)
    assert budget.allows(90.0)
    assert not budget.allows(93.0)
    assert Budget(10.0).left_s == pytest.approx((1.0 - ENDING_PART) * 10.0, abs=0.5)
    assert not Budget(0.0).allows(1e-9)
    assert Budget(None).allows(1e9)


def test_a_start_is_expected_to_take_what_others_took() -> None:
    """First what is assumed of the backend, then of any job, then of this one."""
    starts = StartUps("cpu")
    assumed_s = starts.expected_s("serve")
    assert assumed_s > 5.0
    starts.saw("serve", 2.0)
    assert starts.expected_s("train") == starts.expected_s("serve") == 2.0 * MARGIN
    starts.saw("train", 4.0)
    assert starts.expected_s("train") == 4.0 * MARGIN


def test_what_is_expected_of_a_batch_follows_what_was_measured() -> None:
    """The profile; the profile times what few points say, with a margin; the curve that fits them."""
    profile = quick("bert-base")
    other = LatencySurface(0.01, 0.001, 0.002, 0.003, 3.0)
    points = [Point(b, s, other.seconds(b, s)) for b in (1, 4, 8) for s in (0.2, 0.5, 1.0)]
    assert expected_s(profile, "serve", 4, 0.5, []) == profile.latency.seconds(4, 0.5)
    ratio = points[0].seconds / profile.latency.seconds(points[0].batch, points[0].share)
    some = expected_s(profile, "serve", 4, 0.5, points[:1])
    assert some == pytest.approx(MARGIN * ratio * profile.latency.seconds(4, 0.5))
    assert expected_s(profile, "serve", 2, 0.3, points) == pytest.approx(other.seconds(2, 0.3), rel=0.01)
    assert math.isfinite(expected_s(profile, "train", 4, 0.5, []))


def test_models_are_asked_for_by_job() -> None:
    """In their order, each once, with all jobs or those that were named."""
    from virtual_device import base

    subjects = find_subjects(["roberta-large:train", "bert-base", "roberta-large:serve"], base())
    assert [(one.name, one.jobs) for one in subjects] == [
        ("roberta-large", ("serve", "train")),
        ("bert-base", ("serve", "train")),
    ]
