"""Every run directory says whether it is complete, and if not, why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from experiments import ExperimentError, Interrupted, load_experiment, run_experiment
from experiments import worlds as worlds_module
from experiments.run_state import LOST, RunProgress, RunState, run_files, run_state
from experiments.schema import RUN_FILE
from realgpu.errors import RealGpuError
from recording import RecordingError, load_all

LAB = """\
cluster: {nodes: 1, gpus_per_node: 2}
functions: [{name: vision, model: resnet152}]
workload: {synthesize: {vision: {kind: poisson, rate_rps: 20}}}
systems: [exclusive, dilu]
duration_s: 2
"""

ONE = {
    "systems": ("exclusive", "dilu"),
    "experiment": "lab",
    "world": "sim",
    "backend": None,
    "host": os.uname().nodename,
    "started": 1,
    "begun_at": "2026-01-01T00:00:00+00:00",
}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A small experiment with two systems."""
    path = tmp_path / "lab.yaml"
    path.write_text(LAB)
    return path


def known(folder: Path) -> RunState:
    """Return the state of a run directory that has one."""
    state = run_state(folder)
    assert state is not None
    return state


def fails_in(monkeypatch: pytest.MonkeyPatch, system: str, error: BaseException) -> None:
    """Have the simulated world fail in one of the systems."""
    simulate = worlds_module.simulate

    def failing(deployment: Any, one: Any, **options: Any) -> Any:
        if one.name == system:
            raise error
        return simulate(deployment, one, **options)

    monkeypatch.setattr(worlds_module, "simulate", failing)


def test_a_run_that_is_through_is_complete(lab: Path, tmp_path: Path) -> None:
    """With what ran, where, by whom and when."""
    run_experiment(load_experiment(lab), out=tmp_path / "run")
    state = known(tmp_path / "run")
    assert (state.state, state.reason, state.system) == ("complete", None, None)
    assert state.finished == state.systems == ("exclusive", "dilu")
    assert (state.experiment, state.world, state.backend, state.pid) == ("lab", "sim", None, os.getpid())
    assert state.ended_at is not None
    assert state.begun_at <= state.ended_at
    assert str(state) == "complete; finished: exclusive, dilu"


def test_the_state_moves_with_the_run(lab: Path, tmp_path: Path) -> None:
    """While a system runs, its name and those that finished before can be read."""
    told: list[tuple[str, str | None, tuple[str, ...]]] = []

    def progress(system: str, now_s: float, end_s: float) -> None:
        state = known(tmp_path / "run")
        if now_s == 0.0:
            told.append((state.state, state.system, state.finished))
            assert str(state).startswith(f"still running in system {system}; ")

    run_experiment(load_experiment(lab), out=tmp_path / "run", progress=progress)
    assert told == [("running", "exclusive", ()), ("running", "dilu", ("exclusive",))]


@pytest.mark.parametrize(
    ("error", "raised", "reason"),
    [
        (RealGpuError("instance 3 (x): hangs"), RealGpuError, "instance 3 (x): hangs"),
        (ExperimentError("slo_s: found 0"), ExperimentError, "slo_s: found 0"),
        (KeyboardInterrupt(), Interrupted, "interrupted"),
        (ZeroDivisionError("by\nzero"), ZeroDivisionError, "ZeroDivisionError: by zero"),
        (SystemExit(143), SystemExit, "SystemExit: 143"),
    ],
)
def test_a_run_that_ends_early_says_where_and_why(
    lab: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
    reason: str,
) -> None:
    """Whatever ended it; the system that had finished stays, with a comparison."""
    fails_in(monkeypatch, "dilu", error)
    with pytest.raises(raised):
        run_experiment(load_experiment(lab), out=tmp_path / "run")
    state = known(tmp_path / "run")
    assert (state.state, state.system, state.reason) == ("aborted", "dilu", reason)
    assert state.finished == ("exclusive",)
    assert [run.manifest.system for run in load_all(tmp_path / "run")] == ["exclusive"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "arrivals.parquet",
        "comparison.csv",
        "exclusive",
        RUN_FILE,
    ]


@pytest.mark.parametrize("out", ["run", None])
@pytest.mark.parametrize(
    "error",
    [ExperimentError("bad"), KeyboardInterrupt(), ZeroDivisionError(), SystemExit(143)],
    ids=lambda error: type(error).__name__,
)
def test_nothing_stays_of_a_run_of_which_nothing_finished(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, out: str | None
) -> None:
    """Bad input, Ctrl-C and faults of our own leave no directory where there is nothing to tell."""
    monkeypatch.chdir(tmp_path)
    fails_in(monkeypatch, "exclusive", error)
    with pytest.raises(BaseException):  # noqa: B017, PT011 - which it is, others test
        run_experiment(load_experiment(lab), out=None if out is None else Path(out))
    assert [path.name for path in tmp_path.iterdir()] == ["lab.yaml"]


def test_a_failure_of_the_real_world_is_kept_even_alone(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went wrong on a host is a result: arrivals and reason stay, and the error says where."""
    fails_in(monkeypatch, "exclusive", RealGpuError("controller: hangs"))
    with pytest.raises(RealGpuError) as caught:
        run_experiment(load_experiment(lab), out=tmp_path / "run")
    assert str(caught.value) == f"{lab}: system exclusive: controller: hangs (told in {tmp_path / 'run'})"
    state = known(tmp_path / "run")
    assert str(state) == "aborted in system exclusive: controller: hangs; no system finished"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["arrivals.parquet", RUN_FILE]
    with pytest.raises(ExperimentError, match="is not empty"):
        run_experiment(load_experiment(lab), out=tmp_path / "run")


def test_the_backend_is_told_of_a_real_run(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A simulated one has none."""

    def refuses(*_: object, **__: object) -> None:
        raise RealGpuError("no host")

    monkeypatch.setattr(worlds_module, "run_for_real", refuses)
    with pytest.raises(RealGpuError, match="no host"):
        run_experiment(load_experiment(lab), world="realgpu", backend="cpu", out=tmp_path / "run")
    assert (known(tmp_path / "run").world, known(tmp_path / "run").backend) == ("realgpu", "cpu")


def test_a_run_that_was_killed_is_read_as_aborted(lab: Path, tmp_path: Path) -> None:
    """Its file still says that it runs, but no process does; which system it was in is known."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "dilu", "replay", str(lab), "--set", "duration_s=100000"]
    process = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.DEVNULL)
    end_s = time.monotonic() + 60.0
    while not any(out.glob(".exclusive.*")) and time.monotonic() < end_s:
        time.sleep(0.01)
    assert known(out).state == "running"
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert json.loads((out / RUN_FILE).read_text())["state"] == "running"
    state = known(out)
    assert (state.state, state.reason, state.system) == ("aborted", LOST, "exclusive")


def put(folder: Path, **fields: Any) -> None:
    """Write a `run.json` by hand."""
    (folder / RUN_FILE).write_text(json.dumps({**ONE, "state": "running", "pid": os.getpid(), **fields}))


def test_whose_process_it_was_decides_whether_it_runs(tmp_path: Path) -> None:
    """An id that another process has by now is not the run's, and of another machine nothing is known."""
    RunProgress(tmp_path, "lab", ("dilu",), "sim", None)
    assert known(tmp_path).state == "running"
    own = known(tmp_path).started
    assert own is not None
    for fields, state in [
        ({"started": own}, "running"),
        ({"started": own + 1}, "aborted"),
        ({"started": own + 1, "host": "elsewhere"}, "running"),
        ({"started": own + 1, "state": "complete"}, "complete"),
        ({"started": None}, "running"),
        ({"started": None, "pid": 2**22 + 1}, "aborted"),
    ]:
        put(tmp_path, **fields)
        assert known(tmp_path).state == state, fields


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as JSON"),
        ("[]", "found a JSON list, allowed is an object"),
        ("{}", "state: field required"),
        (json.dumps({**ONE, "state": "done", "pid": 1}), "state: input should be 'running', 'complete'"),
        (json.dumps({**ONE, "state": "running", "pid": -1}), "pid: input should be greater than"),
        (json.dumps({**ONE, "state": "running", "pid": 1, "mood": 1}), "mood: extra inputs"),
    ],
)
def test_a_damaged_state_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    """It names the file and what is wrong with it."""
    (tmp_path / RUN_FILE).write_text(text)
    with pytest.raises(RecordingError, match=r"run\.json: ") as caught:
        run_state(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_state_nothing_is_said(tmp_path: Path) -> None:
    """A run directory of another time or maker."""
    assert run_state(tmp_path) is None


@given(st.text())
@example("cannot open \udcff.csv")
def test_any_reason_comes_back_in_one_line(reason: str) -> None:
    """Errors of others may hold anything; what is no text is shown by its number."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        RunProgress(folder, "lab", ("dilu",), "sim", None).abort(reason)
        text = known(folder).reason
        assert text is not None
        assert text == " ".join(text.split())
        if not any("\ud800" <= letter <= "\udfff" for letter in reason):
            assert text == " ".join(reason.split())
        assert [path.name for path in folder.iterdir()] == [RUN_FILE]


def test_a_disk_that_is_full_hides_no_error(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the ending cannot be written, what ended the run is raised all the same, and nothing stays."""
    fails_in(monkeypatch, "exclusive", ZeroDivisionError("first"))

    def full(self: RunProgress, reason: str) -> None:
        run_files(tmp_path / "run")[1].touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunProgress, "abort", full)
    with pytest.raises(ZeroDivisionError, match="first"):
        run_experiment(load_experiment(lab), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
