from __future__ import annotations

import pytest

from experiments.paper import Scope, StudyResult, regenerate
from experiments.paper.studies.fig13 import FIG13


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    """Return what the short version of the study finds."""
    (chapter,) = regenerate([FIG13], Scope((0, 1), quick=True), tmp_path_factory.mktemp("fig13"))
    assert chapter.result is not None, chapter.reason
    return chapter.result


def test_whatever_differs_says_why(result: StudyResult) -> None:
    """And nothing else does."""
    for row in result.rows:
        assert (row.verdict == "agrees") == (row.why == "")


def test_static_quotas_stay_and_dilus_move(result: StudyResult) -> None:
    """The mean quota of MPS-r is the request; Dilu's are between nothing and the limit, and none of them."""
    table = result.table.set_index("system")
    assert table.loc["mps-r", "mean_quota_serving"] == pytest.approx(0.3)
    assert table.loc["mps-r", "mean_quota_training"] == pytest.approx(0.5)
    assert 0.3 < table.loc["dilu", "mean_quota_serving"] < 0.6
    assert 0.01 < table.loc["dilu", "mean_quota_training"] < 0.9


def test_a_static_request_costs_training_a_fifth(result: StudyResult) -> None:
    """At every seed: no load moves it."""
    (row,) = [row for row in result.rows if "Exclusive" in row.claim.what]
    assert row.verdict == "agrees"
    low, high = row.finding.interval or (0.0, 1.0)
    assert high - low < 0.01
