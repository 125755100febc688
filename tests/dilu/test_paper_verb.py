from __future__ import annotations

from pathlib import Path

import pytest

from dilu.__main__ import run


def test_a_named_study_is_regenerated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The verb prints how it came out, and where the page is."""
    assert run(["paper", "table2", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "table2" in printed
    assert str(tmp_path / "paper.html") in printed
    assert (tmp_path / "table2.png").stat().st_size > 0


def test_an_unknown_study_names_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, status 2, nothing written."""
    assert run(["paper", "tabel2", "--out", str(tmp_path / "out")]) == 2
    assert "table2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
