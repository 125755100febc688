"""`dilu compare` says of a run directory that its run was aborted, and compares what finished."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from dilu.__main__ import run
from experiments import run_experiment
from experiments import worlds as worlds_module
from experiments.load import load_experiment
from experiments.run_state import LOST, RunProgress
from policies import find_system
from realgpu.errors import RealGpuError

LAB = """\
cluster: {nodes: 1, gpus_per_node: 2}
functions: [{name: vision, model: resnet152}]
workload: {synthesize: {vision: {kind: poisson, rate_rps: 20}}}
systems: [mps-r, exclusive, dilu]
duration_s: 2
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small experiment with three systems, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "lab.yaml"
    path.write_text(LAB)
    return path


def fail_in(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    """Have the world fail for real in one of the systems."""
    simulate = worlds_module.simulate

    def failing(deployment: object, one: object, **options: object) -> object:
        if one == find_system(system):
            raise RealGpuError("controller: hangs: no heartbeat for 5 s")
        return simulate(deployment, one, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(worlds_module, "simulate", failing)


def header(out: str) -> list[str]:
    """Return the systems that a table compares."""
    return out.splitlines()[0].split()


def test_a_complete_run_needs_no_word(lab: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing but the table."""
    assert run(["replay", "lab.yaml", "--out", "run"]) == 0
    capfd.readouterr()
    assert run(["compare", "run"]) == 0
    out, err = capfd.readouterr()
    assert (header(out), err) == (["mps-r", "exclusive", "dilu"], "")


def test_what_finished_of_an_aborted_run_is_compared(
    lab: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line on standard error says in which system it was aborted, and why."""
    fail_in(monkeypatch, "dilu")
    assert run(["replay", "lab.yaml", "--out", "run"]) == 1
    _, err = capfd.readouterr()
    assert err.startswith("dilu: lab.yaml: system dilu: controller: hangs: no heartbeat for 5 s")
    assert err.endswith(" (kept in run: mps-r, exclusive)\n")
    assert run(["compare", "run"]) == 0
    out, err = capfd.readouterr()
    assert header(out) == ["mps-r", "exclusive"]
    assert err == (
        "dilu: run: aborted in system dilu: controller: hangs: no heartbeat for 5 s; "
        "finished: mps-r, exclusive\n"
    )


def test_an_aborted_run_without_results_is_refused(
    lab: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to compare; its reason is the one line."""
    fail_in(monkeypatch, "mps-r")
    assert run(["replay", "lab.yaml", "--out", "run"]) == 1
    capfd.readouterr()
    assert run(["compare", "run"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        "dilu: run: aborted in system mps-r: controller: hangs: no heartbeat for 5 s; no system finished\n"
    )


def test_of_a_run_that_was_killed_the_order_is_known(lab: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It had no time to write a comparison; systems stand in the order in which they ran."""
    run_experiment(load_experiment("lab.yaml"), out=Path("run"))
    Path("run/comparison.csv").unlink()
    shutil.rmtree("run/dilu")
    progress = RunProgress(Path("run"), "lab", ("mps-r", "exclusive", "dilu"), "sim", None)
    for system in ("mps-r", "exclusive"):
        progress.finish(system)
    progress.begin("dilu")
    state = Path("run/run.json")
    state.write_text(re.sub(r'"pid": \d+', '"pid": 4194305', state.read_text()))  # no process has it
    assert run(["compare", "run"]) == 0
    out, err = capfd.readouterr()
    assert header(out) == ["mps-r", "exclusive"]
    assert err == f"dilu: run: aborted in system dilu: {LOST}; finished: mps-r, exclusive\n"


def test_a_run_that_goes_on_is_compared_as_far_as_it_is(lab: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One line says that it still runs."""
    run_experiment(load_experiment("lab.yaml"), out=Path("run"))
    progress = RunProgress(Path("run"), "lab", ("mps-r", "exclusive", "dilu", "later"), "sim", None)
    for system in ("mps-r", "exclusive", "dilu"):
        progress.finish(system)
    progress.begin("later")
    assert run(["compare", "run"]) == 0
    out, err = capfd.readouterr()
    assert header(out) == ["mps-r", "exclusive", "dilu"]
    assert err == "dilu: run: still running in system later; finished: mps-r, exclusive, dilu\n"


def test_a_damaged_state_is_refused(lab: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One line names the file."""
    assert run(["replay", "lab.yaml", "--out", "run"]) == 0
    Path("run/run.json").write_text("{")
    capfd.readouterr()
    assert run(["compare", "run"]) == 2
    assert capfd.readouterr().err.startswith("dilu: run/run.json: cannot be read as JSON")
