"""How tables look: as wide as the terminal, plain and 100 columns in a pipe."""

from __future__ import annotations

import sys
import textwrap
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


MOST_SIDE_BY_SIDE: Final = 6
"""Systems that fit beside each other; more stand below each other, with the metrics that matter most."""

BELOW_EACH_OTHER: Final = {
    "slo_violation_rate": "SVR",
    "latency_p50_s": "p50",
    "latency_p95_s": "p95",
    "latency_p99_s": "p99",
    "llm_tpot_p95_s": "TPOT p95",
    "training_steps_per_s": "training",
    "mean_gpus": "GPUs",
    "gpus_over_bound": "/bound",
    "sm_fragmentation": "SM frag.",
    "memory_fragmentation": "mem. frag.",
    "cold_starts": "cold",
    "launches_refused": "refused",
}
"""Columns where systems stand below each other, and their short heads."""


def comparison_table(summaries: Sequence[Mapping[str, Any]]) -> Table:
    """Lay systems side by side, or below each other if they are many."""
    if len(summaries) > MOST_SIDE_BY_SIDE:
        return _below_each_other(compare(summaries))
    return _side_by_side(compare(summaries))


def _below_each_other(frame: pd.DataFrame) -> Table:
    """A row a system, a column a metric that applies to any of them."""
    table = plain_table()
    table.add_column("")
    shown = [m for m in METRICS if m.name in BELOW_EACH_OTHER and not frame[m.name].isna().all()]
    for metric in shown:
        unit = f"\n[{metric.unit}]" if metric.unit else ""
        table.add_column(Text(BELOW_EACH_OTHER[metric.name] + unit), justify="right")
    for system, row in frame.iterrows():
        table.add_row(Text(str(system)), *(Text(metric.shown(row[metric.name])) for metric in shown))
    return table


def _side_by_side(frame: pd.DataFrame) -> Table:
    """A row a metric that applies to any of the systems, with ratios to the first."""
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


def labelled(label: str, text: str, label_width: int) -> str:
    """Lay out a text behind its label, wrapped and indented."""
    return textwrap.fill(
        text,
        PIPE_WIDTH,
        initial_indent=f"  {label:<{label_width}}",
        subsequent_indent=" " * (2 + label_width),
        break_long_words=False,
        break_on_hyphens=False,
    )
