"""Where a calibration measures next."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiles import LatencySurface, Point, ProfileError, load_catalog
from profiles.fit import fit_surface
from profiles.uncertainty import prediction_error
from realgpu.calibration.fits import surface_of
from realgpu.calibration.plan import (
    FEWEST_POINTS,
    FITTED_A_HELD_OUT,
    Goal,
    Grid,
    Spot,
    doubt,
    first_spots,
    left_out_errors,
    next_point,
)

GRID = Grid((1, 2, 4, 8, 16, 32))
TRUE = LatencySurface(0.02, 0.0005, 0.0005, 0.0025, 3.0)
NEVER = Goal(0.0, 0.0, settled=-1.0)


def measured(grid: Grid, points: list[Point], table: dict[Spot, float], **options: object) -> list[Point]:
    """Follow the plan on a table, to its end or to so many points."""
    most = options.pop("most", len(grid.spots()))
    while len(points) < most and (wanted := next_point(grid, points, **options)) is not None:  # type: ignore[operator, arg-type]
        points = [*points, Point(*wanted.spot, table[wanted.spot], wanted.held_out)]
    return points


def table_of(surface: LatencySurface, grid: Grid, noise: float = 0.0, seed: int = 0) -> dict[Spot, float]:
    """What is measured of a surface."""
    rng = np.random.default_rng(seed)
    return {
        spot: surface.seconds(*spot) * float(np.exp(noise * rng.standard_normal())) for spot in grid.spots()
    }


def mean_error(fit: LatencySurface, table: dict[Spot, float]) -> float:
    """Mean relative error over a whole table."""
    return float(np.mean([abs(fit.seconds(*spot) / seconds - 1.0) for spot, seconds in table.items()]))


@pytest.mark.parametrize(
    ("name", "most", "worse"),
    [
        ("resnet152", 19, 1.15),
        ("bert-base", 17, 1.05),
        pytest.param("roberta-large", 17, 1.3, marks=pytest.mark.slow),
        pytest.param("gpt2-large", 18, 1.1, marks=pytest.mark.slow),
        pytest.param("llama2-7b", 17, 1.2, marks=pytest.mark.slow),
    ],
)
def test_the_published_tables_need_a_third_of_their_points(name: str, most: int, worse: float) -> None:
    """On those of the A100 the plan ends with 17 to 19 of 60 points, nearly as good as all of them.

    Over the whole table, that is: where a measurement of one run is 5 % off, more of them are no help.
    """
    points = load_catalog().model(name).latency.points
    table = {Spot(point.batch, round(point.share, 6)): point.seconds for point in points}
    grid = Grid(tuple(sorted({point.batch for point in points})))
    chosen = measured(grid, [], table)
    assert len(chosen) <= most
    assert mean_error(surface_of(chosen), table) <= worse * fit_surface(points).mean_error


def test_a_true_surface_is_known_after_a_few_points() -> None:
    """Without noise the plan ends as soon as it has held out enough, and the surface is right."""
    table = table_of(TRUE, GRID)
    chosen = measured(GRID, [], table)
    assert len(chosen) == FEWEST_POINTS + 3 + 2 * FITTED_A_HELD_OUT
    assert mean_error(surface_of(chosen), table) < 0.005


def test_the_first_points_span_the_grid() -> None:
    """Corners and middle come first, and never one that is held out; they are enough for a fit."""
    spots = first_spots(GRID)
    assert len(spots) == FEWEST_POINTS
    assert {Spot(1, 0.1), Spot(1, 1.0), Spot(32, 0.1), Spot(32, 1.0)} < set(spots)
    chosen = measured(GRID, [], table_of(TRUE, GRID), goal=NEVER, most=6)
    assert [Spot(point.batch, point.share) for point in chosen] == list(spots)
    assert not any(point.held_out for point in chosen)


def test_every_fifth_point_is_held_out_far_from_all_others() -> None:
    """The score costs a fifth, and is of places that nothing was fitted near."""
    chosen = measured(GRID, [], table_of(TRUE, GRID), goal=NEVER, most=22)
    held_out = [place for place, point in enumerate(chosen) if point.held_out]
    assert held_out == [6, 11, 16, 21]
    first = chosen[6]
    others = GRID.place([Spot(point.batch, point.share) for point in chosen[:6]])
    here = GRID.place([Spot(first.batch, first.share)])
    nearest = np.sqrt(((others - here) ** 2).sum(axis=1)).min()
    assert nearest > 0.3  # of a side of the grid


def test_the_next_point_is_where_the_surface_is_known_worst() -> None:
    """By the covariance of the fit and by what the points nearby were foretold."""
    chosen = measured(GRID, [], table_of(TRUE, GRID, 0.05, seed=3), goal=NEVER, most=8)
    fit = surface_of(chosen)
    fitted = [point for point in chosen if not point.held_out]
    wanted = next_point(GRID, chosen, goal=NEVER)
    assert wanted is not None
    left = [spot for spot in GRID.spots() if spot not in {Spot(one.batch, one.share) for one in chosen}]
    doubts = doubt(GRID, fit, fitted, left)
    assert wanted.spot == left[int(np.argmax(doubts))]
    assert doubts.max() >= prediction_error(fit, *wanted.spot)


def test_a_point_that_does_not_fit_draws_others_near() -> None:
    """Where a measurement is far off what the others foretell, the doubt is larger than without it."""
    table = table_of(TRUE, GRID)
    chosen = measured(GRID, [], table, goal=NEVER, most=14)
    fitted = [point for point in chosen if not point.held_out]
    place = next(
        n for n, point in enumerate(fitted) if point.batch not in (1, 32) or point.share not in (0.1, 1.0)
    )
    bad = fitted[place]._replace(seconds=1.3 * fitted[place].seconds)
    worse = [bad if point == fitted[place] else point for point in fitted]
    near = Spot(bad.batch, min(GRID.shares, key=lambda share: abs(share - bad.share) or 1.0))
    before = doubt(GRID, surface_of(fitted), fitted, [near])
    after = doubt(GRID, surface_of(worse), worse, [near])
    assert after[0] > 5.0 * before[0]
    assert np.argmax(np.abs(left_out_errors(surface_of(worse), worse))) == place


def test_left_out_errors_are_those_of_fits_without_the_point() -> None:
    """Nearly, where noise is small."""
    chosen = measured(GRID, [], table_of(TRUE, GRID, 0.005, seed=1), goal=NEVER, most=14)
    fitted = [point for point in chosen if not point.held_out]
    quick = left_out_errors(surface_of(fitted), fitted)
    for place in (1, 7):
        rest = [point for number, point in enumerate(fitted) if number != place]
        point = fitted[place]
        slow = surface_of(rest).seconds(point.batch, point.share) / point.seconds - 1.0
        assert quick[place] == pytest.approx(slow, abs=0.006)


def test_a_surface_that_does_not_fit_is_settled() -> None:
    """More points of a shape that it cannot take do not change it: the plan ends before the grid does."""
    table = {
        spot: seconds * (1.15 if spot.batch == 4 else 1.0) for spot, seconds in table_of(TRUE, GRID).items()
    }
    chosen = measured(GRID, [], table, goal=Goal(prediction_error=0.0, settled=0.02))
    assert len(chosen) < 40


@settings(deadline=None, max_examples=10)
@given(
    st.sets(st.sampled_from(GRID.spots()), max_size=59),
    st.sets(st.sampled_from(GRID.spots()), max_size=30),
)
def test_what_was_measured_or_cannot_be_is_not_wanted(done: set[Spot], without: set[Spot]) -> None:
    """Whatever is there, the next place is a new one that can be measured, if there is any."""
    table = table_of(TRUE, GRID)
    points = [Point(*spot, table[spot]) for spot in sorted(done)]
    wanted = next_point(GRID, points, without=without, goal=NEVER)
    left = set(GRID.spots()) - done - without
    assert (wanted is None) == (not left)
    assert wanted is None or wanted.spot in left


@pytest.mark.parametrize(
    ("batches", "shares"), [((1,), (0.1, 0.5, 1.0)), ((1, 2), (0.1, 1.0)), ((2, 1), (0.1, 0.5, 1.0))]
)
def test_a_grid_that_no_surface_fits_is_refused(batches: tuple[int, ...], shares: tuple[float, ...]) -> None:
    """Two batches and three shares are the least, rising."""
    with pytest.raises(ProfileError, match=r"found \[.*\], allowed are"):
        Grid(batches, shares)
