"""`dilu compare`: systems of one or more runs side by side."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from dilu.help_text import examples
from dilu.table import comparison_table, show
from recording import Run, load_all
from recording import load as load_system


@click.command(
    epilog=examples(
        "dilu compare runs/quickstart-1",
        "dilu compare runs/quickstart-1/exclusive runs/quickstart-1 runs/quickstart-2/dilu",
    )
)
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
def compare(folders: tuple[Path, ...]) -> None:
    """Put the systems of each run directory DIR side by side, with ratios to the first.

    DIR may also be the folder of one system; the one that is named first is what the others are held against.
    """
    runs: dict[Path, Run] = {}
    for folder in folders:
        for run in _runs(folder):
            assert run.folder is not None
            runs.setdefault(run.folder.resolve(), run)
    show(comparison_table(_named_apart(list(runs.values()))))


def _runs(folder: Path) -> list[Run]:
    """Open a system, or all systems of a run directory in the order in which they ran."""
    if (folder / "manifest.json").exists():
        return [load_system(folder)]
    runs = load_all(folder)
    comparison = folder / "comparison.csv"
    if not comparison.exists():
        return runs
    ran = [line.partition(",")[0] for line in comparison.read_text(encoding="utf-8").splitlines()]
    return sorted(
        runs, key=lambda run: ran.index(run.manifest.system) if run.manifest.system in ran else len(ran)
    )


def _named_apart(runs: list[Run]) -> list[dict[str, Any]]:
    """Return the summaries; systems of the same name from several runs are named by their folders."""
    names = Counter(run.manifest.system for run in runs)
    return [
        run.summary if names[run.manifest.system] == 1 else {**run.summary, "system": str(run.folder)}
        for run in runs
    ]
