"""`dilu traces convert`: any trace to the project's own form."""

from __future__ import annotations

from pathlib import Path

import click

from dilu.help_text import examples
from dilu.traces.given import formats_and_transforms, read_given, reading_options
from traces import TraceError, write_trace


@click.command(
    epilog=examples(
        "dilu traces convert azure_functions_2019/ azure.parquet --option sample=sample500 --apply top=50",
        "dilu traces convert conversation_trace.jsonl.gz kimi.parquet --option ticks=keep",
    )
    + "\n\n"
    + formats_and_transforms()
)
@click.argument("path")
@click.argument("out", type=click.Path(path_type=Path))
@reading_options
def convert(
    path: str,
    out: Path,
    format_name: str | None,
    options: tuple[str, ...],
    steps: tuple[str, ...],
    seed: int,
) -> None:
    """Read the trace at PATH, transform it, and write it to OUT as Parquet.

    PATH is a file or folder, or the name of a public trace that was fetched. OUT reads back as the very same
    trace, and tells in its provenance what was done.
    """
    check_out(out)
    given = read_given(path, format_name, options, steps, seed)
    write_trace(out, given.trace)
    trace = given.trace
    click.echo(f"{out}: {len(trace):,} requests of {len(trace.functions):,} functions")


def check_out(out: Path) -> None:
    """Refuse early what could not be written, or would be written over.

    Raises
    ------
    TraceError
        If the file is there already, is not to be Parquet, or its folder is missing.
    """
    if out.suffix != ".parquet":
        raise TraceError("allowed is a name that ends in .parquet", path=out)
    if out.exists() or out.is_symlink():
        raise TraceError("is there already; nothing was written", path=out)
    if not out.parent.is_dir():
        raise TraceError("its folder does not exist", path=out)
