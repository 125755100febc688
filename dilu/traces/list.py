"""`dilu traces list`: the public traces of the field."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.text import Text

from dilu.help_text import examples
from dilu.table import labelled, plain_table, show
from traces.public import PublicTrace, find_public_trace, local_path, public_traces

_LABEL_WIDTH = 10


@click.command("list", epilog=examples("dilu traces list", "dilu traces list burstgpt openb"))
@click.argument("names", nargs=-1, metavar="[NAME]...")
def list_traces(names: Sequence[str]) -> None:
    """List the public traces, or show those named: what they hold, origin, licence, citation.

    `here` says that one is on this machine, `fetch` that `dilu traces fetch NAME` gets it, `by hand` that its
    entry tells how to.
    """
    if names:
        click.echo("\n\n".join(_entry(find_public_trace(name)) for name in names))
        return
    table = plain_table()
    for heading in ("name", "format", "licence", "to get", "what"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("name", "format"))
    for trace in public_traces():
        cells = (trace.name, trace.format or "", trace.licence, _state(trace), trace.title)
        table.add_row(*(Text(cell) for cell in cells))
    show(table)


def _state(trace: PublicTrace) -> str:
    if local_path(trace) is not None:
        return "here"
    return "fetch" if trace.by_hand is None else "by hand"


def _entry(trace: PublicTrace) -> str:
    """Show all of a trace, wrapped."""
    place = local_path(trace)
    licence = " ".join(part for part in (trace.licence, trace.licence_url, trace.licence_note) if part)
    told = {
        "what": trace.what,
        "format": trace.format,
        "origin": trace.origin,
        "licence": licence,
        "cite": trace.citation,
        "changes": trace.changes,
        "to get": trace.by_hand or f"dilu traces fetch {trace.name}",
        "here": None if place is None else str(place),
    }
    return "\n".join(
        [
            f"{trace.name}: {trace.title}",
            *(labelled(key, text, _LABEL_WIDTH) for key, text in told.items() if text),
        ]
    )
