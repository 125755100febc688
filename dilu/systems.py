"""`dilu systems`: the named systems, and the start of one's own."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
import textwrap
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import click

from dilu.help_text import examples
from dilu.table import labelled
from experiments.own_policies import find, known_names
from policies import PolicyError, System

WIDTH = 100
SLOT_WIDTH = 14
TITLE_WIDTH = 38
"""At most; the source has what a line leaves."""

TEMPLATE = files("dilu") / "template" / "my_policy.py"


@click.command(
    epilog=examples(
        "dilu systems",
        "dilu systems dilu exclusive",
        "dilu systems --new my_policy.py",
        "dilu systems my_policy.py",
    )
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--new", type=click.Path(path_type=Path), metavar="FILE", help="Write the start of a policy of your own."
)
def systems(names: tuple[str, ...], new: Path | None) -> None:
    """List the systems, or show those named: source, what is modelled, and which policy fills each slot.

    NAME may lead to one of your own, as for dilu replay --system. A constant can be changed in an experiment:
    systems: [{system: dilu, config: {placement.gamma: 2.0}}].
    """
    if new is not None:
        if names:
            raise click.UsageError("--new: takes no NAME beside it")
        _start(new)
    elif names:
        click.echo("\n\n".join(_entry(find(name, [Path.cwd()]).system) for name in names))
    else:
        _list()


# ------------------------------------------------------------------------------------------------ showing


def _list() -> None:
    """Print a line a system; and on standard error a line for what an installed package offers in vain."""
    rows, broken = [], []
    for name in known_names():
        try:
            system = find(name, []).system
            rows.append((name, system.title, system.source))
        except PolicyError as error:
            broken.append(str(error))
    click.echo(_table(rows))
    click.echo(
        "\n`dilu systems NAME...` shows all of a system, `dilu systems --new FILE` starts one of your own."
    )
    for message in broken:
        click.echo(f"dilu: {message}", err=True)


def _table(rows: Sequence[tuple[str, str, str]]) -> str:
    name_width = max(len(name) for name, _, _ in rows)
    title_width = min(TITLE_WIDTH, max(len(title) for _, title, _ in rows))
    source_width = WIDTH - name_width - title_width - 4
    lines = [
        f"{name:<{name_width}}  {_cut(title, title_width):<{title_width}}  {_cut(source, source_width)}"
        for name, title, source in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cut(text: str, width: int) -> str:
    return textwrap.shorten(text, width, placeholder=" ...", break_on_hyphens=False)


def _entry(system: System) -> str:
    """Show all of a system, wrapped."""
    about = {"source": system.source, "modelled": system.modelled, "left out": system.left_out}
    told = {name: text for name, text in about.items() if text} | system.describe()
    return "\n".join(
        [f"{system.name}: {system.title}", *(labelled(name, text, SLOT_WIDTH) for name, text in told.items())]
    )


# --------------------------------------------------------------------------------------- one of your own


def _start(new: Path) -> None:
    """Write the template and say what to do with it."""
    stem = new.stem
    if new.suffix != ".py" or not stem.isidentifier():
        raise click.UsageError(f"--new: found {str(new)!r}, allowed is a name such as my_policy.py")
    if new.exists() or new.is_symlink():
        raise click.UsageError(f"--new: {new} is there already; nothing was written")
    if stem in sys.modules or importlib.util.find_spec(stem) is not None:
        raise click.UsageError(f"--new: {stem} is the name of an installed module; choose another")
    try:
        _write_new(new, TEMPLATE.read_bytes())
    except FileExistsError:
        raise click.UsageError(f"--new: {new} is there already; nothing was written") from None
    except OSError as error:
        raise click.UsageError(f"--new: {new} cannot be written ({error.strerror})") from None
    click.echo(f"{new} is a policy that works. Change it, then\n")
    click.echo(f"  python {shlex.quote(str(new))}")
    click.echo(f"  dilu replay --system dilu --system {shlex.quote(str(new))}\n")
    click.echo("hold it against the contract of its slot, and run it beside Dilu.")


def _write_new(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and never over another."""
    half_written = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        half_written.write_bytes(content)
        os.link(half_written, path)  # unlike a rename it refuses a file that has come meanwhile
    finally:
        half_written.unlink(missing_ok=True)
