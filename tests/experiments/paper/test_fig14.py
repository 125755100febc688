from __future__ import annotations

import pytest

from experiments.paper import Scope, StudyResult, regenerate
from experiments.paper.studies.fig14 import FIG14


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    """Return what the short version of the study finds."""
    (chapter,) = regenerate([FIG14], Scope((0, 1), quick=True), tmp_path_factory.mktemp("fig14"))
    assert chapter.result is not None, chapter.reason
    return chapter.result


def test_whatever_differs_says_why(result: StudyResult) -> None:
    """And nothing else does."""
    for row in result.rows:
        assert (row.verdict == "agrees") == (row.why == "")


def test_a_static_request_loses_in_bursts(result: StudyResult) -> None:
    """Its p95 is above Dilu's, and Dilu's above Exclusive's, with their intervals."""
    (row,) = result.rows
    low, _ = row.finding.interval or (0.0, 0.0)
    assert low > 1.0
    table = result.table.set_index("system")
    assert 1.0 < table.loc["dilu", "p95_ratio"] < table.loc["mps-r", "p95_ratio"]


def test_bursts_are_paid_by_training(result: StudyResult) -> None:
    """Under Dilu it has less than its request in the mean, and still runs."""
    table = result.table.set_index("system")
    assert 0.01 < table.loc["dilu", "mean_quota_training"] < 0.5
    assert 0.0 < table.loc["dilu", "training_ratio"] < table.loc["mps-r", "training_ratio"]
