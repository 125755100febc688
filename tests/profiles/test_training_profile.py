import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import HeldOut, ProfileError, StepCurve, TrainingProfile, load_catalog, training

TRAININGS = [model.training for model in load_catalog().models.values() if model.training is not None]
shares = st.floats(0.01, 1.0)


@given(st.sampled_from(TRAININGS), shares, shares)
def test_a_step_gets_faster_with_the_share(profile: TrainingProfile, one: float, other: float) -> None:
    """More SMs never make a step slower."""
    less, more = sorted((one, other))
    assert profile.step_s(more) <= profile.step_s(less)


@given(st.sampled_from(TRAININGS), shares)
def test_a_share_costs_at_most_in_proportion(profile: TrainingProfile, share: float) -> None:
    """Half the SMs take at most twice as long: returns diminish, they never grow."""
    assert profile.step_s(share) <= profile.step_s(1.0) / share + 2e-9


def test_serial_parts_add() -> None:
    """At g = 1 the floor and the work follow each other."""
    assert StepCurve(0.1, 0.2, 1.0).seconds(0.5) == pytest.approx(0.1 + 0.2 / 0.5)


def test_measure_ignores_the_batch() -> None:
    """The batch of a training is fixed; sizing may ask with any."""
    profile = TRAININGS[0]
    assert profile.measure(1, 0.5) == profile.measure(7, 0.5) == profile.step_s(0.5)


@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_impossible_shares_of_a_step_are_refused(share: float) -> None:
    """A share outside (0, 1] has no step time."""
    with pytest.raises(ProfileError, match="share: found"):
        StepCurve(0.1, 0.2, 2.0).seconds(share)


@pytest.mark.parametrize(("floor_s", "work_s", "g"), [(-1.0, 0.2, 2.0), (0.1, 0.0, 2.0), (0.1, 0.2, 0.0)])
def test_impossible_curves_are_refused(floor_s: float, work_s: float, g: float) -> None:
    """A negative floor, no work, or a sharpness below 1 describes no training."""
    with pytest.raises(ProfileError, match="allowed are"):
        StepCurve(floor_s, work_s, g)


def test_a_curve_says_what_was_asked_beyond_its_range() -> None:
    """One that was fitted remembers the smallest share outside; one that was not has no outside."""
    fitted = StepCurve(0.1, 0.2, 2.0, shares=(0.2, 1.0))
    for share in (0.2, 1.0, 0.1, 0.15):
        fitted.seconds(share)
    assert fitted.extrapolation() == "asked for shares down to 0.1, fitted from 0.2"
    fitted.forget()
    assert fitted.extrapolation() is None
    assumed = StepCurve(0.1, 0.2, 2.0)
    assumed.seconds(0.01)
    assert assumed.extrapolation() is None


def test_impossible_ranges_of_a_curve_are_refused() -> None:
    """The range of the fit is ordered and lies in (0, 1], and three coefficients have three rows."""
    with pytest.raises(ProfileError, match=r"shares: found \[0\.5, 0\.2\]"):
        StepCurve(0.1, 0.2, 2.0, shares=(0.5, 0.2))
    with pytest.raises(ProfileError, match="covariance: found"):
        StepCurve(0.1, 0.2, 2.0, covariance=((1.0,) * 5,) * 5)


def test_a_curve_pickles_without_its_memory() -> None:
    """The bytes do not depend on what was asked before."""
    curve = StepCurve(0.1, 0.2, 2.0, shares=(0.6, 1.0), held_out=HeldOut(1, 0.1, 0.1))
    fresh = pickle.dumps(curve)
    curve.seconds(0.5)
    assert pickle.dumps(curve) == fresh
    assert pickle.loads(fresh) == curve


def test_the_memory_of_a_curve_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory forgets at its limit."""
    monkeypatch.setattr(training, "MEMO_LIMIT", 10)
    curve = StepCurve(0.1, 0.2, 2.0)
    for hundredth in range(1, 100):
        curve.seconds(hundredth / 100)
        assert len(curve._memo) <= 10
