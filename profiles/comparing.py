"""Two catalogs side by side, value by value: what a new calibration changed, or another device costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from profiles.catalog import Catalog
from profiles.model import ModelProfile
from profiles.surface import LatencySurface
from profiles.training import StepCurve, TrainingProfile

GRID_SHARES = tuple(tenth / 10 for tenth in range(1, 11))
"""Shares where fits are compared that have no points: those of the profiles that Dilu published."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One quantity of one model in two catalogs.

    Attributes
    ----------
    model, quantity
        Which; `batch_s` and `step_s` are seconds of the fits, the others are named as in the profile.
    batch, share
        Where, for those that have a place.
    a, b, ratio
        The two values, and `b / a`; infinite where only `a` is 0.
    """

    model: str
    quantity: str
    batch: int | None
    share: float | None
    a: float
    b: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Summary:
    """How one quantity of one model differs over all the places it was compared at.

    Attributes
    ----------
    median_ratio, worst_ratio
        Ratio in the middle, and the one furthest from 1, up or down.
    batch, share
        Where the worst is.
    places
        How many were compared.
    """

    model: str
    quantity: str
    median_ratio: float
    worst_ratio: float
    batch: int | None
    share: float | None
    places: int


def compare_catalogs(a: Catalog, b: Catalog) -> list[Difference]:
    """Compare the models that two catalogs have in common.

    Fits are compared where both interpolate: at the batches and shares of the points of either inside the
    fitted range of both, or where neither has points at the ends of the common range and powers of two and
    tenths between.
    """
    rows: list[Difference] = []
    for name in a.models:
        if name in b.models:
            rows += _differences(a.models[name], b.models[name])
    return rows


def summarise(differences: Iterable[Difference]) -> list[Summary]:
    """Summarise differences by model and quantity, in the order they come."""
    groups: dict[tuple[str, str], list[Difference]] = {}
    for difference in differences:
        groups.setdefault((difference.model, difference.quantity), []).append(difference)
    return [_summary(model, quantity, rows) for (model, quantity), rows in groups.items()]


def _summary(model: str, quantity: str, rows: Sequence[Difference]) -> Summary:
    worst = max(rows, key=lambda row: abs(math.log(row.ratio)) if row.ratio > 0.0 else math.inf)
    middle = median(row.ratio for row in rows)
    return Summary(model, quantity, middle, worst.ratio, worst.batch, worst.share, len(rows))


def _differences(a: ModelProfile, b: ModelProfile) -> Iterator[Difference]:
    for batch, share in _surface_grid(a.latency, b.latency):
        seconds = a.latency.seconds(batch, share), b.latency.seconds(batch, share)
        yield _difference(a.name, "batch_s", *seconds, batch, share)
    for name in ("memory_bytes", "launches", "wave_s"):
        yield _difference(a.name, name, getattr(a, name), getattr(b, name))
    for name, seconds_a in a.startup.parts().items():
        yield _difference(a.name, f"startup.{name}_s", seconds_a, b.startup.parts()[name])
    if a.capacity is not None and b.capacity is not None and a.capacity.cost_model == b.capacity.cost_model:
        yield _difference(a.name, "capacity.cost_per_s", a.capacity.cost_per_s, b.capacity.cost_per_s)
    if a.training is not None and b.training is not None:
        yield from _training_differences(a.name, a.training, b.training)


def _training_differences(model: str, a: TrainingProfile, b: TrainingProfile) -> Iterator[Difference]:
    if a.batch == b.batch:
        for share in _step_grid(a.step, b.step):
            yield _difference(model, "step_s", a.step_s(share), b.step_s(share), a.batch, share)
    for name in ("memory_bytes", "launches", "wave_s"):
        yield _difference(model, f"training.{name}", getattr(a, name), getattr(b, name))


def _difference(
    model: str, quantity: str, a: float, b: float, batch: int | None = None, share: float | None = None
) -> Difference:
    ratio = b / a if a else (1.0 if not b else math.inf)
    return Difference(model, quantity, batch, share, a, b, ratio)


def _surface_grid(a: LatencySurface, b: LatencySurface) -> list[tuple[int, float]]:
    by_place = {(point.batch, round(point.share, 6)): point.share for point in (*a.points, *b.points)}
    points = {(batch, share) for (batch, _), share in by_place.items()}
    if not points:
        low, high = max(a.batches[0], b.batches[0]), min(a.batches[1], b.batches[1])
        batches = {low, high} | {2**power for power in range(low.bit_length() - 1, high.bit_length())}
        points = {(batch, share) for batch in batches for share in _common_shares(a.shares, b.shares)}
    return sorted(place for place in points if a.inside(*place) and b.inside(*place))


def _step_grid(a: StepCurve, b: StepCurve) -> list[float]:
    everywhere = (GRID_SHARES[0], 1.0)
    (low_a, high_a), (low_b, high_b) = a.shares or everywhere, b.shares or everywhere
    shares = {round(point.share, 6): point.share for point in (*a.points, *b.points)}
    if not shares:
        return _common_shares((low_a, high_a), (low_b, high_b))
    low, high = max(low_a, low_b), min(high_a, high_b)
    return sorted(share for share in shares.values() if low <= share <= high)


def _common_shares(a: tuple[float, float], b: tuple[float, float]) -> list[float]:
    low, high = max(a[0], b[0]), min(a[1], b[1])
    return sorted({low, high} | {share for share in GRID_SHARES if low < share < high}) if low <= high else []
