from __future__ import annotations

from pathlib import Path

from experiments.paper import STUDIES, Scope, regenerate


def test_sizing_trials(tmp_path: Path) -> None:
    """Traversal and GPUlet need what the paper says, Dilu a step more at most, and far fewer than either."""
    (chapter,) = regenerate([STUDIES["table2"]], Scope((0, 1)), tmp_path)
    assert chapter.result is not None
    table = chapter.result.table.set_index(["method", "model"])
    for method in ("traversal", "gpulet"):
        rows = table.loc[method]
        assert (rows["trials"] == rows["trials_paper"]).all()
    dilu = table.loc["hgss"]
    assert ((dilu["trials"] - dilu["trials_paper"]).between(0, 1)).all()
    assert (dilu["trials"] < table.loc["gpulet"]["trials"]).all()


def test_whatever_differs_says_why(tmp_path: Path) -> None:
    """No row leaves a difference without a sentence."""
    (chapter,) = regenerate([STUDIES["table2"]], Scope((0, 1)), tmp_path)
    assert chapter.result is not None
    for row in chapter.result.rows:
        assert (row.verdict == "agrees") == (row.why == "")
