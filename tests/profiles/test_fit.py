from dataclasses import asdict

import pytest

from profiles import LatencySurface, ModelProfile, Point, ProfileError, load_catalog
from profiles.fit import fit_surface, surface_from_points

FITTED = [model for model in load_catalog().models.values() if model.latency.points]
PUBLISHED_MEAN_ERROR = {
    "resnet152": 0.049,
    "roberta-large": 0.039,
    "gpt2-large": 0.049,
    "bert-base": 0.017,
    "llama2-7b": 0.029,
}
"""Mean relative error of an independent fit of the same family to the same points."""


def test_every_published_table_is_fitted() -> None:
    """The models with raw points are exactly those with a known error to beat."""
    assert {model.name for model in FITTED} == set(PUBLISHED_MEAN_ERROR)


@pytest.mark.parametrize("model", FITTED, ids=lambda model: model.name)
def test_a_new_fit_gives_the_shipped_coefficients(model: ModelProfile) -> None:
    """The shipped coefficients are what the points say, not what somebody typed."""
    fit = asdict(fit_surface(model.latency.points))
    shipped = model.latency
    for key in ("l0_s", "f1_s", "w1_s", "w0_s", "g"):
        assert getattr(shipped, key) == pytest.approx(fit[key], rel=1e-3, abs=1e-6), key
    assert shipped.fit_mean_error == pytest.approx(fit["mean_error"], abs=1e-4)
    assert shipped.fit_max_error == pytest.approx(fit["max_error"], abs=1e-3)


@pytest.mark.parametrize("model", FITTED, ids=lambda model: model.name)
def test_the_shipped_error_is_the_surface_s_own(model: ModelProfile) -> None:
    """The error in the file is what `seconds` misses the points by, and no worse than the known fit's."""
    errors = [
        abs(model.latency.seconds(point.batch, point.share) / point.seconds - 1.0)
        for point in model.latency.points
    ]
    assert model.latency.fit_mean_error == pytest.approx(sum(errors) / len(errors), abs=1e-4)
    assert model.latency.fit_max_error == pytest.approx(max(errors), abs=1e-4)
    assert sum(errors) / len(errors) <= PUBLISHED_MEAN_ERROR[model.name] + 5e-5


def test_a_fit_recovers_the_surface_behind_exact_points() -> None:
    """Points drawn from a surface give that surface back."""
    truth = LatencySurface(0.02, 0.001, 0.0025, 0.003, 3.0)
    points = [
        Point(batch, share, truth.seconds(batch, share))
        for batch in (1, 2, 4, 8, 16, 32)
        for share in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    ]
    found = surface_from_points(points)
    assert found.fit_max_error is not None
    assert found.fit_max_error < 1e-3
    assert found.w1_s == pytest.approx(truth.w1_s, rel=1e-2)
    assert (found.batches, found.shares, found.points) == ((1, 32), (0.1, 1.0), tuple(points))


def test_one_outlier_does_not_move_the_fit() -> None:
    """A single run that took twice as long leaves the rest within two percent."""
    truth = LatencySurface(0.02, 0.001, 0.0025, 0.003, 3.0)
    points = [
        Point(batch, share, truth.seconds(batch, share) * (2.0 if (batch, share) == (4, 0.4) else 1.0))
        for batch in (1, 2, 4, 8, 16, 32)
        for share in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    ]
    found = surface_from_points(points)
    assert found.seconds(8, 0.4) == pytest.approx(truth.seconds(8, 0.4), rel=0.02)


def test_too_few_points_are_refused() -> None:
    """Five coefficients need points at several batches and shares."""
    with pytest.raises(ProfileError, match="points: found 3"):
        fit_surface([Point(1, 0.1, 0.1), Point(2, 0.2, 0.1), Point(4, 0.4, 0.1)])
    with pytest.raises(ProfileError, match="2 batches"):
        fit_surface([Point(1, tenth / 10, 0.1) for tenth in range(1, 11)])
