"""`dilu replay`: run an experiment."""

from __future__ import annotations

from pathlib import Path

import click

from dilu.help_text import examples
from dilu.progress import ProgressBars
from dilu.provenance import extrapolation_lines, profile_line
from dilu.table import comparison_table, show
from experiments import (
    Experiment,
    Interrupted,
    RunDirectory,
    load_experiment,
    run_experiment,
)
from experiments.worlds import WorldName
from realgpu.workers.protocol import BackendName
from recording import load_all

FILE = click.Path(path_type=Path)


@click.command(
    epilog=examples(
        "dilu replay",
        "dilu replay quickstart --system dilu --system exclusive --set cluster.nodes=8",
        "dilu replay --system dilu --system my_policy.py",
        "dilu replay --trace azure_functions_2019/ --system all --out runs/azure",
        "dilu replay one-gpu --world realgpu --backend cpu",
    )
)
@click.argument("experiment", required=False)
@click.option(
    "--system",
    "systems",
    multiple=True,
    metavar="NAME",
    help="Run this system (repeatable), or all; FILE.py:NAME or MODULE:NAME runs your own.",
)
@click.option("--trace", type=FILE, metavar="PATH", help="Trace to replay instead of the experiment's.")
@click.option(
    "--world",
    type=click.Choice(["sim", "realgpu"]),
    default="sim",
    show_default=True,
    help="Where it runs: simulated, or for real, in real time, with a process for each instance.",
)
@click.option(
    "--backend",
    type=click.Choice(["virtual", "cpu", "cuda"]),
    help="For realgpu: what the processes do. virtual (the default) lets the profiled time pass, cpu runs "
    "small models on this machine's cores, cuda the real ones on its NVIDIA GPUs.",
)
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Seed instead of the experiment's.")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a value by its path (repeatable)."
)
@click.option("--out", type=FILE, metavar="DIR", help="Run directory, new or empty.")
def replay(
    experiment: str | None,
    systems: tuple[str, ...],
    trace: Path | None,
    world: WorldName,
    backend: BackendName | None,
    seed: int | None,
    changes: tuple[str, ...],
    out: Path | None,
) -> None:
    """Run EXPERIMENT under its systems and compare them.

    EXPERIMENT is a YAML file or the name of a shipped one: `quickstart` if left out, `azure-functions` if a
    trace is given; `cluster-3200` and `openb` place instances alone. Results go to runs/EXPERIMENT-N or DIR:
    one folder a system, and comparison.csv.
    """
    if backend is not None and world == "sim":
        raise click.UsageError(f"--backend {backend}: is for --world realgpu")
    if experiment is None:
        experiment = "quickstart" if trace is None else "azure-functions"
    loaded = load_experiment(experiment, changes=changes, trace=trace, systems=systems, seed=seed)
    try:
        with ProgressBars() as bars:
            run = run_experiment(
                loaded,
                world=world,
                backend=backend or "virtual",
                out=out,
                progress=bars.system,
                reading=bars.reading,
            )
    except Interrupted as interrupted:
        if interrupted.kept is not None:
            _report(interrupted.kept, loaded)
        raise
    _report(run, loaded)


def _report(run: RunDirectory, experiment: Experiment) -> None:
    show(comparison_table(run.summaries))
    click.echo()
    manifests = {one.manifest.system: one.manifest for one in load_all(run.path)}
    functions = [function for manifest in manifests.values() for function in manifest.functions]
    if functions:
        models = [str(function.model_dump()["model"]) for function in functions]
        click.echo(profile_line(experiment.catalog, models))
    asked = {system: manifest.further["extrapolated"] for system, manifest in manifests.items()}
    for line in extrapolation_lines(asked):
        click.echo(line)
    click.echo(f"Results: {run.path}")
