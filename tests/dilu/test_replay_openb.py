"""`dilu replay openb` with the real trace."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dilu.__main__ import run

PODS = 7064  # that ask for GPUs
BY_TYPE = {"A10": 2, "G2": 4392, "G3": 312, "P100": 265, "T4": 842, "V100M16": 195, "V100M32": 204}


def replay(folder: Path, *options: str) -> dict[str, dict[str, object]]:
    """Run the shipped experiment on the real trace; summaries by system."""
    named = os.environ.get("DILU_TRACE_DIR")
    if not named:
        pytest.skip("DILU_TRACE_DIR names no directory of real traces")
    trace = str(Path(named) / "openb_gpu_v2023")
    assert run(["replay", "openb", "--trace", trace, "--out", str(folder / "run"), *options]) == 0
    files = sorted((folder / "run").glob("*/summary.json"))
    return {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def test_the_real_cluster_is_filled(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """All pods that ask for a GPU come; sharing them refuses far fewer, and the table says so."""
    summaries = replay(tmp_path, "--system", "exclusive", "--system", "dilu")
    exclusive, dilu = summaries["exclusive"], summaries["dilu"]
    assert exclusive["launches_refused"] == 1179  # with 1,221 GPUs: whole, the pods ask for 7,433
    for summary in (exclusive, dilu):
        assert int(str(summary["launches"])) + int(str(summary["launches_refused"])) == PODS
        assert summary["peak_gpus"] == 6212
        assert summary["memory_fragmentation"] is None
    assert int(str(dilu["launches_refused"])) < 200
    assert "launches refused" in capfd.readouterr().out
    manifest = json.loads((tmp_path / "run" / "dilu" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["cluster"]["gpus"], manifest["cluster"]["gpus_by_type"]) == (6212, BY_TYPE)
    assert manifest["workload"]["openb"]["placed"] == PODS


def test_real_pods_that_ran_need_few_gpus_at_once(tmp_path: Path) -> None:
    """As they really ran the sampled pods fit easily, also those that are bound to types."""
    options = ("workload.instances.openb.lifetime=traced", "workload.instances.openb.pods=gpuspec33")
    changes = [part for option in options for part in ("--set", option)]
    for summary in replay(tmp_path, "--system", "exclusive", "--system", "fgd", *changes).values():
        assert (summary["launches"], summary["launches_refused"]) == (6203, 0)
        assert 60 < int(str(summary["peak_gpus"])) < 100
