import pickle
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import LatencySurface, Point, ProfileError, load_catalog, surface

SURFACES = [model.latency for model in load_catalog().models.values()]

surfaces = st.sampled_from(SURFACES)
batches = st.integers(1, 64)
shares = st.floats(0.01, 1.0)


def a_surface(**changes: float) -> LatencySurface:
    """Return a plausible surface with some coefficients changed."""
    coefficients = {"l0_s": 0.02, "f1_s": 0.001, "w1_s": 0.0005, "w0_s": 0.002, "g": 3.0} | changes
    return LatencySurface(**coefficients)  # type: ignore[arg-type]


@given(surfaces, batches, shares, shares)
def test_latency_falls_with_the_share(latency: LatencySurface, batch: int, one: float, other: float) -> None:
    """More SMs never make a batch slower."""
    less, more = sorted((one, other))
    assert latency.seconds(batch, more) <= latency.seconds(batch, less)


@given(surfaces, batches, batches, shares)
def test_latency_grows_with_the_batch(latency: LatencySurface, one: int, other: int, share: float) -> None:
    """A larger batch never takes less time on the same share."""
    smaller, larger = sorted((one, other))
    assert latency.seconds(smaller, share) <= latency.seconds(larger, share)


@given(surfaces, batches, shares)
def test_latency_lies_between_the_larger_part_and_the_sum(
    latency: LatencySurface, batch: int, share: float
) -> None:
    """A smooth maximum is at least the maximum of its parts, and at most their sum."""
    floor_s = latency.l0_s + latency.f1_s * batch
    work_s = (latency.w1_s * batch + latency.w0_s) / share
    nanosecond = 1e-9
    assert max(floor_s, work_s) - nanosecond <= latency.seconds(batch, share) <= floor_s + work_s + nanosecond


def test_the_formula_is_evaluated_as_written() -> None:
    """One value, computed by hand: at g = 1 the two parts add."""
    assert a_surface(g=1.0).seconds(4, 0.5) == pytest.approx(0.02 + 0.004 + (0.002 + 0.002) / 0.5)


def test_answers_are_whole_nanoseconds() -> None:
    """Rounding hides the last bits of a machine's mathematics library."""
    seconds = a_surface().seconds(3, 0.37)
    assert seconds == round(seconds, 9)


def test_the_memory_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory forgets at its limit, and an answer is the same before and after."""
    monkeypatch.setattr(surface, "MEMO_LIMIT", 10)
    latency = a_surface()
    before = latency.seconds(1, 0.5)
    for hundredth in range(1, 100):
        latency.seconds(2, hundredth / 100)
        assert len(latency._memo) <= 10
    assert latency.seconds(1, 0.5) == before


def test_a_rounding_error_above_one_is_still_the_whole_gpu() -> None:
    """A sum of shares may end a hair above 1."""
    latency = a_surface()
    assert latency.seconds(2, 1.0 + 1e-12) == latency.seconds(2, 1.0)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_impossible_shares_are_refused(share: float) -> None:
    """A share outside (0, 1] has no latency."""
    with pytest.raises(ProfileError, match="share: found"):
        a_surface().seconds(1, share)


def test_an_empty_batch_is_refused() -> None:
    """A batch has at least one request."""
    with pytest.raises(ProfileError, match="batch: found 0"):
        a_surface().seconds(0, 0.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"l0_s": -0.1},
        {"w1_s": float("nan")},
        {"g": 0.5},
        {"g": float("inf")},
        {"l0_s": 0.0, "w1_s": 0.0, "w0_s": 0.0},
    ],
)
def test_impossible_coefficients_are_refused(changes: dict[str, float]) -> None:
    """Negative or infinite times, and a batch that takes none, are refused by the name of the field."""
    with pytest.raises(ProfileError, match=next(iter(changes))):
        a_surface(**changes)


def test_impossible_ranges_are_refused() -> None:
    """The range of the fit is ordered, and lies within what can be asked."""
    with pytest.raises(ProfileError, match="batches: found"):
        LatencySurface(0.02, 0.0, 0.001, 0.0, 2.0, batches=(8, 4))
    with pytest.raises(ProfileError, match="shares: found"):
        LatencySurface(0.02, 0.0, 0.001, 0.0, 2.0, shares=(0.0, 1.0))


def test_raw_points_are_found_on_their_grid_only() -> None:
    """A measurement is returned exactly where it was made, rounding errors of the share aside."""
    latency = LatencySurface(0.02, 0.0, 0.001, 0.0, 2.0, points=(Point(4, 0.3, 0.0252),))
    assert latency.measured(4, 0.1 + 0.2) == 0.0252
    assert latency.measured(4, 0.31) is None
    assert latency.measured(5, 0.3) is None


def test_inside_tells_interpolation_from_extrapolation() -> None:
    """The range includes its ends."""
    latency = LatencySurface(0.02, 0.0, 0.001, 0.0, 2.0, batches=(1, 32), shares=(0.1, 1.0))
    assert latency.inside(1, 0.1)
    assert latency.inside(32, 1.0)
    assert not latency.inside(33, 0.5)
    assert not latency.inside(4, 0.05)


def test_the_outermost_questions_beyond_the_range_are_remembered() -> None:
    """Of all questions outside the fitted range the furthest on each side is told, and none from inside."""
    latency = LatencySurface(0.02, 0.0, 0.001, 0.0, 2.0, batches=(2, 32), shares=(0.1, 0.8))
    for batch, share in ((2, 0.1), (32, 0.8), (8, 0.1 - 1e-12)):
        latency.seconds(batch, share)
    assert latency.extrapolation() is None
    for batch, share in ((2, 0.05), (2, 0.02), (2, 0.03), (40, 0.5), (33, 0.9), (1, 1.0), (2, 0.02)):
        latency.seconds(batch, share)
    assert latency.extrapolation() == (
        "asked for batches down to 1, fitted from 2 and for batches up to 40, fitted up to 32 "
        "and for shares down to 0.02, fitted from 0.1 and for shares up to 1, fitted up to 0.8"
    )


def test_what_was_asked_is_no_part_of_a_surface() -> None:
    """Extrapolating changes neither equality nor the bytes it is sent as, and forgetting forgets."""
    asked, fresh = a_surface(), a_surface()
    asked.seconds(100, 0.001)
    assert asked.extrapolation() is not None
    assert asked == fresh
    assert hash(asked) == hash(fresh)
    assert pickle.dumps(asked) == pickle.dumps(fresh)
    assert pickle.loads(pickle.dumps(asked)).extrapolation() is None
    asked.forget()
    assert asked.extrapolation() is None
    asked.seconds(100, 0.001)
    assert asked.extrapolation() is not None


@pytest.mark.parametrize("covariance", [((1.0,) * 5,) * 4, ((1.0,) * 4,) * 5, ((float("nan"),) * 5,) * 5])
def test_an_impossible_covariance_is_refused(covariance: tuple[tuple[float, ...], ...]) -> None:
    """Five coefficients have five rows of five finite numbers."""
    with pytest.raises(ProfileError, match="covariance: found"):
        LatencySurface(0.02, 0.001, 0.0005, 0.002, 3.0, covariance=covariance)


def test_a_surface_pickles_without_its_memory() -> None:
    """What another process receives is equal, and the same bytes whatever was asked before."""
    latency = a_surface()
    fresh = pickle.dumps(latency)
    latency.seconds(4, 0.5)
    assert pickle.dumps(latency) == fresh
    assert pickle.loads(fresh) == latency


def test_a_surface_cannot_be_changed() -> None:
    """Assigning a coefficient fails: remembered answers would be wrong."""
    with pytest.raises(FrozenInstanceError):
        a_surface().g = 2.0  # type: ignore[misc]
