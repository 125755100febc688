"""`dilu calibrate`: measure models on this host, and write their profiles."""

from __future__ import annotations

import math
from pathlib import Path

import click

from dilu.help_text import examples
from dilu.progress import ProgressBars
from dilu.table import plain_table, show
from profiles import Catalog, compare_catalogs, load_catalog, summarise
from realgpu.calibration import CalibrationReport, calibrate
from realgpu.calibration.calibrate import ShareBy
from realgpu.workers.protocol import BackendName

FOLDER = click.Path(path_type=Path)


@click.command(
    "calibrate",
    epilog=examples(
        "dilu calibrate --backend cuda --models resnet152,bert-base:serve --budget 540 --out h100/",
        "dilu calibrate --backend cpu --models bert-base --out cpu/",
        "dilu calibrate --out h100/ --backend cuda --budget 0 --against profiles/data/a100-40gb",
    ),
)
@click.option(
    "--backend",
    type=click.Choice(["virtual", "cpu", "cuda"]),
    default="virtual",
    show_default=True,
    help="What is measured: workers that let the profiled time pass, small models on a core, or the GPU.",
)
@click.option(
    "--models",
    "models",
    multiple=True,
    metavar="MODEL[:JOB],...",
    help="Most valuable first; JOB is serve or train, both if left out. Default: all of the base profiles.",
)
@click.option("--budget", "budget_s", type=float, metavar="S", help="Seconds it may take.")
@click.option(
    "--share-by", type=click.Choice(["mps", "gate"]), help="For cuda, how a share is realised. [default: mps]"
)
@click.option("--profiles", "base", type=FOLDER, metavar="DIR", help="What is not measured comes from here.")
@click.option("--against", type=FOLDER, metavar="DIR", help="Compare the result with these profiles.")
@click.option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Of weights and inputs.")
@click.option(
    "--out", type=FOLDER, required=True, metavar="DIR", help="Where the profiles go; resumed if there."
)
def calibrate_verb(
    backend: BackendName,
    models: tuple[str, ...],
    budget_s: float | None,
    share_by: ShareBy | None,
    base: Path | None,
    against: Path | None,
    seed: int,
    out: Path,
) -> None:
    """Measure what models cost on this host, and write profiles that experiments can use.

    Every measurement is written at once: called again with the same DIR, or after Ctrl-C, it goes on where it
    was. DIR gets a file and a picture a model, the raw measurements, and what is known of the device.
    """
    if budget_s is not None and not 0.0 <= budget_s < math.inf:
        raise click.UsageError(f"--budget: found {budget_s}, allowed are seconds from 0")
    rest = load_catalog(base)
    other = None if against is None else load_catalog(against)
    named = [name for text in models for name in text.split(",") if name] or list(rest.models)
    for name in named:
        rest.model(name.partition(":")[0])  # an unknown one is bad input, not a fault of this host
    with ProgressBars() as bars:
        report = calibrate(
            backend,
            named,
            out=out,
            base=rest,
            budget_s=budget_s,
            share_by=share_by,
            seed=seed,
            progress=bars.calibration,
        )
    _show(report)
    found = load_catalog(report.catalog)
    _draw(found, report)
    if other is not None:
        _show_difference(found, other)
    click.echo(f"\nProfiles: {report.catalog}")


def _show(report: CalibrationReport) -> None:
    """Print how well each model's jobs are known, and what is missing."""
    table = plain_table()
    table.add_column("model")
    table.add_column("job")
    for heading in ("points", "of", "error mean", "max", "held out", "error mean", "max"):
        table.add_column(heading, justify="right")
    table.add_column("share by")
    for fit in report.fits:
        table.add_row(
            fit.model,
            fit.job,
            str(fit.points),
            str(fit.grid),
            f"{fit.mean_error:.1%}",
            f"{fit.max_error:.1%}",
            str(fit.held_out_points),
            _share(fit.held_out_mean_error),
            _share(fit.held_out_max_error),
            fit.share_by,
        )
    show(table)
    for failure in report.failures:
        where = f"{failure.model} {failure.job}, batch {failure.batch}, share {failure.share:g}"
        click.echo(f"Failed ({failure.kind}): {where}: {failure.reason}")
    for what, why in report.skipped.items():
        click.echo(f"Left out: {what}: {why}")
    for note in report.notes:
        click.echo(f"Note: {note}")


def _share(error: float | None) -> str:
    return "-" if error is None else f"{error:.1%}"


def _draw(catalog: Catalog, report: CalibrationReport) -> None:
    """Draw what was fitted, a picture a model beside its profile."""
    from profiles.plot import plot_profile  # Matplotlib takes long to load

    for name in dict.fromkeys(fit.model for fit in report.fits):
        plot_profile(catalog.model(name), report.catalog / f"{name}.png")


def _show_difference(found: Catalog, other: Catalog) -> None:
    """Print how the new profiles compare with others."""
    table = plain_table()
    for heading in ("model", "quantity"):
        table.add_column(heading)
    for heading in ("median ratio", "worst ratio", "at batch", "share"):
        table.add_column(heading, justify="right")
    for row in summarise(compare_catalogs(found, other)):
        table.add_row(
            row.model,
            row.quantity,
            f"{row.median_ratio:.2f}",
            f"{row.worst_ratio:.2f}",
            "-" if row.batch is None else str(row.batch),
            "-" if row.share is None else f"{row.share:g}",
        )
    click.echo(f"\n{found.gpu.name} over {other.gpu.name}:")
    show(table)
