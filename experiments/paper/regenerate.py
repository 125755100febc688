"""Runs studies and writes what they found: a table, a picture and a place on the page for each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.cells import Cell, Failed, run_cells
from experiments.cells.pool import Progress
from experiments.errors import ExperimentError
from experiments.paper.page import Chapter, claims_table, html_page, markdown
from experiments.paper.study import Results, Scope, Study

CELLS: Final = "cells"
"""Where the runs lie; those that are there are not run again."""

PAGES: Final = ("paper.md", "paper.html", "claims.csv")
_DOTS_PER_INCH: Final = 160


def regenerate(
    studies: Sequence[Study],
    scope: Scope,
    folder: Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> tuple[Chapter, ...]:
    """Run what studies need and has not been run, and write their results into a folder.

    A study that lacks something, such as a trace that is not here, is left out with its reason.

    Raises
    ------
    ExperimentError
        If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExperimentError(f"--out {folder}: cannot be made ({error.strerror})") from None
    wanted: dict[str, list[Cell]] = {}
    lacking: dict[str, str] = {}
    for study in studies:
        try:
            wanted[study.name] = list(study.cells(scope))
            for cell in wanted[study.name]:
                cell.load()
        except ExperimentError as error:
            wanted.pop(study.name, None)
            lacking[study.name] = str(error)
    cells = [cell for some in wanted.values() for cell in some]
    paths: dict[Cell, Path] = {}
    failed: dict[Cell, Failed] = {}
    for one in run_cells(cells, folder / CELLS, workers=workers, progress=progress):
        if isinstance(one, Failed):
            failed[one.cell] = one
        else:
            paths[one.cell] = one.path
    chapters = []
    for study in studies:
        reason = lacking.get(study.name, "")
        for cell in wanted.get(study.name, []):
            if cell in failed:
                reason = reason or f"{cell}: {failed[cell].reason}"
        chapters.append(
            Chapter(study, None, reason) if reason else _write(study, Results(paths), scope, folder)
        )
    page = {"paper.md": markdown(chapters, scope), "paper.html": html_page(chapters, scope, folder)}
    page["claims.csv"] = claims_table(chapters).to_csv(index=False)
    for name, text in page.items():
        _put(folder / name, text.encode())
    return tuple(chapters)


def _write(study: Study, results: Results, scope: Scope, folder: Path) -> Chapter:
    """Write a study's table and picture."""
    result = study.result(results, scope)
    _put(folder / f"{study.name}.csv", result.table.to_csv(index=False).encode())
    figure = Figure(figsize=study.size, layout="constrained")
    FigureCanvasAgg(figure)
    result.draw(figure)
    beside = folder / f".{study.name}.png.partial"
    figure.savefig(beside, dpi=_DOTS_PER_INCH, format="png", metadata={"Software": None})
    beside.replace(folder / f"{study.name}.png")
    return Chapter(study, result)


def _put(path: Path, content: bytes) -> None:
    """Write a file beside, then rename it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    beside.write_bytes(content)
    beside.replace(path)
