from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments import Experiment, ExperimentError, Interrupted, load_experiment, run_experiment
from experiments import worlds as worlds_module
from recording import load, load_all

LAB = """\
cluster: {nodes: 1, gpus_per_node: 4}
functions:
  - {name: vision, model: resnet152}
  - {name: chat, model: llama2-7b}
  - {name: job, model: bert-base, training: true, workers: 2}
workload:
  synthesize:
    vision: {kind: poisson, rate_rps: 20}
    chat: {kind: poisson, rate_rps: 1}
systems: [exclusive, dilu]
seed: 1
duration_s: 20
"""


def lab(folder: Path, *changes: str, **options: Any) -> Experiment:
    """Write and load the experiment above."""
    path = folder / "lab.yaml"
    path.write_text(LAB)
    return load_experiment(path, changes=changes, **options)


def test_a_run_directory_holds_everything(tmp_path: Path) -> None:
    """Each system has its tables, manifest and summary; the comparison and the arrivals stand beside them."""
    run = run_experiment(lab(tmp_path), out=tmp_path / "run")
    assert sorted(p.name for p in run.path.iterdir()) == [
        "arrivals.parquet",
        "comparison.csv",
        "dilu",
        "exclusive",
        "run.json",
    ]
    assert sorted(p.name for p in (run.path / "dilu").iterdir()) == [
        "batches.parquet",
        "gpus.parquet",
        "instances.parquet",
        "manifest.json",
        "summary.json",
        "training.parquet",
    ]
    for stored, summary in zip(
        load_all(run.path), sorted(run.summaries, key=lambda s: s["system"]), strict=True
    ):
        assert stored.summary == summary
        assert summary["requests"] == summary["completed"] + summary["dropped"] + summary["unfinished"]
        assert summary["requests"] == len(stored.requests()) > 0
        assert summary["functions"]["job"]["training"]["steps"] > 0
    comparison = pd.read_csv(run.path / "comparison.csv", index_col="system")
    assert comparison.index.tolist() == ["exclusive", "dilu"]


def test_the_manifest_tells_what_ran(tmp_path: Path) -> None:
    """Seed, sizes, policies, versions, profiles' provenance and the experiment itself are in the manifest."""
    experiment = lab(
        tmp_path, "systems=[{system: dilu, label: wide, config: {placement.gamma: 2.0}}]", seed=9
    )
    run = run_experiment(experiment, out=tmp_path / "run")
    manifest = load(run.path / "wide").manifest
    assert (manifest.system, manifest.seed, manifest.simulated_s) == ("wide", 9, 20.0)
    assert manifest.further["system_name"] == "dilu"
    assert "gamma=2.0" in manifest.further["slots"]["placement"]
    assert manifest.further["experiment"]["seed"] == 9
    assert set(manifest.further["versions"]) >= {"dilu-lab", "simpy"}
    assert manifest.further["profiles"]["models"]["resnet152"]["values"]
    assert manifest.functions[0].model_extra is not None
    assert manifest.functions[0].model_extra["size"]["batch"] >= 1


def test_quotas_are_recorded_on_request(tmp_path: Path) -> None:
    """`record_quotas: true` adds the table of quotas."""
    run = run_experiment(lab(tmp_path, "record_quotas=true"), out=tmp_path / "run")
    quotas = load(run.path / "dilu").quotas
    assert len(quotas) > 0
    assert quotas["quota"].between(0.0, 1.0).all()


def test_equal_runs_are_equal_bytes(tmp_path: Path) -> None:
    """Two processes with different hash seeds write the same bytes, but for the time it took.

    `run.json` says which process it was, and when: it is no result.
    """
    path = tmp_path / "lab.yaml"
    path.write_text(LAB)
    contents = []
    for hash_seed in ("1", "2"):
        out = tmp_path / hash_seed
        command = [sys.executable, "-m", "dilu", "replay", str(path), "--out", str(out)]
        subprocess.run(
            command, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": hash_seed}
        )
        files = [p for p in sorted(out.rglob("*")) if p.is_file() and p.name != "run.json"]
        contents.append({str(p.relative_to(out)): _content(p) for p in files})
    assert contents[0] == contents[1]


def _content(path: Path) -> bytes:
    if path.name != "summary.json":
        return path.read_bytes()
    return json.dumps({**json.loads(path.read_text()), "wall_s": None}).encode()


def test_run_directories_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `out` each run gets the first free number; nothing is overwritten."""
    monkeypatch.chdir(tmp_path)
    experiment = lab(tmp_path, "systems=[exclusive]", "duration_s=1")
    assert [str(run_experiment(experiment).path) for _ in range(2)] == ["runs/lab-1", "runs/lab-2"]


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    """`out` may be a new or an empty folder; one with content is left as it was."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("x")
    with pytest.raises(ExperimentError, match="is not empty"):
        run_experiment(lab(tmp_path), out=tmp_path / "run")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["mine"]


def test_bad_input_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SLO that no share can meet fails in one line with experiment and system, and leaves nothing."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExperimentError, match=r"lab\.yaml: system exclusive: .*vision") as caught:
        run_experiment(lab(tmp_path, "functions[0].slo_s=0.00001"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("finished", [0, 1])
def test_what_had_finished_survives_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: int
) -> None:
    """On Ctrl-C finished systems stay, with a comparison; of the one that ran nothing does."""
    systems_begun: list[str] = []

    def progress(system: str, simulated_s: float, end_s: float) -> None:
        if system not in systems_begun:
            systems_begun.append(system)
        if len(systems_begun) > finished:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        run_experiment(lab(tmp_path), out=tmp_path / "run", progress=progress)
    if finished:
        assert caught.value.kept is not None
        assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
            "arrivals.parquet",
            "comparison.csv",
            "exclusive",
            "run.json",
        ]
        assert load(tmp_path / "run").manifest.system == "exclusive"
    else:
        assert caught.value.kept is None
        assert not (tmp_path / "run").exists()


def test_progress_is_told_the_simulated_time(tmp_path: Path) -> None:
    """Progress begins at 0, never goes back, and ends at the end of each system."""
    told: dict[str, list[float]] = {}
    run_experiment(
        lab(tmp_path),
        out=tmp_path / "run",
        progress=lambda system, simulated_s, end_s: told.setdefault(system, []).append(simulated_s / end_s),
    )
    assert list(told) == ["exclusive", "dilu"]
    for times in told.values():
        assert times[0] == 0.0
        assert times == sorted(times)
        assert times[-1] == pytest.approx(1.0)


def test_instances_are_placed_without_requests(tmp_path: Path) -> None:
    """A workload of instances reports GPUs and fragmentation of each system, and no requests."""
    path = tmp_path / "place.yaml"
    path.write_text(
        "cluster: {nodes: 40, gpus_per_node: 4}\nworkload: {instances: {generate: {instances: 60}}}\n"
        "systems: [exclusive, dilu]\n"
    )
    exclusive, dilu = run_experiment(load_experiment(path), out=tmp_path / "run").summaries
    assert dilu["launches"] == exclusive["launches"] == 60
    assert dilu["peak_gpus"] < exclusive["peak_gpus"]
    assert dilu["requests"] == 0
    assert dilu["throughput_rps"] is dilu["slo_violation_rate"] is None


def test_a_fault_of_a_world_leaves_no_half_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error in the world goes through as it is, and the run directory is gone."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken world")

    monkeypatch.setattr(worlds_module, "simulate", broken)
    with pytest.raises(RuntimeError, match="broken world"):
        run_experiment(lab(tmp_path), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
