"""`dilu compare`: systems of one or more runs side by side."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from analysis import METRICS
from dilu.help_text import examples
from dilu.table import comparison_table, show
from experiments.run_state import run_state
from recording import RecordingError, Run, load_all
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
    Of a run that was aborted, those that finished are compared, and a line on standard error says so.
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
    state = run_state(folder)
    if state is not None and state.state != "complete":
        if not any(folder.glob("*/manifest.json")):
            raise RecordingError(f"{folder}: {state}")
        click.echo(f"dilu: {folder}: {state}", err=True)
    runs = load_all(folder)
    ran = _systems_that_ran(folder / "comparison.csv") or ([] if state is None else list(state.systems))
    whole = {run.manifest.system for run in runs}
    if (folder / "comparison.csv").exists() and (missing := [name for name in ran if name not in whole]):
        raise RecordingError(f"{folder / missing[0]}: is no whole run, although comparison.csv lists it")
    return sorted(
        runs, key=lambda run: ran.index(run.manifest.system) if run.manifest.system in ran else len(ran)
    )


def _systems_that_ran(comparison: Path) -> list[str]:
    """Return the systems of a `comparison.csv` in its order; none if there is no such file."""
    if not comparison.exists():
        return []
    try:
        _header, *rows = comparison.read_text(encoding="utf-8").splitlines() or [""]
    except UnicodeDecodeError:
        raise RecordingError(f"{comparison}: found bytes that are not UTF-8 text") from None
    except OSError as error:
        raise RecordingError(f"{comparison}: cannot be read ({error.strerror})") from None
    return [row.partition(",")[0] for row in rows if row]


def _summary(run: Run) -> dict[str, Any]:
    """Return the summary of a run, whose metrics are numbers."""
    for metric in METRICS:
        try:
            metric.of(run.summary)
        except RecordingError as error:
            raise RecordingError(f"{run.folder}: summary: {error}") from None
    return run.summary


def _named_apart(runs: list[Run]) -> list[dict[str, Any]]:
    """Return the summaries; systems of the same name from several runs are named by their folders."""
    names = Counter(run.manifest.system for run in runs)
    return [
        _summary(run) if names[run.manifest.system] == 1 else {**_summary(run), "system": str(run.folder)}
        for run in runs
    ]
