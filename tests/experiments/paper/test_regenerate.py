from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from experiments import ExperimentError
from experiments.cells import Cell
from experiments.paper import Claim, Results, Row, Scope, Study, StudyResult, per_seed, regenerate

SCOPE = Scope((0, 1))


def cells(scope: Scope) -> Sequence[Cell]:
    """Return a short run for each seed."""
    return [Cell("bursts-beside-training", "dilu", seed, ("duration_s=5",)) for seed in scope.seeds]


def result(results: Results, scope: Scope) -> StudyResult:
    """Return requests a second beside what a paper might have."""
    found = per_seed([results.summary(cell)["throughput_rps"] for cell in cells(scope)])
    claim = Claim("throughput | a", "Fig. 1", "req/s", "bars", 64.0, tolerance=0.2)
    table = pd.DataFrame({"seed": scope.seeds, "throughput_rps": found.values})

    def draw(figure: Figure) -> None:
        figure.add_subplot().plot(table["seed"], table["throughput_rps"])

    return StudyResult((Row(claim, found, "because <of> it"),), table, draw, ("a remark",))


STUDY = Study("fig0", "Fig. 0: a figure", "Section 0", "What *they* did & we do.", cells, result)


def lacking(scope: Scope) -> Sequence[Cell]:
    """Return a run of a trace that is not here."""
    return [Cell("azure-functions", "dilu", 0, ("workload.trace.path=nowhere",))]


def test_a_study_gets_table_picture_and_page(tmp_path: Path) -> None:
    """Everything is there, and the page needs no other file."""
    (chapter,) = regenerate([STUDY], SCOPE, tmp_path)
    assert chapter.result is not None
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"cells", "claims.csv", "fig0.csv", "fig0.png", "paper.html", "paper.md"}
    assert pd.read_csv(tmp_path / "fig0.csv")["throughput_rps"].gt(0).all()
    claims = pd.read_csv(tmp_path / "claims.csv")
    assert claims.loc[0, "verdict"] == chapter.result.rows[0].verdict
    page = (tmp_path / "paper.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert "http" not in page
    assert "because &lt;of&gt; it" in page
    assert "<em>they</em> did &amp; we" in page
    assert "throughput \\| a" in (tmp_path / "paper.md").read_text(encoding="utf-8")


def test_the_page_is_well_formed(tmp_path: Path) -> None:
    """Every tag that is opened is closed, in order."""
    regenerate([STUDY], SCOPE, tmp_path)
    open_tags: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in {"meta", "img"}:
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Tags().feed((tmp_path / "paper.html").read_text(encoding="utf-8"))
    assert open_tags == []


def test_a_second_call_runs_nothing_and_writes_the_same(tmp_path: Path) -> None:
    """Runs are kept, pages do not depend on when they are written."""

    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    regenerate([STUDY], SCOPE, tmp_path)
    before = files()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").rglob("*")}
    regenerate([STUDY], SCOPE, tmp_path)
    assert files() == before
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").rglob("*")} == kept


def test_a_study_that_lacks_something_is_left_out_with_its_reason(tmp_path: Path) -> None:
    """The others are there."""
    without = Study("fig9", "Fig. 9: lacks a trace", "Section 0", "", lacking, result)
    first, second = regenerate([without, STUDY], SCOPE, tmp_path)
    assert first.result is None
    assert "nowhere" in first.reason
    assert second.result is not None
    assert "Not run: " in (tmp_path / "paper.html").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    """In one line, before anything runs."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ExperimentError, match="cannot be made"):
        regenerate([STUDY], SCOPE, tmp_path / "file" / "out")
