"""Runs cells side by side, each in a process of the pool; what is finished is kept whatever happens.

A cell's run directory is written beside and put in its place when it is complete. A worker that is killed
costs the cells that were running; they are tried again.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

from experiments.cells.cell import Cell, cell_key
from experiments.run import run_experiment

MOST_TRIES: Final = 3
"""A cell in whose company workers die so often is given up."""

_BESIDE: Final = ".running-"


@dataclass(frozen=True, slots=True)
class Done:
    """A cell whose results lie in `path`, a run directory; `wall_s` is 0 if they were there before."""

    cell: Cell
    path: Path
    wall_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A cell that could not be run; `reason` is the error in one line, `trace` all of it."""

    cell: Cell
    reason: str
    trace: str


Progress = Callable[[int, int, Cell], None]
"""Told how many cells are finished, of how many, and which was the last."""


def run_cells(
    cells: Sequence[Cell], folder: Path, *, workers: int = 1, progress: Progress | None = None
) -> Iterator[Done | Failed]:
    """Run the cells that have no results in `folder` yet, and return all of them as they are finished.

    Parameters
    ----------
    folder
        Where run directories are kept, each under the key of its cell. It is made if it is not there.
    workers
        Processes. With one, cells run in this process.

    Raises
    ------
    ExperimentError
        If an experiment cannot be loaded; before anything runs.
    OSError
        If the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    keys = {cell: cell_key(cell) for cell in dict.fromkeys(cells)}
    finished = 0

    def tell(one: Done | Failed) -> Done | Failed:
        nonlocal finished
        finished += 1
        if progress is not None:
            progress(finished, len(keys), one.cell)
        return one

    there = [cell for cell, key in keys.items() if (folder / key).is_dir()]
    for cell in there:
        yield tell(Done(cell, folder / keys[cell], 0.0))
    missing = {cell: folder / key for cell, key in keys.items() if not (folder / key).is_dir()}
    if workers > 1 and len(missing) > 1:
        for one in _side_by_side(missing, min(workers, len(missing))):
            yield tell(one)
    else:
        for cell, path in missing.items():
            yield tell(_run(cell, path))


def _side_by_side(missing: dict[Cell, Path], workers: int) -> Iterator[Done | Failed]:
    """Run cells in a pool; a pool that breaks is made anew, and what ran in it is tried again."""
    tries = dict.fromkeys(missing, 0)
    while tries:
        broken: list[Cell] = []
        for one in _in_one_pool([(cell, missing[cell]) for cell in tries], workers, broken):
            del tries[one.cell]
            yield one
        for cell in broken:
            tries[cell] += 1
            if tries[cell] == MOST_TRIES:
                del tries[cell]
                reason = f"its process died {MOST_TRIES} times without a word, as for lack of memory"
                yield Failed(cell, reason, reason)


def _in_one_pool(todo: list[tuple[Cell, Path]], workers: int, broken: list[Cell]) -> Iterator[Done | Failed]:
    """Run cells in a pool until all are done or it breaks; those that ran when it did are put in `broken`."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare)
    waiting = list(reversed(todo))
    running: dict[Future[Done | Failed], Cell] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:  # no more, so that a break costs no others
                cell, path = waiting.pop()
                running[pool.submit(_run, cell, path)] = cell
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                cell = running.pop(future)
                yield future.result()
    except BrokenProcessPool:
        broken += [cell, *running.values()]
    finally:
        if running:  # interrupted: the executor itself would wait for what runs
            for process in list((pool._processes or {}).values()):
                process.terminate()
        pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    """Leave Ctrl-C to the process that waits for us, and compute on one core."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(cell: Cell, path: Path) -> Done | Failed:
    """Run a cell into its place, unless a pool that broke had just done so."""
    if path.is_dir():
        return Done(cell, path, 0.0)
    beside = path.parent / f"{_BESIDE}{os.getpid()}-{path.name}"
    begun_s = perf_counter()
    try:
        run_experiment(cell.load(), out=beside)
        beside.rename(path)
    except Exception as error:  # whatever it was, the other cells go on
        reason = " ".join(str(error).split()) or type(error).__name__
        return Failed(cell, reason, traceback.format_exc())
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Done(cell, path, perf_counter() - begun_s)


def _remove_stale(folder: Path) -> None:
    """Remove what processes that were killed left behind."""
    for beside in folder.glob(f"{_BESIDE}*"):
        pid = beside.name.removeprefix(_BESIDE).partition("-")[0]
        if not (pid.isdecimal() and Path(f"/proc/{pid}").exists()):
            shutil.rmtree(beside, ignore_errors=True)
