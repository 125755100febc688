from __future__ import annotations

import pandas as pd
import pytest

from experiments.paper import Scope, StudyResult, regenerate
from experiments.paper.studies.fig10 import FIG10, QUICK_CVS, SYSTEMS, A, B


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    """Return what the short version of the study finds."""
    (chapter,) = regenerate([FIG10], Scope((0,), quick=True), tmp_path_factory.mktemp("fig10"))
    assert chapter.result is not None, chapter.reason
    return chapter.result


def test_whatever_differs_says_why(result: StudyResult) -> None:
    """And nothing else does."""
    for row in result.rows:
        assert (row.verdict == "agrees") == (row.why == "")


def at_cv(result: StudyResult, cv: float, name: str) -> pd.DataFrame:
    """Return a column at what the paper calls a CV, by figure and system."""
    return result.table[result.table["cv_stated"] == cv].pivot_table(name, "figure", "system")


def test_the_table_is_complete(result: StudyResult) -> None:
    """A row for each figure, CV and system, without holes."""
    assert len(result.table) == 2 * len(QUICK_CVS) * len(SYSTEMS)
    assert result.table.notna().all().all()


def test_dilu_is_nearest_to_exclusive_in_bursts(result: StudyResult) -> None:
    """Of those that let training run; the order of Fig. 10a is the paper's."""
    found = at_cv(result, 6.0, "p95_ratio")
    assert (found["dilu"] < found[["mps-l", "mps-r"]].min(axis=1)).all()
    assert found.loc["10a", "mps-l"] < found.loc["10a", "mps-r"]


def test_static_requests_are_fine_without_bursts(result: StudyResult) -> None:
    """What they lose comes with burstiness alone; static limits lose before."""
    found = at_cv(result, 1.0, "p95_ratio")
    assert (found["mps-r"] < 1.3).all()
    assert (found["mps-l"] > 1.5).all()


def test_cv_is_not_the_coefficient_of_variation(result: StudyResult) -> None:
    """It is that times the root of the mean, also in the arrivals that were drawn."""
    assert A.true_cv(6.0) == 0.75
    assert B.stated_cv(B.true_cv(6.0)) == pytest.approx(6.0)
    assert result.table["cv_counted"].to_numpy() == pytest.approx(result.table["cv_true"].to_numpy(), rel=0.4)
    assert "beyond the second" in result.remarks[0]


def test_rows_are_those_of_the_table_beside_what_the_paper_states(result: StudyResult) -> None:
    """The least and the largest over CV, then CV 6."""
    a, b = (result.table[result.table["figure"] == figure] for figure in ("10a", "10b"))
    over_a, over_b = (part.loc[part["system"] == "dilu", "p95_ratio"] for part in (a, b))
    last = at_cv(result, 6.0, "p95_s").loc["10a"]
    expected = [
        (1.06, over_a.min()),
        (1.29, over_a.max()),
        (1.09, last["dilu"] / last["exclusive"]),
        (2.08, last["mps-l"] / last["dilu"]),
        (4.76, last["mps-r"] / last["dilu"]),
        (4.76 / 2.08, last["mps-r"] / last["mps-l"]),
        (1.07, over_b.min()),
        (1.09, over_b.max()),
    ]
    assert [row.claim.paper for row in result.rows] == pytest.approx([value for value, _ in expected])
    assert [row.finding.mean for row in result.rows] == pytest.approx([ours for _, ours in expected])
