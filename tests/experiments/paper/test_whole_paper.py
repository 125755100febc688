from __future__ import annotations

from pathlib import Path

from experiments.paper import STUDIES, Scope, regenerate


def test_every_study_in_short(tmp_path: Path) -> None:
    """All are there, no difference goes without a sentence, and headline directions hold."""
    chapters = {
        chapter.study.name: chapter
        for chapter in regenerate(list(STUDIES.values()), Scope((0, 1), quick=True), tmp_path, workers=2)
    }
    assert list(chapters) == list(STUDIES)
    rows = {}
    for chapter in chapters.values():
        assert chapter.result is not None, chapter.reason
        for row in chapter.result.rows:
            assert (row.why == "") <= (row.verdict == "agrees"), row.claim.what
            rows[chapter.study.name, row.claim.what] = row
    for fewer in ("Exclusive", "INFless+-l"):
        assert rows["fig17", f"GPUs that Dilu saves against {fewer}, 3,200 instances"].finding.mean > 15.0
    assert rows["fig15", "Exclusive over Dilu: GPUs"].finding.mean > 1.2
    assert rows["fig10", "RoBERTa-large at CV 6: p95 of MPS-r over Dilu's"].finding.mean > 1.0
