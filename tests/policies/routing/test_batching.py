from __future__ import annotations

import math

import pytest

from policies import BatchRule
from policies.routing import AdaptiveBatching, DeadlineBatching, ImmediateBatching
from policies.still_views import StillFunction


def test_the_first_wait_is_twenty_milliseconds() -> None:
    """Until a request has completed nothing is known."""
    assert AdaptiveBatching().batching(StillFunction((50,))) == BatchRule(4, 0.020)


@pytest.mark.parametrize(
    ("rate", "latency_s", "wait_s"),
    [(10, 0.099, 0.0), (10, 0.1, 0.010), (10, 0.2, 0.020), (0, 5.0, 0.0), (100, 0.05, 0.005)],
)
def test_the_wait_is_a_part_of_the_latency_where_requests_overlap(
    rate: int, latency_s: float, wait_s: float
) -> None:
    """L / 10 if a request takes longer than until the next one comes, else 10 us."""
    rule = AdaptiveBatching().batching(StillFunction((500, rate), latency_s=latency_s))
    assert rule.max_batch == 4
    assert rule.wait_s == pytest.approx(wait_s)


def test_before_the_first_whole_second_nothing_is_waited_for() -> None:
    """A latency without a rate is no sign of overlap."""
    assert AdaptiveBatching().batching(StillFunction((), latency_s=0.5)).wait_s == 0.0


@pytest.mark.parametrize(
    ("model", "divisor"),
    [
        ("bert-base", 6),
        ("roberta-large", 6),
        ("llama2-7b", 8),
        ("resnet152", 10),
        ("vgg19", 10),
        ("gpt2-large", 10),
        ("mine", 10),
    ],
)
def test_each_model_s_server_has_its_divisor(model: str, divisor: int) -> None:
    """The servers of the artifact divide by 6, 8 or 10."""
    view = StillFunction((100,), latency_s=0.24, model=model)
    assert AdaptiveBatching().batching(view).wait_s == pytest.approx(0.24 / divisor)


@pytest.mark.parametrize(("slo_s", "wait_s"), [(0.3, 0.2), (0.1, 0.0), (0.05, 0.0), (math.inf, 0.0)])
def test_a_deadline_leaves_what_execution_does_not_take(slo_s: float, wait_s: float) -> None:
    """SLO - 100 ms of execution, never negative, and none without an SLO: a wait for ever would hang."""
    rule = DeadlineBatching().batching(StillFunction(slo_s=slo_s, service_s=0.1))
    assert rule.max_batch == 4
    assert rule.wait_s == pytest.approx(wait_s)


def test_immediate_batching_waits_for_nothing() -> None:
    """What has arrived is taken, up to a full batch."""
    assert ImmediateBatching().batching(StillFunction((100,), batch=16)) == BatchRule(16, 0.0)


def test_only_adaptive_batching_is_asked_again() -> None:
    """The others answer once; INFless alone fills the newest idle instance first."""
    policies = (AdaptiveBatching(), DeadlineBatching(), ImmediateBatching())
    assert [policy.adapts for policy in policies] == [True, False, False]
    assert [policy.newest_idle_first for policy in policies] == [False, True, False]
