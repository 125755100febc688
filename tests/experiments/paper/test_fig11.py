from __future__ import annotations

import pytest

from experiments.paper import Scope, StudyResult, regenerate
from experiments.paper.studies.fig11 import FIG11, LATENCY, TRAINING


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    """Return what the short version of the study finds."""
    (chapter,) = regenerate([FIG11], Scope((0,), quick=True), tmp_path_factory.mktemp("fig11"))
    assert chapter.result is not None, chapter.reason
    return chapter.result


def test_whatever_differs_says_why(result: StudyResult) -> None:
    """And nothing else does."""
    for row in result.rows:
        assert (row.verdict == "agrees") == (row.why == "")


def test_the_table_is_complete(result: StudyResult) -> None:
    """A row for each value of the figure."""
    assert len(result.table) == len(result.rows) == len(TRAINING) + len(LATENCY)
    assert result.table.notna().all().all()


def test_the_gate_costs_something_and_less_than_dilus_library(result: StudyResult) -> None:
    """It is worked out from what a launch costs, never nothing."""
    assert (result.table["added_percent"] > 0.0).all()
    assert (result.table["added_percent"] < result.table["added_percent_paper"]).all()
    assert all(row.finding.interval is None for row in result.rows)


def test_what_is_added_is_in_proportion_to_launches(result: StudyResult) -> None:
    """A fixed time a launch, whoever launches."""
    table = result.table
    launch_s = table["added_percent"] / 100.0 * table["iteration_s"] / table["launches"]
    assert launch_s.to_numpy() == pytest.approx(30e-9)
