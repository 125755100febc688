from __future__ import annotations

from pathlib import Path

import pytest

from experiments.paper import Chapter, Scope, regenerate
from experiments.paper.studies import infless_series
from experiments.paper.studies.table3 import PUBLISHED, TABLE3

SCOPE = Scope((2,), quick=True)


@pytest.fixture(scope="module")
def chapter(tmp_path_factory: pytest.TempPathFactory) -> Chapter:
    """The study without INFless's series."""
    folder = tmp_path_factory.mktemp("table3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DILU_TRACES", str(folder / "nowhere"))
        (chapter,) = regenerate([TABLE3], SCOPE, folder)
    return chapter


def test_lazy_scaling_starts_least(chapter: Chapter) -> None:
    """Dilu has fewer cold starts than eager scaling on every trace, and holds instances for less time."""
    assert chapter.result is not None
    table = chapter.result.table.pivot(index="trace", columns="system", values=["cold_starts", "instance_s"])
    assert (table["cold_starts"]["dilu"] < table["cold_starts"]["fast-gs+"]).all()
    for rival in ("fast-gs+", "infless+-l"):
        assert (table["instance_s"]["dilu"] < table["instance_s"][rival]).all()


def test_every_number_of_the_table_has_a_row(chapter: Chapter) -> None:
    """What the paper's table says stands in the claims, and whatever differs says why."""
    assert chapter.result is not None
    assert len(chapter.result.table) == len(PUBLISHED)
    values = [row.claim.paper for row in chapter.result.rows if row.claim.stated == "table"]
    for cold_starts, _, saved in PUBLISHED.values():
        assert cold_starts in values
        assert saved is None or saved in values
    for row in chapter.result.rows:
        assert (row.verdict == "agrees") == (row.why == "")


def test_it_says_what_stands_in_for_traces(chapter: Chapter) -> None:
    """Without the series the page says so and how to get them."""
    assert chapter.result is not None
    assert any("dilu traces fetch infless" in remark for remark in chapter.result.remarks)
    assert not chapter.result.table["replayed"].any()


def test_series_are_replayed_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the three files at hand the load is theirs, and one seed is enough."""
    (tmp_path / "infless").mkdir()
    for series in infless_series.SERIES.values():
        (tmp_path / series.file).write_text("1.0\n" * series.values)
    monkeypatch.chdir(tmp_path)
    cells = TABLE3.cells(Scope((0, 1, 2), quick=True))
    assert {cell.seed for cell in cells} == {0}
    for cell in cells:
        trace = cell.load().section.workload.trace
        assert trace is not None
        assert trace.path in {series.file for series in infless_series.SERIES.values()}
