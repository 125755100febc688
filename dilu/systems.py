"""`dilu systems`: the named systems."""

from __future__ import annotations

import textwrap

import click

from dilu.help_text import examples
from policies import find_system, system_names

WIDTH = 100
SLOT_WIDTH = 14


@click.command(epilog=examples("dilu systems", "dilu systems dilu exclusive"))
@click.argument("names", nargs=-1, metavar="[NAME]...")
def systems(names: tuple[str, ...]) -> None:
    """Show the named systems: where each comes from, and which policy with which constants fills each slot.

    A constant can be changed in an experiment: systems: [{system: dilu, config: {placement.gamma: 2.0}}].
    """
    for position, name in enumerate(names or system_names()):
        system = find_system(name)
        if position:
            click.echo()
        click.echo(f"{system.name}: {system.title}")
        click.echo(textwrap.fill(system.source, WIDTH, initial_indent="  ", subsequent_indent="  "))
        for slot, policy in system.describe().items():
            click.echo(_entry(slot, policy))


def _entry(slot: str, policy: str) -> str:
    hanging = " " * (2 + SLOT_WIDTH)
    return textwrap.fill(
        policy,
        WIDTH,
        initial_indent=f"  {slot:<{SLOT_WIDTH}}",
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
