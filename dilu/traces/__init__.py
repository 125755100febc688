"""`dilu traces`: look at traces, convert and make them, and get the public ones."""

from __future__ import annotations

import click

from dilu.help_text import examples
from dilu.traces.convert import convert
from dilu.traces.fetch import fetch
from dilu.traces.inspect import inspect
from dilu.traces.list import list_traces
from dilu.traces.synthesize import synthesize


@click.group(
    invoke_without_command=True,
    epilog=examples(
        "dilu traces list",
        "dilu traces inspect AzureLLMInferenceTrace_conv.csv --plot conversation.png",
        "dilu traces convert servegen-m-large monday.parquet --option clients=40 --apply top=20",
        "dilu traces synthesize azure.parquet --functions 500 --hours 24 --seed 1",
    ),
)
@click.pass_context
def traces(context: click.Context) -> None:
    """Look at traces, convert and make them, and get the public ones."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for verb in (list_traces, inspect, convert, synthesize, fetch):
    traces.add_command(verb)
