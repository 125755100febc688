"""How tables look: as wide as the terminal, plain and 100 columns in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from analysis import METRICS, Metric, compare

PIPE_WIDTH: Final = 100
"""Columns where there is no terminal; a table that needs more gets more, since nothing wraps in a file."""


def comparison_table(summaries: Sequence[Mapping[str, Any]]) -> Table:
    """Lay systems side by side: a row a metric that applies to any of them, with ratios to the first."""
    frame = compare(summaries)
    table = plain_table()
    table.add_column("")
    for system in frame.index:
        table.add_column(Text(str(system)), justify="right")
    for metric in METRICS:
        if not frame[metric.name].isna().all():
            label = f"{metric.label} [{metric.unit}]" if metric.unit else metric.label
            table.add_row(Text(label), *(Text(cell) for cell in _cells(frame, metric)))
    return table


def _cells(frame: pd.DataFrame, metric: Metric) -> list[str]:
    values, ratios = frame[metric.name].tolist(), frame[f"{metric.name}_ratio"].tolist()
    return [
        metric.shown(value) + (f" ({ratio:.2f}x)" if position and not pd.isna(ratio) else "")
        for position, (value, ratio) in enumerate(zip(values, ratios, strict=True))
    ]


def plain_table() -> Table:
    """Make an empty table in our style."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")


def show(table: Table) -> None:
    """Print a table to standard output."""
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = max(
            PIPE_WIDTH, Measurement.get(console, console.options.update(width=10_000), table).maximum
        )
    console.print(table)
