from __future__ import annotations

import pytest

from experiments.paper import Chapter, Scope, regenerate
from experiments.paper.studies.fig17 import FIG17, SYSTEMS


@pytest.fixture(scope="module")
def chapter(tmp_path_factory: pytest.TempPathFactory) -> Chapter:
    """The short version of the study."""
    (chapter,) = regenerate([FIG17], Scope((0,), quick=True), tmp_path_factory.mktemp("fig17"))
    return chapter


def test_dilu_needs_fewest_gpus(chapter: Chapter) -> None:
    """By GPUs and by fragments the order is Dilu, INFless+-r, INFless+-l, Exclusive, at every size."""
    assert chapter.result is not None
    table = chapter.result.table
    for _, rows in table.groupby("instances"):
        by_system = rows.set_index("system").loc[["dilu", "infless+-r", "infless+-l", "exclusive"]]
        for metric in ("peak_gpus", "sm_fragmentation", "memory_fragmentation"):
            assert by_system[metric].is_monotonic_increasing
    assert set(table["system"]) == set(SYSTEMS)


def test_the_savings_are_those_of_the_paper(chapter: Chapter) -> None:
    """Some 30 and 23 % fewer GPUs, even with few instances; whatever differs says why."""
    assert chapter.result is not None
    exclusive, infless = chapter.result.rows[:2]
    assert exclusive.finding.mean == pytest.approx(30.0, abs=6.0)
    assert infless.finding.mean == pytest.approx(23.0, abs=6.0)
    for row in chapter.result.rows:
        assert row.verdict != "disagrees"
        assert (row.verdict == "agrees") == (row.why == "")
