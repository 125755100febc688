from __future__ import annotations

from pathlib import Path

import pytest

from dilu.__main__ import run
from profiles.catalog import SHIPPED


def test_an_unknown_model_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names the nearest, status 2, and nothing is written."""
    assert run(["calibrate", "--models", "bert-bsae", "--out", str(tmp_path / "out")]) == 2
    assert "bert-base" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_profiles_are_made_of_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a short budget virtual workers give a profile, its picture, and a comparison with the shipped."""
    out = tmp_path / "out"
    arguments = ["--models", "resnet152:serve", "--budget", "12", "--against", str(SHIPPED)]
    assert run(["calibrate", *arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "virtual" in printed
    assert "batch_s" in printed
    assert {"gpu.yaml", "resnet152.yaml", "resnet152.png", "measurements.csv"} <= {
        p.name for p in out.iterdir()
    }
