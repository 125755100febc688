from __future__ import annotations

import pytest

from experiments.paper import Scope, StudyResult, regenerate
from experiments.paper.studies.fig9 import FIG9, PAIRS, SYSTEMS


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    """Return what the short version of the study finds."""
    (chapter,) = regenerate([FIG9], Scope((0,), quick=True), tmp_path_factory.mktemp("fig9"))
    assert chapter.result is not None, chapter.reason
    return chapter.result


def test_whatever_differs_says_why(result: StudyResult) -> None:
    """And nothing else does."""
    for row in result.rows:
        assert (row.verdict == "agrees") == (row.why == "")


def test_the_table_is_complete(result: StudyResult) -> None:
    """A row for each pair and system, without holes."""
    assert len(result.table) == len(PAIRS) * len(SYSTEMS)
    assert result.table.notna().all().all()


def test_two_jobs_share_a_gpu_with_profit(result: StudyResult) -> None:
    """Whoever shares gets more out of a GPU than Exclusive, and nobody more than the bound."""
    found = result.table.pivot_table("aggregate_per_gpu", "pair", "system")
    assert found["exclusive"].to_numpy() == pytest.approx(1.0)
    for system in SYSTEMS[1:]:
        assert (found[system] > 1.0).all()
        assert (found[system] <= found["oracle"]).all()


def test_limits_contend_more_than_requests(result: StudyResult) -> None:
    """In the pair that the paper names, and nothing is random about it."""
    found = result.table.pivot_table("aggregate_per_gpu", "pair", "system")
    assert found.loc["roberta-large + bert-base", "mps-l"] < found.loc["roberta-large + bert-base", "mps-r"]
    assert all(row.finding.interval is None for row in result.rows)


def test_rows_are_means_over_pairs_beside_what_the_paper_states(result: StudyResult) -> None:
    """Of the table; what the paper does not state of MPS-l and MPS-r follows from what it does."""
    found = result.table.pivot_table("aggregate_per_gpu", "pair", "system")
    named = found.loc["roberta-large + bert-base"]
    ours = [
        found["dilu"].mean(),
        found["mps-l"].mean(),
        (found["dilu"] / found["mps-l"]).mean(),
        found["mps-r"].mean(),
        (found["dilu"] / found["mps-r"]).mean(),
        named["mps-l"] / named["mps-r"],
    ]
    assert [row.finding.mean for row in result.rows] == pytest.approx(ours)
    stated = [row.claim.paper for row in result.rows if row.claim.stated == "text"]
    assert stated == [1.76, (1.10, 1.14), (1.03, 1.14), None]
    derived = [row.claim.bounds for row in result.rows if row.claim.stated == "derived"]
    assert derived == [pytest.approx((1.76 / 1.14, 1.76 / 1.10)), pytest.approx((1.76 / 1.14, 1.76 / 1.03))]
