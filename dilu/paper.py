"""`dilu paper`: the evaluation of Dilu, regenerated."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from dilu.help_text import examples
from dilu.progress import ProgressBars
from dilu.table import plain_table, show
from experiments.errors import ExperimentError, nearest
from experiments.paper import STUDIES, Chapter, Scope, Study, regenerate

ALL: Final = "all"
QUICK_SEEDS: Final = 2


@click.command(
    epilog=examples(
        "dilu paper all --out runs/paper",
        "dilu paper table2 fig10 --out runs/paper",
        "dilu paper all --quick --out runs/paper-quick",
    )
)
@click.argument("studies", nargs=-1, metavar="[STUDY]...")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", required=True, help="Where the page goes."
)
@click.option("--seeds", type=click.IntRange(min=2), default=10, show_default=True, help="Seeds a value.")
@click.option("--quick", is_flag=True, help=f"{QUICK_SEEDS} seeds, and the short version of long studies.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes. Default: one a core.")
def paper(studies: tuple[str, ...], out: Path, seeds: int, quick: bool, workers: int | None) -> None:
    """Regenerate tables and figures of the paper, ours beside theirs: all of them, or those named.

    Writes paper.md, paper.html and claims.csv, and a CSV and a picture a study. Runs that DIR has from an
    earlier call are not done again; Ctrl-C keeps those that are finished.
    """
    chosen = _chosen(studies)
    scope = Scope(tuple(range(QUICK_SEEDS if quick else seeds)), quick)
    with ProgressBars() as bars:
        chapters = regenerate(
            chosen, scope, out, workers=workers or len(os.sched_getaffinity(0)), progress=bars.cells
        )
    _report(chapters)
    click.echo(f"\nThe page: {out / 'paper.html'}")


def _chosen(names: Sequence[str]) -> list[Study]:
    """Return the studies of these names, in the order of the paper."""
    for name in names:
        if name not in STUDIES and name != ALL:
            raise ExperimentError(f"study {name!r}: unknown; {nearest(name, [ALL, *STUDIES])}")
    if not names or ALL in names:
        return list(STUDIES.values())
    return [study for name, study in STUDIES.items() if name in names]


def _report(chapters: Sequence[Chapter]) -> None:
    """Print how each study came out."""
    table = plain_table()
    for heading in ("study", "values", "agrees", "same direction", "disagrees"):
        table.add_column(heading, justify="left" if heading == "study" else "right")
    for chapter in chapters:
        if chapter.result is None:
            table.add_row(chapter.study.name, "not run")
            continue
        verdicts = Counter(row.verdict for row in chapter.result.rows)
        counts = [str(verdicts[name]) for name in ("agrees", "same direction", "disagrees")]
        table.add_row(chapter.study.name, str(len(chapter.result.rows)), *counts)
    show(table)
    for chapter in chapters:
        if chapter.result is None:
            click.echo(f"{chapter.study.name}: not run: {chapter.reason}", err=True)
