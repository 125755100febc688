"""`dilu traces fetch`: download a public trace."""

from __future__ import annotations

from pathlib import Path

import click

from dilu.help_text import examples
from dilu.progress import ProgressBars
from traces.public import fetch as fetch_trace
from traces.public import find_public_trace


@click.command(
    epilog=examples(
        "dilu traces fetch azure-llm-2023-conversation",
        "dilu replay azure-llm-conversation --trace azure-llm-2023-conversation",
    )
)
@click.argument("name")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to keep it, in a folder of its name; else in DILU_TRACES or the user's cache.",
)
def fetch(name: str, folder: Path | None) -> None:
    """Download the public trace NAME and verify it by its checksums.

    What is there already is not downloaded again. ATTRIBUTION.txt beside the files says whose they are.
    """
    trace = find_public_trace(name)
    with ProgressBars() as bars:
        place = fetch_trace(trace, folder, progress=bars.downloading)
    click.echo(f"{place}\n{trace.licence}: {trace.citation}")
