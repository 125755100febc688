"""Progress bars, on a terminal only: one for the files that are read, one for each system that runs."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressBars:
    """Shows how far the work is, while entered; nothing where standard error is no terminal."""

    def __init__(self) -> None:
        console = Console(file=sys.stderr)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[shown]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def reading(self, done: int, size: int) -> None:
        """Show how much of a trace is read: call it as `traces.Progress`."""
        self._show("reading", done, size, f"{100 * done / max(1, size):.0f} %")

    def downloading(self, done: int, size: int) -> None:
        """Show how much of a trace is there; `size` is 0 if it is not known."""
        self._show("downloading", done, size or None, f"{done / 1e6:.1f} MB")

    def functions(self, done: int, functions: int) -> None:
        """Show how many functions are synthesized."""
        self._show("synthesizing", done, functions, f"{done:,} / {functions:,} functions")

    def calibration(self, what: str, part: float) -> None:
        """Show what is measured: call it as `realgpu.calibration.Progress`."""
        self._show("measuring", part, 1.0, what)

    def cells(self, done: int, cells: int, last: object) -> None:
        """Show how many runs of a study are finished: call it as `experiments.cells.pool.Progress`."""
        self._show("runs", done, cells, f"{done} / {cells}")

    def system(self, label: str, now_s: float, end_s: float) -> None:
        """Show how far a system is: call it as `experiments.run.Progress`."""
        self._show(label, now_s, end_s, f"{now_s:.0f} / {end_s:.0f} s")

    def _show(self, name: str, done: float, size: float | None, shown: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=size, shown=shown)
        self._bars.update(self._tasks[name], completed=done, total=size, shown=shown)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
