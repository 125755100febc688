"""`dilu traces synthesize`: a trace to the measure of Azure Functions."""

from __future__ import annotations

from pathlib import Path

import click

from dilu.help_text import examples
from dilu.progress import ProgressBars
from dilu.traces.convert import check_out
from traces import synthesize_azure, write_trace


@click.command(
    epilog=examples(
        "dilu traces synthesize azure.parquet --functions 500 --hours 24 --seed 1",
        "dilu traces synthesize busy.parquet --functions 200 --hours 8 --start-hour 8 --invoked-only",
    )
)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--functions", type=click.IntRange(min=1), default=500, show_default=True, metavar="N")
@click.option(
    "--hours", type=float, default=24.0, show_default=True, metavar="H", help="Length of the window."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N")
@click.option(
    "--population",
    type=click.Choice(["platform", "released"]),
    default="platform",
    show_default=True,
    help="All that was measured, or the subset made public.",
)
@click.option(
    "--start-hour", type=float, default=0.0, show_default=True, metavar="H", help="Hours after Monday 00:00."
)
@click.option("--max-rate", "max_rate_rps", type=float, metavar="RPS", help="No function with a higher rate.")
@click.option("--invoked-only", is_flag=True, help="Only functions with a request in the window.")
def synthesize(
    out: Path,
    functions: int,
    hours: float,
    seed: int,
    population: str,
    start_hour: float,
    max_rate_rps: float | None,
    invoked_only: bool,
) -> None:
    """Write a trace to OUT that has the published statistics of Azure Functions.

    Rates, triggers, timers, gaps between invocations, the shape of day and week, execution times and memory
    are those of Shahrad et al., Serverless in the Wild, ATC 2020.
    """
    check_out(out)
    with ProgressBars() as bars:
        trace = synthesize_azure(
            functions,
            hours,
            seed=seed,
            population="released" if population == "released" else "platform",
            start_hour=start_hour,
            max_rate_rps=max_rate_rps,
            invoked_only=invoked_only,
            progress=bars.functions,
        )
    write_trace(out, trace)
    click.echo(f"{out}: {len(trace):,} requests of {len(trace.functions):,} functions")
