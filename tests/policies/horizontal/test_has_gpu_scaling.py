from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import PolicyError, Scaling
from policies.horizontal import HasGpuScaling
from policies.horizontal.has_gpu import Estimate, HasGpuState
from policies.still_views import StillFunction, StillInstance, scaling_actions
from policies.testing import check_policy

HAS = HasGpuScaling()
FULL_RPS = 80.0
"""An instance of still views: 40 rps at its request of 0.3, so twice as much at its limit of 0.6."""


def state(scaling: Scaling) -> HasGpuState:
    """Return what the policy wants to remember."""
    assert isinstance(scaling.memory, HasGpuState)
    return scaling.memory


def at_rate(rate: int, live: int, quota: float, **changes: Any) -> Scaling:
    """Ask at a tick after 10 s at a rate that the filter has settled on, so that it predicts 6.1 rps more."""
    policy = changes.pop("policy", HAS)
    estimate = Estimate(rate + policy._silent_estimate().rps, policy._silent_estimate().variance)
    view = changes.pop("view", StillFunction((rate,) * 10, live, **changes.pop("of", {})))
    memory = HasGpuState(estimate, quota, live, **changes)
    scaling: Scaling = policy.scale(dataclasses.replace(view, memory=memory))
    return scaling


def test_has_gpu_scaling_keeps_the_contract() -> None:
    """`check_policy` finds nothing, whatever the first quotas."""
    assert check_policy(HAS) == ("horizontal",)
    assert check_policy(HasGpuScaling(buffer_rps=0.0, spread=0.0)) == ("horizontal",)


# ---------------------------------------------------------------------------------------------- filter


def test_the_filter_by_hand() -> None:
    """P = 1 + 1, K = 2 / 12, x = 0 + K * 60 + sqrt(5 / 3 P); then not below the measured 60 rps + 5."""
    estimate = state(HAS.scale(StillFunction((60,) * 2, 1))).estimate
    assert estimate.variance == pytest.approx(2 - 2 / 6)
    assert estimate.rps == 65.0
    without = HasGpuScaling(buffer_rps=0.0)
    drop = HasGpuState(Estimate(60.0, 1.0), 0.5, 1)
    after = state(without.scale(StillFunction((0,) * 10, 1, memory=drop))).estimate
    assert after.rps == pytest.approx(60 - 60 / 6 + math.sqrt(10 / 6))


def test_silence_brings_the_filter_to_rest_at_its_fixed_point() -> None:
    """One more step of silence changes neither the estimate nor its variance."""
    silence = HAS._silent_estimate()
    assert HAS._predicted(silence, 0.0) == pytest.approx(silence)
    assert silence.rps == pytest.approx(6.08, abs=0.01)


# ---------------------------------------------------------------------------------------------- up


@pytest.mark.parametrize(
    ("rate", "quota", "share", "target"),
    [
        (29, 0.5, 0.30, 1),  # predicts 35.1, below 0.9 * 40
        (31, 0.5, 0.36, 1),  # 37.1: one step covers the 1.1 that exceed 36
        (40, 0.5, 0.42, 1),  # 46.1: 10.1 take two steps of 8
        (70, 0.5, 0.60, 2),  # 76.1: all five steps, and an instance for 0.1 more
        (69, 0.5, 0.60, 1),  # 75.1: 39.1 are covered by five steps
        (70, 1.0, 0.60, 2),  # 76.1 exceeds 0.9 * 80, and quotas are full
        (300, 1.0, 0.60, 4),  # 306.1: 234.1 take three more of 80
    ],
)
def test_up_by_quota_first_then_by_instances(rate: int, quota: float, share: float, target: int) -> None:
    """The quota rises by tenths of the limit until what is missing is covered; instances cover the rest."""
    scaling = at_rate(rate, 1, quota)
    assert (scaling.share, scaling.target) == (pytest.approx(share), target)


def test_a_step_of_the_quota_is_one_of_every_instance() -> None:
    """Four instances at half: 11 rps beyond 0.9 of 160 are covered by one step of all, 32 rps."""
    scaling = at_rate(149, 4, 0.5)
    assert (scaling.share, scaling.target) == (pytest.approx(0.36), 4)


def test_a_step_that_just_covers_needs_no_instance() -> None:
    """Predicted 72.8 rps on 0.9 of 80: the 8 that exceed 64.8 are one step, however floats round."""
    counts = (67,) * 2 + (68,) * 8
    view = StillFunction(counts, 1, memory=HasGpuState(Estimate(0.0, 1.0), 0.9, 1))
    scaling = HAS.scale(view)
    assert state(scaling).estimate.rps == pytest.approx(72.8)
    assert (scaling.target, state(scaling).quota) == (1, 1.0)


# ---------------------------------------------------------------------------------------------- down


@pytest.mark.parametrize(
    ("rate", "live", "quota", "share", "target"),
    [
        (19, 1, 1.0, 0.60, 1),  # predicts 25.1, above 0.3 * 80
        (17, 1, 1.0, 0.24, 1),  # 23.1: 48.9 to spare are six steps of 8
        (0, 1, 1.0, 0.12, 1),  # 6.1: 65.9 to spare are eight steps
        (0, 4, 1.0, 0.12, 4),  # 281.9 to spare are eight steps of 32
        (0, 4, 0.2, 0.06, 2),  # 51.5 to spare: one step to the least, then two of 8 each
        (60, 4, 1.0, 0.24, 4),  # 66.1: 221.9 are six steps
    ],
)
def test_down_by_quota_first_then_by_instances(
    rate: int, live: int, quota: float, share: float, target: int
) -> None:
    """Below 0.3 of capacity, quotas fall as far as 0.9 of it allows, to a tenth; then instances go."""
    scaling = at_rate(rate, live, quota)
    assert (scaling.share, scaling.target) == (pytest.approx(share), target)


def test_instances_go_only_at_the_least_quota() -> None:
    """Ten at a tenth serve 80 rps: 65.9 to spare are eight instances of 8, the minimum of three stays."""
    assert at_rate(0, 10, 0.1).target == 2
    assert at_rate(0, 10, 0.1, of={"min_instances": 3}).target == 3
    assert at_rate(0, 1, 0.1, of={"min_instances": 0}).target == 1


def test_down_cools_down_for_ten_seconds() -> None:
    """Having just scaled down, it waits; up does not."""
    assert at_rate(0, 1, 1.0, lowered_s=1.0).share == pytest.approx(0.6)
    down = at_rate(0, 1, 1.0, lowered_s=0.0)
    assert (down.share, state(down).lowered_s) == (pytest.approx(0.12), 10.0)
    assert at_rate(300, 1, 1.0, lowered_s=9.0).target == 4


# ---------------------------------------------------------------------------------------------- views


def test_the_first_answer_adopts_the_quota_there_is() -> None:
    """The instances begin with what the vertical policy gave them; the answer names it."""
    assert HAS.scale(StillFunction((30,), 2, shares=(0.48, 0.3))).share == pytest.approx(0.48)
    assert HAS.scale(StillFunction((30,), 1, shares=(0.01,))).share == pytest.approx(0.06)


def test_a_missing_instance_is_launched() -> None:
    """It always keeps one, also where the function's minimum is zero."""
    assert HAS.scale(StillFunction((0,), 0, 0)).target == 1
    assert HAS.scale(StillFunction((0,), 0, 2)).target == 2
    assert HAS.scale(StillFunction((0,), 1, 2)).target == 2


@dataclasses.dataclass(frozen=True)
class NotReady(StillFunction):
    """A function whose instances all start up."""

    @property
    def instances(self) -> tuple[StillInstance, ...]:
        """As many as are live."""
        return tuple(StillInstance(number, ready=False) for number in range(self.live))


def test_without_a_ready_instance_nothing_is_decided() -> None:
    """The filter goes on, the rest waits."""
    scaling = at_rate(300, 1, 1.0, view=NotReady((300,) * 10, 1))
    assert (scaling.target, scaling.until_s) == (1, 12.0)
    assert state(scaling).estimate.rps > 305.0


def test_between_ticks_the_decision_stands() -> None:
    """An extra question gets the same answer, whatever has come meanwhile."""
    due = at_rate(70, 1, 1.0)
    assert (due.target, due.until_s, due.above, due.below) == (2, 12.0, math.inf, -math.inf)
    assert HAS.scale(StillFunction((70,) * 10 + (900,), 2, memory=due.memory)) == due


# ---------------------------------------------------------------------------------------------- rest


def test_a_silent_function_comes_to_rest_on_little() -> None:
    """From a busy minute to silence: quotas fall, instances go, and then nobody needs to ask."""
    answers = replay(HAS, (300,) * 60 + (0,) * 200, least=1, every_second=False)
    last_s, last = answers[-1]
    assert (last.share, last.until_s, last.above) == (pytest.approx(0.06), math.inf, 0.0)
    assert last.target == 2, "16 rps, of which the filter's 6.1 are more than 0.3"
    assert last_s < 150


def test_a_quiet_function_that_would_change_is_not_at_rest() -> None:
    """Settled on silence with more than it needs: it is asked until it may scale down."""
    assert at_rate(0, 1, 1.0, lowered_s=5.0).until_s == 12.0
    assert at_rate(0, 1, 0.1).until_s == math.inf


def test_rest_is_found_at_a_tick_once_the_filter_has_settled() -> None:
    """Neither between ticks nor while the filter still remembers more than silence."""
    silence = HAS._silent_estimate()
    settled = HasGpuState(silence, 0.1, 1, due_s=12.0)
    assert HAS.scale(StillFunction((0,) * 11, 1, memory=settled)).until_s == 12.0
    assert HAS.scale(StillFunction((0,) * 12, 1, memory=settled)).until_s == math.inf
    remembers = settled._replace(estimate=Estimate(6.5, silence.variance))
    assert HAS.scale(StillFunction((0,) * 12, 1, memory=remembers)).until_s == 14.0


def replay(
    policy: HasGpuScaling, rates: Sequence[int], *, least: int, every_second: bool
) -> list[tuple[int, Scaling]]:
    """Poll along per-second rates, with launches that succeed at once; return the seconds and answers."""
    counts, live, band = tuple(rates), max(least, 1), Scaling(least)
    answers = []
    for second, rate in enumerate(counts, start=1):
        if every_second or rate > band.above or rate < band.below or second >= band.until_s:
            band = policy.scale(StillFunction(counts[:second], live, least, memory=band.memory))
            answers.append((second, band))
            if band.target != live:
                live = band.target
                band = Scaling(live, memory=band.memory)
    return answers


def changes(answers: list[tuple[int, Scaling]]) -> list[tuple[int, int, float | None]]:
    """Return when the number of instances or their share changed, and to what."""
    found: list[tuple[int, int, float | None]] = []
    for second, answer in answers:
        if not found or found[-1][1:] != (answer.target, answer.share):
            found.append((second, answer.target, answer.share))
    return found


SERIES = st.lists(
    st.tuples(st.sampled_from([0, 0, 0, 1, 11, 29, 30, 36, 75, 400]), st.integers(1, 80)), max_size=8
).map(lambda runs: [rate for rate, seconds in runs for _ in range(seconds)])
POLICIES = st.builds(
    HasGpuScaling,
    tick_s=st.sampled_from([1.0, 2.0, 3.0]),
    step=st.sampled_from([0.1, 0.3, 1.0]),
    cool_down_s=st.sampled_from([0.0, 10.0, 25.0]),
    buffer_rps=st.sampled_from([0.0, 5.0, 10.0]),
    window_s=st.sampled_from([1, 10]),
)


@given(policy=POLICIES, rates=SERIES, least=st.integers(0, 3))
def test_has_gpus_promise_is_kept(policy: HasGpuScaling, rates: list[int], least: int) -> None:
    """Asked every second or only as it says, it wants the same instances and shares at the same times."""
    asked = replay(policy, rates, least=least, every_second=False)
    polled = replay(policy, rates, least=least, every_second=True)
    assert changes(asked) == changes(polled)
    assert len(asked) <= len(polled)


@given(policy=POLICIES, rates=SERIES, least=st.integers(0, 3))
def test_quotas_and_instances_stay_in_bounds(policy: HasGpuScaling, rates: list[int], least: int) -> None:
    """At least one instance and the minimum; a share of at least one step and at most the limit."""
    for _, answer in replay(policy, rates, least=least, every_second=False):
        assert answer.target >= max(least, 1)
        assert answer.share is not None
        assert policy.step * 0.6 - 1e-9 <= answer.share <= 0.6 + 1e-9


@given(rate=st.integers(0, 2000), live=st.integers(1, 8), tenths=st.integers(1, 10))
def test_up_covers_what_is_missing_by_no_more_than_it_must(rate: int, live: int, tenths: int) -> None:
    """What was missing is covered, and would not be with one step or one instance less."""
    quota = tenths / 10
    scaling = at_rate(rate, live, quota)
    predicted_rps = state(scaling).estimate.rps
    before_rps, missing_rps = live * quota * FULL_RPS, predicted_rps - 0.9 * live * quota * FULL_RPS
    after = state(scaling).quota
    if missing_rps > 0.0:
        assert scaling.target * after * FULL_RPS - before_rps >= missing_rps - 1e-6
        if scaling.target > live:
            assert after == 1.0
            assert (scaling.target - 1) * FULL_RPS - before_rps < missing_rps
        else:
            assert live * (after - 0.1) * FULL_RPS - before_rps < missing_rps
    else:
        assert after <= quota
        assert scaling.target <= live


def test_a_surge_is_first_met_by_the_share() -> None:
    """30 to 60 rps on one instance: its share doubles and no instance is launched."""
    rates = (30,) * 40 + (60,) * 60
    assert scaling_actions(HAS, rates) == []
    last = replay(HAS, rates, least=1, every_second=False)[-1][1]
    assert last.share == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"down": 0.9}, "down: found 0.9, allowed are fractions from 0 below `up`, 0.9"),
        ({"step": 0.0}, "step: found 0.0, allowed are fractions above 0 up to 1"),
        ({"measurement_variance": 0.0}, "measurement_variance: found 0.0, allowed are numbers above 0"),
    ],
)
def test_impossible_constants_of_has_gpu_are_refused(constants: dict[str, float], message: str) -> None:
    """The message says what was found and what is allowed."""
    with pytest.raises(PolicyError, match=message):
        HasGpuScaling(**constants)  # type: ignore[arg-type]
