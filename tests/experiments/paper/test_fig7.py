from __future__ import annotations

import pandas as pd
import pytest

from experiments.paper import Scope, StudyResult, regenerate
from experiments.paper.studies.fig7 import FIG7, PAIRS, SYSTEMS


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    """Return what the short version of the study finds."""
    (chapter,) = regenerate([FIG7], Scope((0,), quick=True), tmp_path_factory.mktemp("fig7"))
    assert chapter.result is not None, chapter.reason
    return chapter.result


def test_whatever_differs_says_why(result: StudyResult) -> None:
    """And nothing else does."""
    for row in result.rows:
        assert (row.verdict == "agrees") == (row.why == "")


def ratios(result: StudyResult, name: str) -> pd.DataFrame:
    """Return a column by served function and system."""
    return result.table.pivot_table(name, "served", "system")


def test_the_table_is_complete(result: StudyResult) -> None:
    """A row for each pair and system, without holes."""
    assert len(result.table) == len(PAIRS) * len(SYSTEMS)
    assert result.table.notna().all().all()


def test_dilu_costs_inference_less_than_static_limits(result: StudyResult) -> None:
    """In every pair, and never less than the bound or Exclusive."""
    for percentile in ("p50_ratio", "p95_ratio"):
        found = ratios(result, percentile)
        assert (found["dilu"] < found["mps-l"]).all()
        assert (found["dilu"] > 1.0).all()
        assert (found["dilu"] > found["oracle"]).all()


def test_tgs_serves_as_alone_and_stops_training(result: StudyResult) -> None:
    """As in the paper."""
    assert (ratios(result, "p50_ratio")["tgs"] < 1.1).all()
    found = ratios(result, "training_ratio")
    assert (found["tgs"] < 0.15).all()
    assert (found["tgs"] < found["dilu"]).all()


def test_sharing_saves_the_gpu_of_the_server(result: StudyResult) -> None:
    """Half of two; one of five where LLaMA2-7B lies on four fragments."""
    found = ratios(result, "gpus")
    assert (found["exclusive"] - found["dilu"] == 1).all()
    assert found.loc["llama2-7b", "dilu"] == 4


def test_the_remark_knows_who_is_throttled(result: StudyResult) -> None:
    """Training that is throttled is what the law says must be."""
    assert "is throttled in 4 of 4 pairs" in result.remarks[0]
    assert (ratios(result, "training_ratio")["dilu"] < 0.8).all()


def test_rows_are_means_over_pairs_beside_what_the_paper_states(result: StudyResult) -> None:
    """Of the table, in the order p50, p95, training, GPUs, then against MPS-l and MPS-r, then TGS."""
    p50, p95 = ratios(result, "p50_ratio"), ratios(result, "p95_ratio")
    training, used = ratios(result, "training_ratio"), ratios(result, "gpus")
    expected = [
        (1.24, p50["dilu"]),
        (1.28, p95["dilu"]),
        (0.972, training["dilu"]),
        (0.5, used["dilu"] / used["exclusive"]),
        (0.65, p50["dilu"] / p50["mps-l"]),
        (0.75, p95["dilu"] / p95["mps-l"]),
        (0.87, p50["dilu"] / p50["mps-r"]),
        (0.79, p95["dilu"] / p95["mps-r"]),
        (0.0, training["tgs"]),
    ]
    assert [row.claim.paper for row in result.rows] == pytest.approx([value for value, _ in expected])
    assert [row.finding.mean for row in result.rows] == pytest.approx([ours.mean() for _, ours in expected])
