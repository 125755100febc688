#!/usr/bin/env python3
"""Fit every profile that has raw points again, and compare with what its file says.

Prints a table: coefficients, the error over the points that were fitted and over those that were held out,
the largest standard error that the surface has in its range, and what ended at a bound of the fit. With
`--write`, puts what differs into the files: those of a measured catalog, one with device.json, are written
anew, the others keep their comments. With `--figures`, draws each profile.

    python scripts/fit_profiles.py [DIRECTORY] [--write] [--figures FOLDER]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from profiles import Catalog, ModelProfile, ProfileError, draft_of, load_catalog, write_catalog
from profiles.catalog import SHIPPED
from profiles.fit import (
    StepFit,
    SurfaceFit,
    fit_step_curve,
    fit_surface,
    step_curve_from_points,
    surface_from_points,
)
from profiles.uncertainty import prediction_error, step_prediction_error

COEFFICIENTS = ("l0_s", "f1_s", "w1_s", "w0_s", "g")


@dataclass(frozen=True)
class Line:
    """A fit of a model, and whether its file says the same."""

    model: str
    fit: SurfaceFit | StepFit
    standard_error: float
    same: bool


def main() -> int:
    """Fit, print, and write and draw if asked to; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", nargs="?", type=Path, default=SHIPPED, help="catalog (default: shipped)")
    parser.add_argument("--write", action="store_true", help="put the result into the files")
    parser.add_argument("--figures", type=Path, metavar="FOLDER", help="draw each profile as FOLDER/NAME.png")
    arguments = parser.parse_args()
    try:
        catalog = load_catalog(arguments.directory)
        lines = show(catalog)
        if arguments.write and not all(line.same for line in lines):
            write(arguments.directory, catalog, lines)
            catalog = load_catalog(arguments.directory)
    except ProfileError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.figures is not None:
        from profiles.plot import plot_profile  # only here: Matplotlib takes long to load

        arguments.figures.mkdir(parents=True, exist_ok=True)
        for name, model in catalog.models.items():
            plot_profile(model, arguments.figures / f"{name}.png")
    return 0


def show(catalog: Catalog) -> list[Line]:
    """Print the table, and return its lines that hold a fit."""
    print(f"{'model':<24}{'L0 ms':>8}{'f1 ms':>8}{'w1 ms':>8}{'w0 ms':>8}{'g':>7}", end="")
    print(f"{'mean':>8}{'max':>8}{'held out':>10}{'std err':>9}  file")
    lines = []
    for model in catalog.models.values():
        found = list(fits(model))
        if not model.latency.points:
            print(f"{model.name:<24}no raw points")
        for line in found:
            print(written(line))
        lines += found
    return lines


def fits(model: ModelProfile) -> Iterator[Line]:
    """Fit what has points: the surface, and the step of the training."""
    latency = model.latency
    if latency.points:
        fit = fit_surface(latency.points)
        grid = [(batch, share) for batch, share, *_ in latency.points]
        error = max(prediction_error(fit, batch, share) for batch, share in grid)
        same = all(getattr(fit, name) == getattr(latency, name) for name in COEFFICIENTS)
        errors = (fit.mean_error, fit.max_error, fit.held_out)
        same = same and errors == (latency.fit_mean_error, latency.fit_max_error, latency.held_out)
        yield Line(model.name, fit, error, same)
    if model.training is not None and model.training.step.points:
        step = model.training.step
        curve = fit_step_curve(step.points)
        error = max(step_prediction_error(curve, point.share) for point in step.points)
        yield Line(f"{model.name} training", curve, error, step_curve_from_points(step.points) == step)


def written(line: Line) -> str:
    """Return a line of the table."""
    fit = line.fit
    if isinstance(fit, SurfaceFit):
        seconds = (fit.l0_s, fit.f1_s, fit.w1_s, fit.w0_s)
    else:
        seconds = (fit.floor_s, 0.0, 0.0, fit.work_s)
    milliseconds = "".join(f"{1e3 * s:8.3f}" for s in seconds)
    held_out = f"{fit.held_out.mean_error:10.1%}" if fit.held_out is not None else f"{'-':>10}"
    bounds = f", at a bound: {', '.join(fit.at_bound)}" if fit.at_bound else ""
    errors = f"{fit.mean_error:8.1%}{fit.max_error:8.1%}{held_out}{line.standard_error:9.1%}"
    return f"{line.model:<24}{milliseconds}{fit.g:7.2f}{errors}  {'same' if line.same else 'differs'}{bounds}"


def write(directory: Path, catalog: Catalog, lines: list[Line]) -> None:
    """Put the fits into the files of a catalog."""
    if catalog.device is not None:
        refitted = tuple(refit(model) for model in catalog.models.values())
        write_catalog(directory, replace(draft_of(catalog), models=refitted), overwrite=True)
        return
    for line in lines:
        if not line.same and isinstance(line.fit, SurfaceFit):
            edit(directory / f"{line.model}.yaml", line.fit)
        elif not line.same:
            raise ProfileError(
                f"{directory}: found points of a training without device.json, write it by hand"
            )


def refit(model: ModelProfile) -> ModelProfile:
    """Return a profile with its fits made anew, and nothing else changed."""
    if model.latency.points:
        model = replace(model, latency=surface_from_points(model.latency.points))
    if (training := model.training) is not None and training.step.points:
        model = replace(model, training=replace(training, step=step_curve_from_points(training.step.points)))
    return model


def edit(path: Path, fit: SurfaceFit) -> None:
    """Replace the values of the latency section, which are plain lines; comments and origins stay."""
    head, mark, rest = path.read_text(encoding="utf-8").partition("\nslo_s:")
    for key in (*COEFFICIENTS, "mean_error", "max_error"):
        head, found = re.subn(rf"(?m)^(  {key}:).*$", rf"\1 {getattr(fit, key):.9f}".rstrip("0"), head)
        if found != 1:
            raise ProfileError(f"{path}: latency.{key}: found {found} lines, expected one")
    path.write_text(head + mark + rest, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
