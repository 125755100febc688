"""`dilu size`: which batch, request and limit a model gets, by each sizing method."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

import click
from rich.text import Text

from dilu.help_text import examples
from dilu.provenance import profile_line
from dilu.table import plain_table, show
from policies import Function, Size
from policies.sizing import DiluSizing, GpuletSizing, InflessSizing, SizingError, TraversalSizing
from profiles import Measure, ModelProfile, ProfileError, load_catalog
from realgpu.calibration.on_device import device_measure
from realgpu.workers.protocol import BackendName

METHODS: Final[dict[str, Callable[[Function, Measure], Size]]] = {
    "hgss": DiluSizing().size,
    "traversal": TraversalSizing().size,
    "gpulet": GpuletSizing().size,
    "infless": InflessSizing().size,
}


@click.command(
    epilog=examples(
        "dilu size resnet152",
        "dilu size llama2-7b --slo 0.1 --method hgss --method traversal",
        "dilu size bert-base --training",
        "dilu size resnet152 --backend cuda --method hgss",
    )
)
@click.argument("model")
@click.option(
    "--method", "methods", type=click.Choice(list(METHODS)), multiple=True, help="Only this (repeatable)."
)
@click.option(
    "--slo", "slo_s", type=float, metavar="S", help="SLO in seconds; of an LLM for each output token."
)
@click.option("--training", is_flag=True, help="Size training of the model instead of serving it.")
@click.option("--profiles", type=click.Path(path_type=Path), metavar="DIR", help="Other profiles.")
@click.option(
    "--backend",
    type=click.Choice(["virtual", "cpu", "cuda"]),
    help="Measure on this host instead of asking the profiles: workers that let the profiled time pass, the "
    "small model on a core, or the GPU.",
)
def size(
    model: str,
    methods: tuple[str, ...],
    slo_s: float | None,
    training: bool,
    profiles: Path | None,
    backend: BackendName | None,
) -> None:
    """Size MODEL: batch, request and limit by each method, and how many measurements that took.

    Efficacy is requests per second for each percent of a GPU's SMs. All methods size training alike, by
    bisection. What one method has measured on a host is a trial of the next one too, but not done again.
    """
    if slo_s is not None and not 0 < slo_s < math.inf:
        raise click.UsageError(f"--slo: found {slo_s}, allowed are seconds above 0")
    methods = methods or tuple(METHODS)
    catalog = load_catalog(profiles)
    profile = catalog.model(model)
    function = _function(profile, slo_s, training)
    chosen = {"bisection": METHODS["hgss"]} if training else {name: METHODS[name] for name in methods}
    table = plain_table()
    table.add_column("method")
    for heading in ("batch", "request", "limit", "trials", "latency [ms]", "req/s", "efficacy"):
        table.add_column(Text("steps/s" if training and heading == "req/s" else heading), justify="right")
    failures = []
    with _measure(backend, profile, function) as measure:
        for name, method in chosen.items():
            try:
                found = method(function, measure)
            except SizingError as error:
                failures.append(error)
                table.add_row(name, "no size meets the SLO")
            else:
                table.add_row(name, *_cells(function, measure, found))
    if len(failures) == len(chosen):
        raise failures[0]
    show(table)
    if backend is None:
        click.echo(f"\n{profile_line(catalog, [model])}")
    else:
        click.echo(f"\nMeasured on this host, backend {backend}.")


def _measure(
    backend: BackendName | None, profile: ModelProfile, function: Function
) -> AbstractContextManager[Measure]:
    """Return what is measured: the profile, or the model on this host."""
    if backend is None:
        return nullcontext(profile.measurement(function.kind))
    return device_measure(backend, profile, function.kind)


def _function(profile: ModelProfile, slo_s: float | None, training: bool) -> Function:
    """Make a function of the model, as a deployment would."""
    if not training:
        return Function(
            name=profile.name,
            kind=profile.kind,
            model=profile,
            memory_bytes=profile.memory_bytes,
            slo_s=profile.slo_s if slo_s is None else slo_s,
            output_tokens=profile.output_tokens,
        )
    if slo_s is not None:
        raise click.UsageError("--slo: training has no SLO")
    if profile.training is None:
        raise ProfileError(f"{profile.name}: its profile has no training")
    return Function(
        name=profile.name,
        kind="training",
        model=profile,
        memory_bytes=profile.training.memory_bytes,
        workers=profile.training.workers,
    )


def _cells(function: Function, measure: Measure, found: Size) -> list[str]:
    seconds = measure(found.batch, found.request)
    rate = found.batch / (seconds * function.output_tokens)
    return [
        str(found.batch),
        f"{found.request:.2f}",
        f"{found.limit:.2f}",
        str(found.trials),
        f"{seconds * 1e3:.1f}",
        f"{rate:.1f}",
        f"{rate / (found.request * 100):.2f}",
    ]
