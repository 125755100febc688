from __future__ import annotations

import pandas as pd
import pytest

from experiments.paper import Scope, StudyResult, regenerate
from experiments.paper.studies.fig8 import AZURE, FIG8, POISSON, SYSTEMS


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    """Return what the short version of the study finds."""
    (chapter,) = regenerate([FIG8], Scope((0,), quick=True), tmp_path_factory.mktemp("fig8"))
    assert chapter.result is not None, chapter.reason
    return chapter.result


def test_whatever_differs_says_why(result: StudyResult) -> None:
    """And nothing else does."""
    for row in result.rows:
        assert (row.verdict == "agrees") == (row.why == "")


def ratios(result: StudyResult, name: str) -> pd.DataFrame:
    """Return a column by figure, function and system."""
    return result.table.pivot_table(name, ["figure", "function"], "system")


def test_the_table_is_complete(result: StudyResult) -> None:
    """A row for each function of a pair and system, without holes."""
    assert len(result.table) == 2 * len({**AZURE, **POISSON}) * len(SYSTEMS)
    assert result.table.notna().all().all()


def test_tgs_starves_the_second_function_only(result: StudyResult) -> None:
    """Under Dilu no function is far from what it is alone."""
    found = ratios(result, "p95_ratio")
    for setting, (first, second) in {**AZURE, **POISSON}.items():
        assert found.loc[(setting.title, first), "tgs"] < 1.5
        assert found.loc[(setting.title, second), "tgs"] > 10.0
    assert (found["dilu"] < 5.0).all()


def test_static_requests_lose_in_bursts(result: StudyResult) -> None:
    """Of the static quotas limits serve Azure's bursts better, in every function, as in the paper."""
    found = ratios(result, "p95_ratio").loc["8a"]
    assert (found["mps-r"] > found["mps-l"]).all()


def test_a_request_that_is_never_finished_counts(result: StudyResult) -> None:
    """Starved, half of the requests wait for nearly half of a minute at the least."""
    starved = result.table[(result.table["system"] == "tgs") & (result.table["function"] == "llama2-7b")]
    assert (starved["p50_s"] > 20.0).all()


def test_rows_are_means_over_functions_beside_what_the_paper_states(result: StudyResult) -> None:
    """Of the table: TGS and MPS-l against Dilu, then MPS-r, then FaST-GS against MPS-l."""
    p50, p95 = ratios(result, "p50_s"), ratios(result, "p95_s")
    fast = p95["fast-gs"] / p95["mps-l"]
    negligible = fast.index.get_level_values("function").isin(["bert-base", "vgg19"])
    ahead = p95["dilu"] / p95["mps-l"]
    expected = [
        (442.0, (p50["tgs"] / p50["dilu"])["8b"].mean()),
        (405.0, (p95["tgs"] / p95["dilu"])["8b"].mean()),
        (0.75, ahead["8b"].mean()),
        ((1.0, 1.06), ahead["8b", "llama2-7b"]),
        (None, (p95["mps-r"] / p95["mps-l"])["8a"].mean()),
        (None, fast[~negligible].mean()),
        (1.0, fast.xs("bert-base", level="function").mean()),
        (1.0, fast.xs("vgg19", level="function").mean()),
    ]
    assert [row.claim.paper for row in result.rows] == [value for value, _ in expected]
    assert [row.finding.mean for row in result.rows] == pytest.approx([ours for _, ours in expected])
