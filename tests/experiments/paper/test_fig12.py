from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.cells import Cell, Done, run_cells
from experiments.paper import Chapter, Scope, regenerate
from experiments.paper.studies.fig12 import FIG12, Surge, surges, timeline
from recording import Run, load_all

SCOPE = Scope((2,), quick=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs are kept."""
    return tmp_path_factory.mktemp("fig12")


@pytest.fixture(scope="module")
def chapter(folder: Path) -> Chapter:
    """The study without INFless's series."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DILU_TRACES", str(folder / "nowhere"))
        (chapter,) = regenerate([FIG12], SCOPE, folder)
    return chapter


@pytest.fixture(scope="module")
def found(chapter: Chapter, folder: Path) -> tuple[Run, list[Surge]]:
    """The run of Dilu and its surges."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DILU_TRACES", str(folder / "nowhere"))
        cell = next(cell for cell in FIG12.cells(SCOPE) if cell.system == "dilu")
        (done,) = run_cells([cell], folder / "cells")
    assert isinstance(done, Done)
    (run,) = load_all(done.path)
    return run, surges(run)


def test_a_surge_lasts_before_an_instance_is_launched(found: tuple[Run, list[Surge]]) -> None:
    """Lazy scaling waits for 20 seconds above capacity, and looks back over 40 at most."""
    _, all_surges = found
    assert all_surges
    for surge in all_surges:
        assert 20 <= surge.waited_s <= 40
        assert surge.ready_s > surge.launch_s


def test_the_time_line_shows_the_surge(found: tuple[Run, list[Surge]]) -> None:
    """Requests exceed what instances are scaled by from its onset, and then there is one more."""
    run, all_surges = found
    surge = all_surges[0]
    series = timeline(run, surge).set_index("second")
    assert series.loc[surge.onset_s, "rate_rps"] > series.loc[surge.onset_s, "capacity_rps"]
    ready = series["ready"]
    assert ready.loc[int(surge.ready_s) + 1] > ready.loc[surge.onset_s]
    assert series["quota"].dropna().between(0.3 - 1e-9, 0.6 + 1e-9).all()


def test_vertical_scaling_helps_meanwhile(chapter: Chapter) -> None:
    """Latency in surges is lower than with static requests."""
    assert chapter.result is not None
    row = chapter.result.rows[-1]
    assert row.finding.mean < 1.0
    assert (row.verdict == "agrees") == (row.why == "")


def test_a_surge_begins_where_load_exceeds_what_instances_are_scaled_by(tmp_path: Path) -> None:
    """A sine crosses it at a second of its own, not with the first request."""
    load = "workload.synthesize.roberta-large={kind: periodic, rate_rps: 60, period_s: 300, peak_to_mean: 2}"
    cell = Cell("paper-fig12", "dilu", 0, (load, "duration_s=300"))
    (done,) = run_cells([cell], tmp_path)
    assert isinstance(done, Done)
    (run,) = load_all(done.path)
    arrivals_s = run.arrivals.arrival_s[run.arrivals.of(1)]
    second = next(surge for surge in surges(run) if surge.quiet_s > 0)
    live = int((run.instances[run.instances["function"] == 1]["launch_s"] < second.launch_s).sum())
    counts = np.bincount(arrivals_s.astype(np.int64))
    before = counts[second.onset_s - second.quiet_s : second.onset_s]
    assert (before <= 48 * live).all()
    assert counts[second.onset_s] > 48 * live
    assert np.count_nonzero(counts[second.onset_s : int(second.launch_s)] > 48 * live) >= 20
