"""What a calibration did, and how well it knows what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from profiles import HeldOut, Measurement, ModelProfile
from realgpu.calibration.failures import Failure
from realgpu.workers.protocol import Job


@dataclass(frozen=True, slots=True)
class FitReport:
    """How well a model's job is known.

    Attributes
    ----------
    points, held_out_points
        Places that were measured, and how many of them were not fitted.
    grid
        Places there are.
    mean_error, max_error
        Relative error of the fit at the points it was made of.
    held_out_mean_error, held_out_max_error
        That at the others; `None` where there are none.
    share_by
        How shares were realised.
    """

    model: str
    job: Job
    points: int
    held_out_points: int
    grid: int
    mean_error: float
    max_error: float
    held_out_mean_error: float | None
    held_out_max_error: float | None
    share_by: str


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What a calibration did.

    Attributes
    ----------
    catalog
        Directory of the catalog.
    device
        What is known of the device.
    fits
        How well each model's jobs are known.
    seconds
        What it took.
    new_points
        How many measurements of this call are in it; the others were there before.
    failures
        What failed, of earlier calls too.
    skipped
        What there was no time for, and why.
    notes
        What else a reader should know.
    """

    catalog: Path
    device: dict[str, Any]
    fits: tuple[FitReport, ...]
    seconds: float
    new_points: int
    failures: tuple[Failure, ...]
    skipped: dict[str, str]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self) | {"catalog": str(self.catalog)}

    def lines(self) -> list[str]:
        """Return it as a table, and what was left out, a line each."""
        head = f"{'model':<16}{'job':<7}{'points':>9}{'fit error':>11}{'held out':>16}  share by"
        rows = [
            f"{fit.model:<16}{fit.job:<7}{f'{fit.points}/{fit.grid}':>9}{fit.mean_error:>11.1%}"
            f"{_held_out(fit):>16}  {fit.share_by}"
            for fit in self.fits
        ]
        failures = [f"failed ({one.kind}): {one.model}: {one.reason}" for one in self.failures]
        skipped = [f"left out: {what}: {why}" for what, why in self.skipped.items()]
        return [head, *rows, *failures, *skipped, *(f"note: {note}" for note in self.notes)]


def fit_reports(
    models: Sequence[ModelProfile], measurements: Sequence[Measurement], grid: int, shares: int
) -> tuple[FitReport, ...]:
    """Return how well the jobs of models are known that were measured and fitted.

    Parameters
    ----------
    grid, shares
        Places of a surface, and of a curve of training.
    """
    ways: dict[tuple[str, str], dict[str, None]] = {}
    for one in measurements:
        if one.neighbour is None:
            ways.setdefault((one.model, one.job), {})[one.share_by] = None
    found = []
    for model in models:
        curve = model.training.step if model.training is not None else None
        jobs: tuple[tuple[Job, Any, int], ...] = (("serve", model.latency, grid), ("train", curve, shares))
        for job, fit, places in jobs:
            if fit is None or (model.name, job) not in ways or fit.fit_mean_error is None:
                continue
            held_out: HeldOut | None = fit.held_out
            found.append(
                FitReport(
                    model=model.name,
                    job=job,
                    points=len(fit.points),
                    held_out_points=held_out.points if held_out is not None else 0,
                    grid=places,
                    mean_error=fit.fit_mean_error,
                    max_error=fit.fit_max_error,
                    held_out_mean_error=held_out.mean_error if held_out is not None else None,
                    held_out_max_error=held_out.max_error if held_out is not None else None,
                    share_by="+".join(ways[model.name, job]),
                )
            )
    return tuple(found)


def _held_out(fit: FitReport) -> str:
    if fit.held_out_mean_error is None:
        return "-"
    return f"{fit.held_out_mean_error:.1%} of {fit.held_out_points}"
