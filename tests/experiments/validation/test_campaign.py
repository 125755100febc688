"""The real world of these tests is the simulated one, or one with other profiles: no test waits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments import Experiment, ExperimentError, RunDirectory, run_experiment
from experiments.validation import (
    Demand,
    InterruptedValidation,
    Validation,
    campaign,
    parse_tolerances,
    validate_experiment,
)
from experiments.validation.figure import draw_validation
from profiles.catalog import SHIPPED
from realgpu.errors import RealGpuError

LAB = """\
cluster: {nodes: 1, gpus_per_node: 1}
functions:
  - {name: vision, model: resnet152, batch: 4, request: 0.3, limit: 0.6}
  - {name: job, model: vgg19, training: true, workers: 1, request: 0.2, limit: 0.6}
workload: {synthesize: {vision: {kind: poisson, rate_rps: 20}}}
systems: [mps-r, dilu]
seed: 4
duration_s: 3
"""

Real = Callable[..., RunDirectory]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A small experiment."""
    path = tmp_path / "lab.yaml"
    path.write_text(LAB)
    return path


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Callable[[Real], None]:
    """Put something in place of runs in the real world."""

    def put(run: Real) -> None:
        def either(experiment: Experiment, *, world: str, out: Path, **options: Any) -> RunDirectory:
            if world == "realgpu":
                return run(experiment, out=out, **options)
            return run_experiment(experiment, world="sim", out=out)

        monkeypatch.setattr(campaign, "run_experiment", either)

    put(simulated)
    monkeypatch.setattr(campaign, "draw_validation", lambda validation, path: None)  # takes a second
    return put


def simulated(experiment: Experiment, *, out: Path, **_: Any) -> RunDirectory:
    """Do what the simulator does."""
    return run_experiment(experiment, out=out)


def validated(lab: Path, out: Path, **options: Any) -> Validation:
    """Validate with the tolerances of virtual work."""
    return validate_experiment(lab, out=out, tolerances=parse_tolerances("virtual", []), **options)


def document(out: Path) -> dict[str, Any]:
    """Read validation.json."""
    found: dict[str, Any] = json.loads((out / "validation.json").read_text())
    return found


def test_equal_worlds_agree(
    lab: Path, tmp_path: Path, real: Callable[[Real], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every error is 0, every verdict conclusive, quotas are the same, and all files are there."""
    monkeypatch.setattr(campaign, "draw_validation", draw_validation)
    out = tmp_path / "out"
    told: list[str] = []
    validation = validated(lab, out, repeats=2, progress=lambda what, now_s, end_s: told.append(what))
    assert validation.complete
    assert not validation.missed
    rows = [row for system in validation.systems for row in system.rows]
    assert {row.agreement.absolute_error for row in rows} == {0.0}
    assert {row.conclusive for row in rows if row.verdict is not None} == {True}
    assert {path.absolute for system in validation.systems for path in system.paths} == {0.0}
    found = document(out)
    assert (found["within"], found["complete"], found["seed"]) == (True, True, 4)
    assert [system["seeds"] for system in found["systems"]] == [[4, 5], [4, 5]]
    assert sorted(path.name for path in out.iterdir()) == [
        "realgpu",
        "sim",
        "validation.csv",
        "validation.json",
        "validation.png",
    ]
    for world in ("sim", "realgpu"):
        for repeat in ("repeat-0", "repeat-1"):
            assert (out / world / repeat / "dilu" / "quotas.parquet").exists()
    table = pd.read_csv(out / "validation.csv")
    assert len(table) == len(rows)
    assert set(table["verdict"].dropna()) == {"within"}


def test_a_real_world_that_differs_is_told(lab: Path, tmp_path: Path, real: Callable[[Real], None]) -> None:
    """With profiles of another cost the tails miss, with the service at the same size as the cause."""

    def slower(experiment: Experiment, *, out: Path, **_: Any) -> RunDirectory:
        other = tmp_path / "slower"
        if not other.exists():
            other.mkdir()
            for path in SHIPPED.iterdir():
                other.joinpath(path.name).write_text(path.read_text())
            model = other / "resnet152.yaml"
            lines = model.read_text().splitlines()
            at = next(i for i, line in enumerate(lines) if line.startswith("  l0_s: "))
            lines[at] = f"  l0_s: {float(lines[at].split()[1]) + 0.02}"
            model.write_text("\n".join(lines) + "\n")
        changes = [f"profiles={other}", "record_quotas=true"]
        seed = experiment.section.seed
        return run_experiment(campaign.load_experiment(lab, changes=changes, seed=seed), out=out)

    real(slower)
    validation = validated(lab, tmp_path / "out", repeats=2)
    assert {row.agreement.measure.name for _, row in validation.missed} >= {"p50", "p95"}
    causes = [row.cause for _, row in validation.missed if row.agreement.measure.name == "p50"]
    assert all(cause is not None and "service at the same batch size" in cause for cause in causes)
    assert not document(tmp_path / "out")["within"]


def test_repeats_have_seeds_of_their_own(lab: Path, tmp_path: Path, real: Callable[[Real], None]) -> None:
    """A given seed is the first one, and both worlds have the same arrivals in each repeat."""
    out = tmp_path / "out"
    validated(lab, out, repeats=2, seed=10)
    arrivals = {
        (world, repeat): (out / world / f"repeat-{repeat}" / "arrivals.parquet").read_bytes()
        for world in ("sim", "realgpu")
        for repeat in (0, 1)
    }
    assert arrivals["sim", 0] == arrivals["realgpu", 0] != arrivals["sim", 1] == arrivals["realgpu", 1]
    assert [system["seeds"] for system in document(out)["systems"]] == [[10, 11], [10, 11]]


def ending(error: BaseException, after: int) -> Real:
    """Simulate, but raise in the run after so many."""
    runs: list[Path] = []

    def run(experiment: Experiment, *, out: Path, **_: Any) -> RunDirectory:
        if len(runs) == after:
            raise error
        runs.append(out)
        return simulated(experiment, out=out)

    return run


def test_an_interruption_keeps_what_both_worlds_have(
    lab: Path, tmp_path: Path, real: Callable[[Real], None]
) -> None:
    """The finished repeat is judged, marked incomplete; of the other one nothing is left."""
    real(ending(KeyboardInterrupt(), 1))
    out = tmp_path / "out"
    with pytest.raises(InterruptedValidation) as caught:
        validated(lab, out, repeats=3)
    kept = caught.value.kept
    assert kept is not None
    assert [len(system.pairs) for system in kept.systems] == [1, 1]
    found = document(out)
    assert (found["complete"], found["within"], found["repeats"]) == (False, False, 3)
    assert found["systems"][0]["measures"][0]["half_width"] is None
    assert [path.name for path in (out / "sim").iterdir()] == ["repeat-0"]


def test_an_interruption_before_anything_is_there_leaves_nothing(
    lab: Path, tmp_path: Path, real: Callable[[Real], None]
) -> None:
    """Not even the folder, unless it was there before."""
    (tmp_path / "there").mkdir()
    for name, stays in (("new", False), ("there", True)):
        real(ending(KeyboardInterrupt(), 0))
        with pytest.raises(InterruptedValidation) as caught:
            validated(lab, tmp_path / name)
        assert caught.value.kept is None
        assert (tmp_path / name).exists() == stays
    assert not any((tmp_path / "there").iterdir())


def test_a_failure_of_the_real_world_keeps_what_there_is(
    lab: Path, tmp_path: Path, real: Callable[[Real], None]
) -> None:
    """The error goes on to the caller; finished repeats are judged."""
    real(ending(RealGpuError("worker 3: crashed"), 1))
    with pytest.raises(RealGpuError, match="worker 3: crashed"):
        validated(lab, tmp_path / "out")
    assert not document(tmp_path / "out")["complete"]


def test_what_will_not_do_is_refused_before_anything_runs(
    lab: Path, tmp_path: Path, real: Callable[[Real], None]
) -> None:
    """A folder that holds something, profiles that are none, instances that are only placed."""
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes").write_text("mine")
    with pytest.raises(ExperimentError, match=r"--out .*full: is not empty; allowed is a new or an empty"):
        validated(lab, full)
    with pytest.raises(ExperimentError, match=r"--profiles .*nowhere: .*found no directory"):
        validated(lab, tmp_path / "out", profiles=tmp_path / "nowhere")
    with pytest.raises(ExperimentError, match=r"workload\.instances: only places instances"):
        validated(Path("cluster-3200"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_profiles_are_those_of_both_worlds(lab: Path, tmp_path: Path, real: Callable[[Real], None]) -> None:
    """Another catalog, of another GPU, replaces the experiment's in both worlds."""
    other = catalog_of("Other GPU", tmp_path / "other")
    validated(lab, tmp_path / "out", repeats=1, profiles=other)
    assert document(tmp_path / "out")["profiles"]["gpu"] == "Other GPU"
    for world in ("sim", "realgpu"):
        manifest = json.loads((tmp_path / "out" / world / "repeat-0/dilu/manifest.json").read_text())
        assert manifest["cluster"]["gpu"] == "Other GPU"


def catalog_of(gpu: str, folder: Path) -> Path:
    """Copy the shipped catalog under the name of another GPU."""
    folder.mkdir()
    for path in SHIPPED.iterdir():
        text = path.read_text()
        if path.name == "gpu.yaml":
            text = "".join(
                f"name: {gpu}\n" if line.startswith("name:") else line for line in text.splitlines(True)
            )
        (folder / path.name).write_text(text)
    return folder


def test_what_computes_asks_for_profiles_of_its_own(
    lab: Path, tmp_path: Path, real: Callable[[Real], None]
) -> None:
    """With a calibration its catalog is used, without one a note says what errors mean; virtual asks not."""
    demands: list[Sequence[Demand]] = []

    def calibrate(wanted: Sequence[Demand]) -> Path:
        demands.append(wanted)
        return catalog_of("This CPU", tmp_path / "measured")

    validated(lab, tmp_path / "a", repeats=1, calibrate=calibrate)
    assert not demands
    calibrated = validated(lab, tmp_path / "b", repeats=1, backend="cpu", calibrate=calibrate)
    assert demands == [(Demand("resnet152", "serve"), Demand("vgg19", "train"))]
    assert (calibrated.profiles.gpu, calibrated.notes) == ("This CPU", ())
    without = validated(lab, tmp_path / "c", repeats=1, backend="cpu")
    assert "were not measured with backend cpu" in without.notes[0]


def test_profiles_that_were_measured_that_way_are_taken(
    lab: Path, tmp_path: Path, real: Callable[[Real], None]
) -> None:
    """A catalog that says it was measured with the backend needs no calibration."""
    measured = catalog_of("This CPU", tmp_path / "measured")
    (measured / "device.json").write_text(json.dumps({"backend": "cpu", "name": "a processor"}))

    def calibrate(wanted: Sequence[Demand]) -> Path:
        raise AssertionError(wanted)

    found = validated(lab, tmp_path / "out", repeats=1, backend="cpu", profiles=measured, calibrate=calibrate)
    assert (found.profiles.backend, found.profiles.device, found.notes) == ("cpu", "a processor", ())


def test_the_picture_draws_what_there_is(lab: Path, tmp_path: Path, real: Callable[[Real], None]) -> None:
    """Training alone has no latencies, one repeat no intervals: it is drawn all the same, and equally."""
    options = {"changes": ["workload.synthesize.vision.rate_rps=0"], "systems": ["dilu"]}
    validation = validated(lab, tmp_path / "out", repeats=1, **options)
    pictures = []
    for name in ("a.png", "b.png"):
        draw_validation(validation, tmp_path / name)
        pictures.append((tmp_path / name).read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0].startswith(b"\x89PNG")
