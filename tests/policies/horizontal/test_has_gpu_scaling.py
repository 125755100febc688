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
"""An instance of still views: batches of 4 in 0.05 s at its limit of 0.6."""


def state(scaling: Scaling) -> HasGpuState:
    """Return what the policy wants to remember."""
    assert isinstance(scaling.memory, HasGpuState)
    return scaling.memory


def at_rate(rate: int, live: int, quota: float, **changes: Any) -> Scaling:
    """Ask at a tick after 10 s at a rate that the filter has settled on, so that it predicts 6.1 rps more.

    Unless the view says otherwise, instances have the quotas that are wanted, and no SLO.
    """
    policy = changes.pop("policy", HAS)
    estimate = Estimate(rate + policy._silent_estimate().rps, policy._silent_estimate().variance)
    of = {"shares": (quota * 0.6,) * live, "slo_s": math.inf} | changes.pop("of", {})
    view = changes.pop("view", StillFunction((rate,) * 10, live, **of))
    memory = HasGpuState(estimate, quota, live, **changes)
    scaling: Scaling = policy.scale(dataclasses.replace(view, memory=memory))
    return scaling


@dataclasses.dataclass(frozen=True)
class Crowd(StillFunction):
    """A function with these very instances."""

    crowd: tuple[StillInstance, ...] = ()

    @property
    def instances(self) -> tuple[StillInstance, ...]:
        """As given."""
        return self.crowd


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
    view = StillFunction(counts, 1, shares=(0.54,), memory=HasGpuState(Estimate(0.0, 1.0), 0.9, 1))
    scaling = HAS.scale(view)
    assert state(scaling).estimate.rps == pytest.approx(72.8)
    assert (scaling.target, state(scaling).quota) == (1, 1.0)


def test_throughput_is_that_profiled_at_the_limit() -> None:
    """4 in 0.04 s are 100 rps at the limit, whatever it is at the request: 0.9 of it serve 89.1 rps."""
    crowd = (StillInstance(quota=0.6, service_s=0.1, fastest_s=0.04),)
    assert at_rate(83, 1, 1.0, view=Crowd((83,) * 10, 1, crowd=crowd)).target == 1
    assert at_rate(84, 1, 1.0, view=Crowd((84,) * 10, 1, crowd=crowd)).target == 2
    half = (dataclasses.replace(crowd[0], quota=0.3),)
    step = at_rate(48, 1, 0.5, view=Crowd((48,) * 10, 1, crowd=half))
    assert step.share == pytest.approx(0.36), "54.1: the 9.1 beyond 45 are one step of 10"


# ---------------------------------------------------------------------------------------------- full rows


@pytest.mark.parametrize(
    ("rate", "quota", "shares", "share", "target"),
    [
        (29, 1.0, (0.30,), 0.60, 1),  # predicts 35.1, below 0.9 * 40
        (40, 1.0, (0.30,), 0.60, 2),  # 46.1: the 10.1 beyond 36 take one more of 40
        (100, 1.0, (0.30,), 0.60, 3),  # 70.1 take two more
        (90, 1.0, (0.60, 0.12), 0.60, 3),  # 96.1: 9.7 beyond 0.9 * 96 take one more of 48
        (30, 0.5, (0.24,), 0.30, 2),  # 36.1: 7.3 beyond 0.9 * 32; the quota would have room up to 1
        (30, 0.5, (0.264,), 0.30, 2),  # 0.06 less than wanted is a full row
        (30, 0.5, (0.276,), 0.36, 1),  # 0.04 less is not: 3.0 beyond 0.9 * 36.8 take one step
    ],
)
def test_where_rows_are_full_instances_are_added_at_once(
    rate: int, quota: float, shares: tuple[float, ...], share: float, target: int
) -> None:
    """Capacity is what instances have; half a step less than wanted, and more quota would not help."""
    scaling = at_rate(rate, len(shares), quota, of={"shares": shares})
    assert (scaling.share, scaling.target) == (pytest.approx(share), target)


@given(
    rate=st.integers(0, 2000),
    live=st.integers(1, 8),
    tenths=st.tuples(st.integers(1, 10), st.integers(1, 10)).filter(lambda pair: pair[0] != pair[1]),
)
def test_full_rows_add_no_more_instances_than_they_must(
    rate: int, live: int, tenths: tuple[int, int]
) -> None:
    """New ones are taken to get what the others have: they cover what is missing, one less would not."""
    granted, quota = min(tenths) / 10, max(tenths) / 10
    scaling = at_rate(rate, live, quota, of={"shares": (granted * 0.6,) * live})
    each_rps = granted * FULL_RPS
    missing_rps = state(scaling).estimate.rps - 0.9 * live * each_rps
    if missing_rps > 0.0:
        assert state(scaling).quota == quota
        assert (scaling.target - live) * each_rps >= missing_rps - 1e-6
        assert (scaling.target - live - 1) * each_rps < missing_rps
    else:
        assert scaling.target <= live


def test_full_rows_hold_up_scaling_down() -> None:
    """Wanting 1 and having half, 0.3 of 40 rps count: 16.1 stay, 11.1 leave 24.9 to spare, three steps."""
    assert at_rate(10, 1, 1.0, of={"shares": (0.3,)}).share == pytest.approx(0.6)
    assert at_rate(5, 1, 1.0, of={"shares": (0.3,)}).share == pytest.approx(0.42)


def test_an_instance_that_starts_up_counts_as_it_will_be() -> None:
    """Its quota is its request until it is ready, but it is to have 1: two serve 136.1 of 160 rps."""
    starts = (StillInstance(0, quota=0.6), StillInstance(1, quota=0.3, ready=False))
    started = (StillInstance(0, quota=0.6), StillInstance(1, quota=0.3))
    assert at_rate(130, 2, 1.0, view=Crowd((130,) * 10, 2, crowd=starts)).target == 2
    assert at_rate(130, 2, 1.0, view=Crowd((130,) * 10, 2, crowd=started)).target == 3


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


# ---------------------------------------------------------------------------------------------- SLO


@pytest.mark.parametrize(
    ("slo_s", "lowest"),
    [(math.inf, 0.1), (1.0, 0.1), (0.99, 0.2), (0.4, 0.3), (0.2, 0.5), (0.101, 1.0), (0.05, 1.0)],
)
def test_quotas_do_not_fall_below_half_of_the_slo(slo_s: float, lowest: float) -> None:
    """A batch of 0.05 s at the limit takes 0.05 s / quota; the first tenth that keeps it within half."""
    first = HAS.scale(StillFunction((30,), 1, shares=(0.01,), slo_s=slo_s))
    assert state(first).quota == lowest
    assert first.share == pytest.approx(lowest * 0.6)
    down = at_rate(0, 1, 1.0, of={"slo_s": slo_s})
    assert state(down).quota == max(lowest, 0.2), "eight steps to spare"


def test_the_part_of_the_slo_and_the_slowest_instance_set_the_least_quota() -> None:
    """The whole SLO of 0.2 s allows 0.3 for 0.05 s; an instance of 0.07 s at its limit needs 0.7 of half."""
    whole = HasGpuScaling(slo_fraction=1.0)
    assert state(at_rate(0, 1, 1.0, policy=whole, of={"slo_s": 0.2})).quota == 0.3
    crowd = (StillInstance(0, quota=0.6), StillInstance(1, quota=0.6, fastest_s=0.07))
    assert state(at_rate(0, 2, 1.0, view=Crowd((0,) * 10, 2, crowd=crowd))).quota == 0.7


@pytest.mark.parametrize(
    ("rate", "quota", "target"),
    [
        (0, 0.5, 1),  # 6.1 of 0.9 * 160: 137.9 to spare are three of 40
        (0, 0.6, 1),  # 166.7 to spare: one step of 32, then three of 40
        (40, 0.6, 2),  # 46.1: 126.7 to spare: one step, then two
        (40, 0.7, 2),  # 155.5 to spare: two steps, then two
    ],
)
def test_instances_go_where_the_slo_keeps_quotas(rate: int, quota: float, target: int) -> None:
    """With an SLO of 0.2 s four instances stop at half, and give the rest back as instances."""
    scaling = at_rate(rate, 4, quota, of={"slo_s": 0.2})
    assert (state(scaling).quota, scaling.target) == (0.5, target)


def test_a_quota_too_low_for_the_slo_is_raised() -> None:
    """A tenth serves 6.1 of 8 rps, but not in 0.1 s."""
    assert at_rate(0, 1, 0.1, of={"slo_s": 0.2}).share == pytest.approx(0.3)
    assert at_rate(0, 1, 0.1).share == pytest.approx(0.06)


# ---------------------------------------------------------------------------------------------- views


def test_the_first_answer_adopts_the_quota_there_is() -> None:
    """The instances begin with what the vertical policy gave them; the answer names it."""
    assert HAS.scale(StillFunction((30,), 2, shares=(0.48, 0.3))).share == pytest.approx(0.48)
    assert HAS.scale(StillFunction((30,), 1, shares=(0.01,), slo_s=9.0)).share == pytest.approx(0.06)


def test_a_missing_instance_is_launched() -> None:
    """It always keeps one, also where the function's minimum is zero."""
    assert HAS.scale(StillFunction((0,), 0, 0)).target == 1
    assert HAS.scale(StillFunction((0,), 0, 2)).target == 2
    assert HAS.scale(StillFunction((0,), 1, 2)).target == 2


def test_without_a_ready_instance_nothing_is_decided() -> None:
    """The filter goes on, the rest waits."""
    starts = (StillInstance(ready=False),)
    scaling = at_rate(300, 1, 1.0, view=Crowd((300,) * 10, 1, crowd=starts))
    assert (scaling.target, scaling.until_s) == (1, 12.0)
    assert state(scaling).estimate.rps > 305.0


def test_between_ticks_the_decision_stands() -> None:
    """An extra question gets the same answer, whatever has come meanwhile."""
    due = at_rate(70, 1, 1.0)
    assert (due.target, due.until_s, due.above, due.below) == (2, 12.0, math.inf, -math.inf)
    later = StillFunction((70,) * 10 + (900,), 2, shares=(0.6, 0.3), slo_s=math.inf, memory=due.memory)
    assert HAS.scale(later) == due


# ---------------------------------------------------------------------------------------------- rest


def test_a_silent_function_comes_to_rest_on_little() -> None:
    """From a busy minute to silence: quotas fall, instances go, and then nobody needs to ask."""
    answers = replay(HAS, (300,) * 60 + (0,) * 200, least=1, every_second=False)
    last_s, last = answers[-1]
    assert (last.share, last.until_s, last.above) == (pytest.approx(0.06), math.inf, 0.0)
    assert last.target == 2, "16 rps, of which the filter's 6.1 are more than 0.3"
    assert last_s < 150


def test_a_silent_function_comes_to_rest_on_what_its_slo_needs() -> None:
    """With an SLO of 0.2 s that is one instance at half."""
    last_s, last = replay(HAS, (300,) * 60 + (0,) * 200, least=1, every_second=False, slo_s=0.2)[-1]
    assert (last.share, last.until_s, last.target) == (pytest.approx(0.3), math.inf, 1)
    assert last_s < 150


@given(
    quota_live=st.sampled_from([(0.1, 1), (0.1, 2), (0.2, 1)]),
    left=st.lists(st.floats(0.0, 1.0), min_size=2, max_size=2),
    seconds=st.integers(10, 60),
)
def test_rest_holds_for_whatever_quota_neighbours_leave(
    quota_live: tuple[float, int], left: list[float], seconds: int
) -> None:
    """From a tenth to all that is wanted: each later question of a silent function has the same answer."""
    quota, live = quota_live
    rested = at_rate(0, live, quota)
    assert (rested.until_s, rested.above, rested.target) == (math.inf, 0.0, live)
    shares = tuple(0.6 * (0.1 + part * (quota - 0.1)) for part in left[:live])
    later = StillFunction((0,) * seconds, live, shares=shares, slo_s=math.inf, memory=rested.memory)
    assert HAS.scale(later) == rested


def test_no_rest_where_neighbours_could_leave_too_little() -> None:
    """0.2 of 40 rps serve the filter's 6.1 and nothing changes, but a tenth would not: it is asked on."""
    slow = {"service_s": 0.2}
    now = at_rate(0, 1, 0.2, of=slow)
    assert (now.share, now.target, now.until_s) == (pytest.approx(0.12), 1, 12.0)
    squeezed = at_rate(0, 1, 0.2, of=slow | {"shares": (0.06,)})
    assert squeezed.target == 2, "2.5 rps beyond 0.9 * 4"


def test_a_long_step_does_not_promise_more_than_the_request() -> None:
    """All of 11.4 rps serve the filter's 6.1, but a full row leaves no more than the request, half."""
    whole = HasGpuScaling(step=1.0)
    slow = {"service_s": 0.7}
    assert at_rate(0, 1, 1.0, policy=whole, of=slow).until_s == 12.0
    assert at_rate(0, 1, 1.0, policy=whole, of=slow | {"shares": (0.3,)}).target == 2
    assert at_rate(0, 1, 1.0, policy=whole, of={"service_s": 0.5}).until_s == math.inf


def test_a_quiet_function_that_would_change_is_not_at_rest() -> None:
    """Settled on silence with more than it needs: it is asked until it may scale down."""
    assert at_rate(0, 1, 1.0, lowered_s=5.0).until_s == 12.0
    assert at_rate(0, 1, 0.1).until_s == math.inf


def test_rest_is_found_at_a_tick_once_the_filter_has_settled() -> None:
    """Neither between ticks nor while the filter still remembers more than silence."""
    silence = HAS._silent_estimate()
    settled = HasGpuState(silence, 0.5, 1, due_s=12.0)
    assert HAS.scale(StillFunction((0,) * 11, 1, memory=settled)).until_s == 12.0
    assert HAS.scale(StillFunction((0,) * 12, 1, memory=settled)).until_s == math.inf
    remembers = settled._replace(estimate=Estimate(6.5, silence.variance))
    assert HAS.scale(StillFunction((0,) * 12, 1, memory=remembers)).until_s == 14.0


def replay(
    policy: HasGpuScaling,
    rates: Sequence[int],
    *,
    least: int,
    every_second: bool,
    left: Sequence[float] = (1.0,),
    **of: Any,
) -> list[tuple[int, Scaling]]:
    """Poll along per-second rates, with launches that succeed at once; return the seconds and answers.

    Instances have what was wanted last, up to the part of the limit that neighbours have `left` that second.
    """
    counts, live, band, wanted = tuple(rates), max(least, 1), Scaling(least), 0.3
    of = {"slo_s": math.inf} | of
    answers = []
    for second, rate in enumerate(counts, start=1):
        if every_second or rate > band.above or rate < band.below or second >= band.until_s:
            shares = (min(wanted, 0.6 * left[second % len(left)]),) * live
            view = StillFunction(counts[:second], live, least, shares=shares, memory=band.memory, **of)
            band = policy.scale(view)
            assert band.share is not None
            wanted = band.share
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


@given(
    policy=POLICIES,
    rates=SERIES,
    least=st.integers(0, 3),
    left=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=7),
    of=st.fixed_dictionaries(
        {"service_s": st.sampled_from([0.05, 0.1, 0.2, 0.7]), "slo_s": st.sampled_from([0.2, 0.8, math.inf])}
    ),
)
def test_has_gpus_promise_is_kept(
    policy: HasGpuScaling, rates: list[int], least: int, left: list[float], of: dict[str, float]
) -> None:
    """Asked every second or only as it says, it wants the same instances and shares at the same times.

    Meanwhile neighbours come and go; they leave a step, or the request where that is less.
    """
    floor = min(policy.step, 0.5)
    parts = [floor + part * (1.0 - floor) for part in left]
    asked = replay(policy, rates, least=least, every_second=False, left=parts, **of)
    polled = replay(policy, rates, least=least, every_second=True, left=parts, **of)
    assert changes(asked) == changes(polled)
    assert len(asked) <= len(polled)


@given(policy=POLICIES, rates=SERIES, least=st.integers(0, 3), slo_s=st.sampled_from([0.2, 0.4, math.inf]))
def test_quotas_and_instances_stay_in_bounds(
    policy: HasGpuScaling, rates: list[int], least: int, slo_s: float
) -> None:
    """At least one instance and the minimum; a share of a step and for the SLO, and at most the limit."""
    lowest = max(policy.step, 0.05 / (0.5 * slo_s))
    for _, answer in replay(policy, rates, least=least, every_second=False, slo_s=slo_s):
        assert answer.target >= max(least, 1)
        assert answer.share is not None
        assert lowest * 0.6 - 1e-9 <= answer.share <= 0.6 + 1e-9


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
    answers = replay(HAS, (30,) * 40 + (60,) * 60, least=1, every_second=False)
    assert {answer.target for _, answer in answers} == {1}
    assert answers[-1][1].share == pytest.approx(0.6)


def test_a_surge_in_a_full_row_is_met_by_instances() -> None:
    """The same, but neighbours leave half the row: a second instance is launched and shares stay."""
    answers = replay(HAS, (30,) * 40 + (60,) * 60, least=1, every_second=False, left=(0.5,))
    assert answers[-1][1].target == 2
    assert scaling_actions(HAS, (30,) * 40 + (60,) * 60)[-1][1] == 2


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"down": 0.9}, "down: found 0.9, allowed are fractions from 0 below `up`, 0.9"),
        ({"step": 0.0}, "step: found 0.0, allowed are fractions above 0 up to 1"),
        ({"slo_fraction": 0.0}, "slo_fraction: found 0.0, allowed are fractions above 0 up to 1"),
        ({"measurement_variance": 0.0}, "measurement_variance: found 0.0, allowed are numbers above 0"),
    ],
)
def test_impossible_constants_of_has_gpu_are_refused(constants: dict[str, float], message: str) -> None:
    """The message says what was found and what is allowed."""
    with pytest.raises(PolicyError, match=message):
        HasGpuScaling(**constants)  # type: ignore[arg-type]
