"""`dilu traces inspect`: what a trace is like, on one screen."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from dilu.help_text import examples
from dilu.table import PIPE_WIDTH, plain_table, show
from dilu.traces.given import GivenTrace, formats_and_transforms, read_given, reading_options
from traces import TraceError, TraceStatistics, describe

_SCALES = (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0))
_LONGEST_NAME = 40


@click.command(
    epilog=examples(
        "dilu traces inspect AzureLLMInferenceTrace_conv.csv",
        "dilu traces inspect azure_functions_2019/ --option sample=sample500 --plot sample500.png",
        "dilu traces inspect conversation_trace.jsonl.gz --option ticks=keep --json",
    )
    + "\n\n"
    + formats_and_transforms()
)
@click.argument("path")
@reading_options
@click.option("--plot", type=click.Path(path_type=Path), metavar="PNG", help="Draw it as well.")
@click.option("--json", "as_json", is_flag=True, help="Print the statistics as JSON.")
def inspect(
    path: str,
    format_name: str | None,
    options: tuple[str, ...],
    steps: tuple[str, ...],
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Show what the trace at PATH is like: rates, bursts, classes of functions, tokens, and warnings.

    PATH is a file or folder, or the name of a public trace that was fetched.
    """
    if plot is not None and plot.suffix != ".png":
        raise TraceError("allowed is a name that ends in .png", path=plot)
    given = read_given(path, format_name, options, steps, seed)
    statistics = describe(given.trace)
    if plot is not None:
        from traces.plot import plot_trace  # Matplotlib is slow to import

        plot_trace(given.trace, plot, statistics=statistics)
    if as_json:
        account = {"path": str(given.path), "format": given.format.name, **statistics.as_json()}
        click.echo(json.dumps(account | {"provenance": given.trace.provenance}, indent=2))
        return
    _screen(given, statistics)
    if plot is not None:
        click.echo(f"\nPicture: {plot}")


def _screen(given: GivenTrace, statistics: TraceStatistics) -> None:
    click.echo(f"{given.path} ({given.format.name})")
    provenance = given.trace.provenance
    about = [str(provenance[key]) for key in ("source", "citation", "licence") if provenance.get(key)]
    click.echo(textwrap.fill("; ".join(about), PIPE_WIDTH, break_on_hyphens=False) + "\n")
    show(_numbers(statistics))
    if statistics.functions > 1:
        click.echo()
        show(_classes(statistics))
        click.echo()
        show(_top(statistics))
    if statistics.input_tokens is not None or statistics.output_tokens is not None:
        click.echo()
        show(_tokens(statistics))
    if statistics.warnings:
        click.echo()
    for warning in statistics.warnings:
        click.echo(textwrap.fill(f"! {warning}", PIPE_WIDTH, subsequent_indent="  ", break_on_hyphens=False))


def _numbers(statistics: TraceStatistics) -> Table:
    s = statistics
    pairs = [
        ("requests", f"{s.requests:,}"),
        ("functions", f"{s.functions:,}" + (f" ({s.empty_functions:,} idle)" if s.empty_functions else "")),
        ("first to last request", _time(s.span_s)),
        ("window", _time(s.duration_s)),
        ("mean rate [req/s]", _number(s.mean_rps)),
        ("peak minute / mean", _number(s.peak_minute_over_mean)),
        ("peak second / mean", _number(s.peak_second_over_mean)),
        ("Fano factor, 1 s", _number(s.fano_1s)),
        ("Fano factor, 60 s", _number(s.fano_60s)),
        ("CV of gaps", _number(s.iat_cv)),
        ("CV of a function's gaps, median", _number(s.iat_cv_median)),
        ("functions with a CV above 1", _percent(s.iat_cv_above_one)),
    ]
    if s.functions == 1:
        pairs[-2:] = [("class", s.classes[0])]
    half = (len(pairs) + 1) // 2
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "left", "right"):
        table.add_column(justify=justify)
    for at in range(half):
        right = pairs[half + at] if half + at < len(pairs) else ("", "")
        table.add_row(*(Text(cell) for cell in (*pairs[at], "   " + right[0], right[1])))
    return table


def _classes(statistics: TraceStatistics) -> Table:
    table = plain_table()
    for heading, justify in (("class", "left"), ("functions", "right"), ("requests", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for name, share in statistics.class_functions.items():
        table.add_row(name, _percent(share), _percent(statistics.class_requests[name]))
    return table


def _top(statistics: TraceStatistics) -> Table:
    table = plain_table()
    for heading, justify in (
        ("most requested", "left"),
        ("requests", "right"),
        ("share", "right"),
        ("class", "left"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for function in statistics.top:
        name = function.name
        name = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."
        table.add_row(Text(name), f"{function.requests:,}", _percent(function.share), function.function_class)
    for first, share in statistics.top_share.items():
        if len(statistics.top) < first < statistics.functions:
            table.add_row(f"the first {first}", "", _percent(share), "")
    return table


def _tokens(statistics: TraceStatistics) -> Table:
    table = plain_table()
    table.add_column("tokens of a request")
    for heading in ("p50", "p95", "p99", "max", "mean"):
        table.add_column(heading, justify="right")
    for name, tokens in (("input", statistics.input_tokens), ("output", statistics.output_tokens)):
        if tokens is not None:
            values = (tokens.p50, tokens.p95, tokens.p99, tokens.max, tokens.mean)
            table.add_row(name, *(f"{value:,.0f}" for value in values))
    return table


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _time(seconds: float) -> str:
    """Show a time in seconds, and in a larger unit where that tells more."""
    text = f"{seconds:,.2f}".rstrip("0").rstrip(".") + " s"
    larger = next(((unit, size) for unit, size in _SCALES if seconds >= 2 * size), None)
    return text if larger is None else f"{text} ({seconds / larger[1]:.1f} {larger[0]})"
