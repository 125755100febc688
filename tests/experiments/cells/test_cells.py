from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from experiments import ExperimentError
from experiments.cells import Cell, Done, Failed, cell_key, run_cells

QUICK = ("duration_s=5",)
CELLS = [
    Cell("bursts-beside-training", system, seed, QUICK) for system in ("dilu", "mps-r") for seed in (0, 1)
]

DEADLY = """
import os, signal
from dataclasses import replace
from pathlib import Path
from policies.systems import find_system

MARK = Path({mark!r})
if MARK.exists():
    lives = int(MARK.read_text())
    MARK.write_text(str(lives - 1))
    if lives > 0:
        os.kill(os.getpid(), signal.SIGKILL)
SYSTEM = replace(find_system("dilu"), name="deadly")
"""


def tables(path: Path) -> dict[str, bytes]:
    """Return the tables of a run directory by their names."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*.parquet")}


def test_cells_are_run_once(tmp_path: Path) -> None:
    """What is there is not run again, and what is missing is."""
    first = list(run_cells(CELLS[:2], tmp_path))
    again = list(run_cells(CELLS[:3], tmp_path))
    assert [type(one) for one in first + again] == [Done] * 5
    assert [one.wall_s > 0 for one in again if isinstance(one, Done)] == [False, False, True]


def test_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    """One process or two, in either order: the same tables."""
    alone = {one.cell: one for one in run_cells(CELLS, tmp_path / "one", workers=1)}
    beside = {one.cell: one for one in run_cells(CELLS[::-1], tmp_path / "two", workers=2)}
    for cell in CELLS:
        a, b = alone[cell], beside[cell]
        assert isinstance(a, Done)
        assert isinstance(b, Done)
        assert tables(a.path) == tables(b.path) != {}


def test_progress_counts_cells_that_were_there(tmp_path: Path) -> None:
    """Every cell is told once, and named once though it was asked for twice."""
    list(run_cells(CELLS[:1], tmp_path))
    told: list[tuple[int, int, Cell]] = []
    list(run_cells([*CELLS[:2], CELLS[0]], tmp_path, progress=lambda *one: told.append(one)))
    assert told == [(1, 2, CELLS[0]), (2, 2, CELLS[1])]


def test_a_failing_cell_stops_no_other(tmp_path: Path) -> None:
    """Its reason and its traceback are returned, the rest is done, and nothing half-written stays."""
    bad = Cell("quickstart", "dilu", 0, ("workload={trace: {path: nowhere.csv}}",))
    good = CELLS[0]
    failed, done = run_cells([bad, good], tmp_path)
    assert isinstance(failed, Failed)
    assert "nowhere.csv" in failed.reason
    assert "Traceback" in failed.trace
    assert isinstance(done, Done)
    assert [path.name for path in tmp_path.iterdir()] == [cell_key(good)]


def test_an_unknown_experiment_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """Bad input is one error, and no results."""
    with pytest.raises(ExperimentError, match="unknown"):
        list(run_cells([CELLS[0], Cell("no-such", "dilu", 0)], tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    """Half a run directory of a process that no longer runs goes with the next call."""
    (tmp_path / ".running-999999999-abc").mkdir()
    (tmp_path / ".running-1-abc").mkdir()
    list(run_cells(CELLS[:1], tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".running-1-abc", cell_key(CELLS[0])]


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    """Its cell is tried again, and so are those that ran beside it."""
    mark = tmp_path / "mark"
    (tmp_path / "deadly.py").write_text(DEADLY.format(mark=str(mark)))
    deadly = Cell("bursts-beside-training", f"{tmp_path / 'deadly.py'}:SYSTEM", 0, QUICK)
    cell_key(deadly)
    mark.write_text("1")
    found = {one.cell: one for one in run_cells([deadly, *CELLS[:1]], tmp_path / "out", workers=2)}
    assert {type(one) for one in found.values()} == {Done}


def test_a_worker_that_always_dies_is_given_up(tmp_path: Path) -> None:
    """Its cell fails with a reason, the others are done."""
    mark = tmp_path / "mark"
    (tmp_path / "deadly.py").write_text(DEADLY.format(mark=str(mark)))
    deadly = Cell("bursts-beside-training", f"{tmp_path / 'deadly.py'}:SYSTEM", 0, QUICK)
    cell_key(deadly)
    mark.write_text("100")
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    found = {one.cell: one for one in run_cells([deadly, *CELLS[:1]], tmp_path / "out", workers=2)}
    failed = found[deadly]
    assert isinstance(failed, Failed)
    assert "died 3 times" in failed.reason


@pytest.mark.parametrize(
    "other",
    [
        Cell("bursts-beside-training", "mps-r", 0, QUICK),
        Cell("bursts-beside-training", "dilu", 1, QUICK),
        Cell("bursts-beside-training", "dilu", 0, ("duration_s=6",)),
        Cell("training-beside-inference", "dilu", 0, QUICK),
    ],
)
def test_keys_tell_cells_apart(other: Cell) -> None:
    """Whatever differs in a cell, its key does."""
    assert cell_key(other) != cell_key(Cell("bursts-beside-training", "dilu", 0, QUICK))


def test_keys_tell_files_apart(tmp_path: Path) -> None:
    """A trace that changes, or a policy of one's own, makes another cell."""
    trace = tmp_path / "rates.txt"
    trace.write_text("3\n4\n")
    cell = Cell("azure-functions", "dilu", 0, (f"workload.trace.path={json.dumps(str(trace))}",))
    before = cell_key(cell)
    trace.write_text("3\n4\n5\n")
    assert cell_key(cell) != before


def test_keys_do_not_depend_on_how_a_change_is_written() -> None:
    """It is the value that counts."""
    a = Cell("bursts-beside-training", "dilu", 0, ("cluster.nodes=1", "duration_s=5"))
    b = Cell("bursts-beside-training", "dilu", 0, ("duration_s= 5",))
    assert cell_key(a) == cell_key(b)
