from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments import ExperimentError, load_experiment, run_experiment

LAB = """\
cluster: {nodes: 1, gpus_per_node: 1}
functions:
  - {name: answers, model: bert-base, batch: 4, request: 0.3, limit: 0.45}
  - {name: job, model: resnet152, training: true, workers: 1, request: 0.3, limit: 0.6}
workload: {synthesize: {answers: {kind: even, rate_rps: 20}}}
systems: [dilu]
duration_s: 3
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A small experiment on one GPU."""
    path = tmp_path / "lab.yaml"
    path.write_text(LAB)
    return path


def test_both_worlds_write_the_same_tables(lab: Path, tmp_path: Path) -> None:
    """The same files and columns come out, of the same requests, and the manifest says which world it was."""
    summaries, files = {}, {}
    for world in ("sim", "realgpu"):
        run = run_experiment(load_experiment(lab), world=world, out=tmp_path / world)  # type: ignore[arg-type]
        summaries[world] = run.summaries[0]
        files[world] = sorted(path.name for path in (tmp_path / world / "dilu").iterdir())
        manifest = json.loads((tmp_path / world / "dilu" / "manifest.json").read_text())
        assert manifest["world"] == world
        assert bool(manifest["measured"]) == (world == "realgpu")
    assert files["sim"] == files["realgpu"]
    sim, real = summaries["sim"], summaries["realgpu"]
    assert sim.keys() == real.keys()
    assert sim["requests"] == real["requests"] == 60
    assert real["requests"] == real["completed"] + real["dropped"] + real["unfinished"]
    assert real["completed"] >= 50
    assert real["training"]["steps_per_s"] > 0


def test_instances_alone_are_not_placed_for_real(tmp_path: Path) -> None:
    """A workload without requests is for the simulated world; nothing is left behind."""
    experiment = load_experiment("cluster-3200")
    with pytest.raises(
        ExperimentError, match=r"workload\.instances: only places instances, allowed is world sim"
    ):
        run_experiment(experiment, world="realgpu", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
