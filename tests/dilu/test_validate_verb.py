"""The whole verb, in real time: on a busy machine of two cores batches are late, so tolerances are wide."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dilu.__main__ import cli, run
from dilu.validate import validate


@pytest.fixture(autouse=True)
def _verb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.commands, "validate", validate)


WIDE = [
    argument
    for one in ("throughput=20%", "p50=60%", "p95=100%", "svr=0.3", "training=50%", "share=50%")
    for argument in ("--tolerance", one)
]


def test_both_worlds_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two seconds of a shipped mix under Dilu, with real processes: the table, the files, and status 0."""
    options = [
        "--system",
        "dilu",
        "--repeats",
        "1",
        "--set",
        "duration_s=2",
        *WIDE,
        "--out",
        str(tmp_path / "v"),
    ]
    assert run(["validate", "validation-mix-2", *options]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "dilu (n = 1)" in captured.out
    for label in ("all: throughput", "writing: latency p95", "vision-training: training throughput"):
        assert label in captured.out
    found = json.loads((tmp_path / "v" / "validation.json").read_text())
    assert found["within"]
    (system,) = found["systems"]
    measures = {(one["function"], one["measure"]): one for one in system["measures"]}
    assert measures["vision-training", "training"]["real"][0] > 0
    assert measures["vision", "quota"]["real"][0] == pytest.approx(0.2, abs=0.1)
    # A worker is sent its batch after it is due, and never before.
    assert system["latency"]["writing"]["all"]["handover_s"] > 0
    assert system["punctuality"]["sending"]["p50_s"] > 0
    worlds = {
        json.loads((tmp_path / "v" / world / "repeat-0/dilu/manifest.json").read_text())["world"]
        for world in ("sim", "realgpu")
    }
    assert worlds == {"sim", "realgpu"}
    assert (tmp_path / "v" / "validation.png").stat().st_size > 10_000


def test_a_miss_is_status_1_and_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Held to nothing at all, latencies miss: the table shows anyway, with the likely cause."""
    options = ["--system", "mps-r", "--repeats", "1", "--set", "duration_s=1", "--tolerance", "mean=0"]
    assert run(["validate", "validation-mix-2", *options, "--out", str(tmp_path / "v")]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("dilu: mps-r: all: ")
    assert captured.err.endswith("out of tolerance\n")
    assert "missed" in captured.out
    assert "in the real world" in captured.out
    assert f"Results: {tmp_path / 'v'}" in captured.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["validation-mix-9"], "did you mean 'validation-mix-"),
        (["one-gpu", "--tolerance", "p94=1"], "--tolerance p94=1: did you mean 'p9"),
        (["one-gpu", "--system", "dylu"], "dilu"),
        (["one-gpu", "--repeats", "0"], "'--repeats'"),
        (["one-gpu", "--profiles", "nowhere"], "found no directory"),
    ],
)
def test_bad_input_is_status_2_and_one_line(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing runs, nothing is written."""
    assert run(["validate", *arguments, "--out", str(tmp_path / "v")]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1
    assert not (tmp_path / "v").exists()
