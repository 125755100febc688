from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from dilu.__main__ import run as command
from experiments import ExperimentError, load_experiment, run_experiment, worlds
from realgpu.hosting import Host, Hosting, HostReport

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


class Witness(Host):
    """A host that keeps samples, and says what the run ran on."""

    def conclude(self, start_ups: Sequence[Mapping[str, Any]]) -> HostReport:
        """Count workers."""
        return HostReport({"mechanism": "a witness", "workers": len(start_ups)}, ("ran before a witness",))

    def write_samples(self, folder: Path) -> None:
        """Write what a sampler would."""
        (folder / "device_samples.parquet").write_text("watts")


def test_what_the_host_saw_is_in_the_run_folder(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record in the manifest, its notes with the others, its samples beside the tables."""
    monkeypatch.setattr(worlds, "open_host_for", lambda *_: nullcontext(Hosting(host=Witness())))
    run_experiment(load_experiment(lab, changes=["duration_s=0.5"]), world="realgpu", out=tmp_path / "out")
    folder = tmp_path / "out" / "dilu"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["measured"]["host"] == {"mechanism": "a witness", "workers": 2}
    assert manifest["notes"][0] == "ran before a witness"
    assert (folder / "device_samples.parquet").read_text() == "watts"


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a driver")
def test_without_a_driver_cuda_is_refused_in_a_line(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command too, which is no bad input but what this host lacks: status 1."""
    options = ["--world", "realgpu", "--backend", "cuda", "--out", str(tmp_path / "out")]
    assert command(["replay", str(lab), *options]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "backend cuda: no NVIDIA driver (libcuda.so.1:" in said
    assert "choose the backend cpu or virtual" in said
    assert not (tmp_path / "out" / "dilu").exists()


def test_instances_alone_are_not_placed_for_real(tmp_path: Path) -> None:
    """A workload without requests is for the simulated world; nothing is left behind."""
    experiment = load_experiment("cluster-3200")
    with pytest.raises(
        ExperimentError, match=r"workload\.instances: only places instances, allowed is world sim"
    ):
        run_experiment(experiment, world="realgpu", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
