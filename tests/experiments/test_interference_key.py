"""`interference: NAME` in an experiment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments import ExperimentError, load_experiment, run_experiment

CHANGES = ["duration_s=30", "systems=[{system: mps-l, label: dilu}]"]


def test_interference_makes_neighbours_slower(tmp_path: Path) -> None:
    """Latency beside training rises under iGniter, and the manifest says whose numbers they are."""
    latency_s = {}
    for name, extra in (("none", []), ("igniter", ["interference=igniter"])):
        experiment = load_experiment("training-beside-inference", changes=[*CHANGES, *extra])
        (summary,) = run_experiment(experiment, out=tmp_path / name).summaries
        latency_s[name] = summary["latency_s"]["mean"]
        manifest = json.loads((tmp_path / name / "dilu" / "manifest.json").read_text())
        said = manifest["interference"]
        assert (said is None) == (not extra)
    assert said["model"] == "igniter"
    assert {origin["kind"] for origin in said["values"].values()} == {"fitted", "assumed"}
    assert latency_s["igniter"] > latency_s["none"]


def test_an_unknown_model_of_interference_is_named() -> None:
    """One line, with the place and the nearest name."""
    with pytest.raises(
        ExperimentError, match=r"interference: found 'ignitor', nearest is 'igniter'"
    ) as caught:
        load_experiment("quickstart", changes=["interference=ignitor"])
    assert "\n" not in str(caught.value)
