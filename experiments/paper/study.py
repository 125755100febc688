"""A study: one table or figure of the paper, what has to be run for it, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from experiments.cells import Cell
from experiments.paper.claims import Row
from recording import Run, load_all
from recording.manifest import SUMMARY_FILE, read_json


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is run: `seeds` of everything random, and whether the short version will do."""

    seeds: tuple[int, ...]
    quick: bool = False


class Results:
    """Finished cells, each read when a study asks for it."""

    def __init__(self, paths: Mapping[Cell, Path]) -> None:
        self._paths = paths

    def summary(self, cell: Cell) -> Mapping[str, Any]:
        """Return what `summary.json` of a cell says."""
        return read_json(self._folder(cell) / SUMMARY_FILE)

    def run(self, cell: Cell) -> Run:
        """Return the tables of a cell."""
        (run,) = load_all(self._paths[cell])
        return run

    def _folder(self, cell: Cell) -> Path:
        folder = self.run(cell).folder
        assert folder is not None
        return folder


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What a study found.

    Attributes
    ----------
    rows
        The paper's values beside ours.
    table
        All our numbers, a CSV of its own; means over seeds where nothing else is said.
    draw
        Draws them into an empty figure.
    remarks
        Sentences that a reader needs to judge the table.
    """

    rows: tuple[Row, ...]
    table: pd.DataFrame
    draw: Callable[[Figure], None]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Study:
    """One table or figure.

    Attributes
    ----------
    name
        As on the command line: `table2`, `fig10`.
    title, source
        What it shows, and where the paper has it.
    setup
        What the paper did and what we do instead, in a few sentences.
    cells
        What has to be run.
    result
        Makes rows, table and figure of what was run.
    size
        Of the figure, in inches.
    """

    name: str
    title: str
    source: str
    setup: str
    cells: Callable[[Scope], Sequence[Cell]]
    result: Callable[[Results, Scope], StudyResult]
    size: tuple[float, float] = (7.0, 3.6)
