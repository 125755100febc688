"""`dilu validate`: hold the simulated world against the real one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from rich.text import Text

from analysis.agreement import Agreement
from dilu.help_text import examples
from dilu.progress import ProgressBars
from dilu.table import plain_table, show
from experiments.validation import (
    Demand,
    InterruptedValidation,
    JudgedSystem,
    PathAgreement,
    Row,
    Validation,
    parse_tolerances,
    validate_experiment,
)
from profiles import load_catalog
from realgpu.calibration import calibrate
from realgpu.workers.protocol import BackendName

FOLDER = click.Path(path_type=Path)

PROFILES: Final = "profiles"
"""Where the profiles lie that were measured first."""

CALIBRATE_FOR_S: Final = 120.0
"""Enough for three models on a core. Assumed."""

MOST_CAUSES = 5
"""Causes that are printed; the others are in validation.json."""


@click.command(
    epilog=examples(
        "dilu validate validation-mix-1 --out runs/validation",
        "dilu validate one-gpu --system dilu --backend cpu --tolerance p95=20% --out runs/cpu",
        "dilu validate validation-mix-2 --backend cuda --profiles h100/ --repeats 5 --out runs/h100",
    )
)
@click.argument("experiment")
@click.option(
    "--backend",
    type=click.Choice(["virtual", "cpu", "cuda"]),
    default="virtual",
    show_default=True,
    help="What the real world's processes do: let the profiled time pass, run small models on this machine's "
    "cores, or the real ones on its GPUs.",
)
@click.option(
    "--system", "systems", multiple=True, metavar="NAME", help="Run this system (repeatable), or all."
)
@click.option(
    "--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Runs in each world."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    help="Seed of the first repeat; others count on from it.",
)
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a value by its path (repeatable)."
)
@click.option(
    "--tolerance",
    "tolerances",
    multiple=True,
    metavar="METRIC=VALUE",
    help="What its error may be, such as p95=10% or svr=0.02, or p95=none (repeatable).",
)
@click.option("--profiles", type=FOLDER, metavar="DIR", help="Profiles of both worlds, not the experiment's.")
@click.option(
    "--calibrate-for",
    "calibrate_for_s",
    type=click.FloatRange(min=0.0),
    default=CALIBRATE_FOR_S,
    show_default=True,
    metavar="S",
    help="Seconds for measuring the models first, where workers compute and the profiles at hand were not "
    "measured so. 0: use the profiles as they are.",
)
@click.option("--out", type=FOLDER, metavar="DIR", required=True, help="Where results go, new or empty.")
def validate(
    experiment: str,
    backend: BackendName,
    systems: tuple[str, ...],
    repeats: int,
    seed: int | None,
    changes: tuple[str, ...],
    tolerances: tuple[str, ...],
    profiles: Path | None,
    calibrate_for_s: float,
    out: Path,
) -> None:
    """Run EXPERIMENT in both worlds on the same arrivals, and report the error of each metric.

    The error is the simulator's: positive where it says more than the real world. Writes validation.json,
    .csv and .png, and the runs. Exits with 1 if a metric is out of tolerance.
    """
    allowed = parse_tolerances(backend, tolerances)
    try:
        with ProgressBars() as bars:

            def measure(demands: Sequence[Demand]) -> Path:
                """Calibrate the models beside the results."""
                models = [f"{demand.model}:{demand.job}" for demand in demands]
                report = calibrate(
                    backend,
                    models,
                    out=out / PROFILES,
                    base=load_catalog(profiles),
                    budget_s=calibrate_for_s,
                    progress=bars.calibration,
                )
                return report.catalog

            validation = validate_experiment(
                experiment,
                out=out,
                tolerances=allowed,
                backend=backend,
                repeats=repeats,
                seed=seed,
                systems=systems,
                changes=changes,
                profiles=profiles,
                calibrate=measure if calibrate_for_s > 0.0 else None,
                progress=bars.system,
            )
    except InterruptedValidation as interrupted:
        if interrupted.kept is not None:
            _report(interrupted.kept)
        raise
    _report(validation)
    if missed := validation.missed:
        (system, row), more = missed[0], len(missed) - 1
        others = f" and {more} more are" if more else " is"
        click.echo(f"dilu: {system}: {_named(row.agreement)}{others} out of tolerance", err=True)
        raise click.exceptions.Exit(1)


def _report(validation: Validation) -> None:
    """Print a table a system, why it missed what it missed, and where the results are."""
    for note in validation.notes:
        click.echo(f"Note: {note}\n")
    for system in validation.systems:
        _show_system(system)
    if any(row.conclusive is False for system in validation.systems for row in system.rows):
        click.echo("?: the 95 % interval reaches across what is allowed; more repeats may tell.\n")
    causes = _causes(validation)
    for cause in causes[:MOST_CAUSES]:
        click.echo(cause)
    if len(causes) > MOST_CAUSES:
        click.echo(f"... and {len(causes) - MOST_CAUSES} more in validation.json")
    state = "" if validation.complete else " (incomplete)"
    click.echo(f"\nResults: {validation.path}{state}")


def _causes(validation: Validation) -> list[str]:
    """Return the likely causes of what is out of tolerance, each once with all that it explains."""
    found: dict[str, list[str]] = {}
    for system, row in validation.missed:
        whose = "" if row.agreement.function is None else f"{row.agreement.function}: "
        explained = found.setdefault(f"{system}: {whose}{row.cause}", [])
        if row.agreement.measure.label not in explained:
            explained.append(row.agreement.measure.label)
    return [f"{cause} ({', '.join(explained)})" for cause, explained in found.items()]


def _show_system(system: JudgedSystem) -> None:
    table = plain_table()
    table.add_column(Text(f"{system.system} (n = {len(system.pairs)})"))
    for heading in ("sim", "real", "error", "|error|", "allowed", "verdict"):
        table.add_column(heading, justify="right")
    for row in system.rows:
        if _matters(row):
            table.add_row(Text(_named(row.agreement)), *map(Text, _cells(row)))
    show(table)
    for path in system.paths:
        if path.absolute or path.correlation is not None:
            click.echo(f"quota of {path.function} {path.order}: {_apart(path)}")
    click.echo()


def _apart(path: PathAgreement) -> str:
    """Say how far two paths of a quota are apart."""
    half = "" if path.half_width is None else f" \N{PLUS-MINUS SIGN} {path.half_width:.4f}"
    together = "" if path.correlation is None else f", correlation {path.correlation:.3f}"
    return f"{path.absolute:.4f}{half} of the GPU apart in the mean{together}"


def _matters(row: Row) -> bool:
    """Leave out what is 0 in both worlds and judged by nobody, such as starts that nobody made."""
    one = row.agreement
    return row.verdict is not None or one.sim_mean != 0.0 or one.real_mean != 0.0


def _named(agreement: Agreement) -> str:
    measure = agreement.measure
    unit = f" [{measure.unit}]" if measure.unit else ""
    return f"{agreement.function or 'all'}: {measure.label}{unit}"


def _cells(row: Row) -> list[str]:
    one, measure = row.agreement, row.agreement.measure

    def value(found: float | None) -> str:
        return "-" if found is None else f"{found * measure.scale:,.{measure.digits}f}"

    def error(found: float | None, sign: str = "") -> str:
        return "-" if found is None else f"{found * measure.error_scale:{sign}.2f}"

    unit = {"points": " pt", "starts": ""}.get(measure.error_unit, " %")
    half = "" if one.half_width is None else f" \N{PLUS-MINUS SIGN} {error(one.half_width)}"
    verdict = row.verdict or ""
    return [
        value(one.sim_mean),
        value(one.real_mean),
        "-" if one.mean_error is None else error(one.mean_error, "+") + half + unit,
        error(one.absolute_error),
        error(row.tolerance),
        f"{verdict} ?" if row.verdict is not None and row.conclusive is False else verdict,
    ]
