"""A progress bar for each system, on a terminal only."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class SystemProgress:
    """Call it as `experiments.run.Progress`; it shows nothing where standard error is no terminal."""

    def __init__(self) -> None:
        console = Console(file=sys.stderr)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} / {task.total:.0f} s simulated"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, system: str, simulated_s: float, end_s: float) -> None:
        """Show how far a system is."""
        if system not in self._tasks:
            self._tasks[system] = self._bars.add_task(system, total=end_s)
        self._bars.update(self._tasks[system], completed=simulated_s)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
