"""The script for the first run on a GPU host, where there is none."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from profiles.catalog import SHIPPED
from realgpu.checks import CheckRecord, first_run
from realgpu.checks.first_run import FirstRun, NotDoneError, Order
from realgpu.checks.packages import NEEDED, missing_for, missing_packages

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "calibrate_on_hardware.py"
PATIENCE_S = 120.0
BARE = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LD_PRELOAD")}


def order(out: Path, budget_s: float = 1000.0, **settings: Any) -> Order:
    """What somebody asks for."""
    return Order(
        **{"backend": "virtual", "models": None, "wheels": None, "seed": 0, **settings},
        out=out,
        budget_s=budget_s,
    )


def new_run(out: Path, budget_s: float = 1000.0, **settings: Any) -> FirstRun:
    """A run that says nothing."""
    return FirstRun(order(out, budget_s, **settings), time.monotonic(), lambda text: None)


@pytest.fixture
def own_tmp(tmp_path: Path) -> Iterator[Path]:
    """A folder for temporary files, of which none may be left."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


def run_script(
    own_tmp: Path, *arguments: str, without_site: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run it from elsewhere, as from a checkout that is not installed."""
    call = [sys.executable, *(["-S"] if without_site else []), str(SCRIPT), *arguments]
    environment = BARE | {"TMPDIR": str(own_tmp)}
    return subprocess.run(
        call, cwd="/", env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def test_it_runs_to_its_end_where_there_is_no_device(tmp_path: Path, own_tmp: Path) -> None:
    """Checks of a device are left out, each part is in the table, and results are few flat files."""
    out = tmp_path / "out"
    done = run_script(own_tmp, "--backend", "virtual", "--budget", "12", "--out", str(out))
    assert done.returncode == 0, done.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    parts = {stage["name"]: stage["outcome"] for stage in manifest["stages"]}
    assert list(parts) == ["packages", "checks", "calibration", "co-location", "last checks"]
    assert parts["checks"] == parts["last checks"] == "done"
    assert "FAILED" not in parts.values()
    records = {record["name"]: record for record in json.loads((out / "checks.json").read_text())}
    assert records["gate_effective"]["reason"] == "skipped: backend virtual: there is no device to look at"
    assert records["nothing_left"]["passed"] is True
    assert f"results: {out}" in done.stdout
    assert (out / "log.txt").read_text().count("== checks") == 2
    files = list(out.iterdir())
    assert all(path.is_file() and path.stat().st_size <= 16 * 2**20 for path in files)
    assert len(files) <= 8
    assert not [path for path in files if path.suffix == ".part"]


def test_ctrl_c_keeps_what_there_is(tmp_path: Path, own_tmp: Path) -> None:
    """The part that runs is ended, the summary is written, and the status is 0 with a note."""
    out = tmp_path / "out"
    call = [sys.executable, str(SCRIPT), "--backend", "cpu", "--budget", "60", "--out", str(out)]
    environment = BARE | {"TMPDIR": str(own_tmp)}
    process = subprocess.Popen(call, cwd="/", env=environment, stdout=subprocess.PIPE, text=True)
    deadline_s = time.monotonic() + PATIENCE_S
    while not (out / "checks.json").exists() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "note: ended by SIGINT" in printed
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["notes"] == ["ended by SIGINT"]
    assert "interrupted" in {stage["outcome"] for stage in manifest["stages"]}


def test_the_end_of_the_budget_is_the_end(tmp_path: Path, own_tmp: Path) -> None:
    """Whatever there was no time for is named."""
    out = tmp_path / "out"
    begun_s = time.monotonic()
    done = run_script(own_tmp, "--backend", "virtual", "--budget", "2", "--out", str(out))
    assert done.returncode == 0
    assert time.monotonic() - begun_s < PATIENCE_S / 2
    assert "skipped: wants about 15 s" in done.stdout
    outcomes = {one["name"]: one for one in json.loads((out / "manifest.json").read_text())["stages"]}
    assert outcomes["co-location"]["outcome"] == "not done"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--budget", "-1"], "--budget: found -1, allowed is more than 0 seconds"),
        (["--wheels", "/no/such"], "--wheels: found /no/such, which is no folder"),
        (["--out", "/proc/none/out"], "--out: /proc/none/out: No such file or directory"),
    ],
)
def test_bad_input_is_refused_in_a_line(
    tmp_path: Path, own_tmp: Path, arguments: list[str], fault: str
) -> None:
    """Status 2, before anything is done."""
    done = run_script(own_tmp, "--out", str(tmp_path / "out"), *arguments)
    assert (done.returncode, done.stderr) == (2, fault + "\n")


def test_checks_need_nothing_but_python(tmp_path: Path, own_tmp: Path) -> None:
    """With no site packages at all, what is missing is named in one line, and checks are made."""
    out = tmp_path / "out"
    done = run_script(own_tmp, "--backend", "virtual", "--budget", "30", "--out", str(out), without_site=True)
    assert done.returncode == 0, done.stderr
    assert "missing: numpy, scipy, pydantic, PyYAML" in done.stdout
    stages = {one["name"]: one for one in json.loads((out / "manifest.json").read_text())["stages"]}
    assert stages["packages"]["outcome"] == "not done"
    assert stages["checks"]["outcome"] == "done"


def test_missing_packages_are_installed_from_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a folder of the run; what no wheel is there for is named, and keeps none of the others away."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    metadata = "diluwheeltest-1.0.dist-info"
    with zipfile.ZipFile(wheels / "diluwheeltest-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("diluwheeltest.py", "VALUE = 7\n")
        wheel.writestr(f"{metadata}/METADATA", "Metadata-Version: 2.1\nName: diluwheeltest\nVersion: 1.0\n")
        wheel.writestr(f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{metadata}/RECORD", "")
    needed = {"calibration": {"diluwheeltest": "diluwheeltest", "diluabsent": "diluabsent"}}
    monkeypatch.setattr("realgpu.checks.packages.NEEDED", needed)
    monkeypatch.setattr(sys, "path", list(sys.path))
    run = new_run(tmp_path, wheels=wheels)
    assert missing_packages() == ["diluwheeltest", "diluabsent"]
    with pytest.raises(NotDoneError, match=f"missing, and not to be had from {wheels}: diluabsent$"):
        run.see_packages(tmp_path / "beside")
    assert missing_for("calibration") == ["diluabsent"]
    assert sys.path[-1] == str(tmp_path / "beside")
    shutil.rmtree(tmp_path / "beside")


def test_what_each_part_needs_is_known() -> None:
    """Here all that simulator and policies need is there."""
    assert missing_for("calibration", "co-location") == []
    assert set(NEEDED) == {"calibration", "co-location", "device"}


def test_checks_that_there_was_no_time_for_come_again(tmp_path: Path) -> None:
    """Before the last ones, in the order of the list."""
    run = new_run(tmp_path)
    for name, reason in (
        ("green_contexts", "skipped: wants about 15 s, 3 s are left"),
        ("gate_rates", "skipped: x"),
    ):
        run.ledger.add(CheckRecord(name, None, 0.0, {}, reason))
    assert [check.name for check in run.unmade()] == [
        "green_contexts",
        "launch_costs",
        "cold_start",
        "client_endings",
    ]


def test_a_part_that_fails_stops_no_other(tmp_path: Path) -> None:
    """Its last line is the reason; a fault of our own is told as one."""
    run = new_run(tmp_path)

    def broken() -> str:
        raise ZeroDivisionError("here")

    run.stage("first", broken)
    run.stage("second", lambda: run.run_beside(["no_such_module_of_ours"], tmp_path / "second.out", 30.0))
    run.stage("third", lambda: "well")
    assert [(stage.name, stage.outcome) for stage in run.stages] == [
        ("first", "FAILED"),
        ("second", "not done"),
        ("third", "done"),
    ]
    assert run.stages[0].note == "ZeroDivisionError: here"
    assert "no_such_module_of_ours" in run.stages[1].note


def test_a_part_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First as by Ctrl-C; what it had printed is shown."""
    (tmp_path / "hanging.py").write_text(
        "import time\nprint('begun', flush=True)\n"
        "try:\n    time.sleep(1000)\nexcept KeyboardInterrupt:\n    print('kept', flush=True)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    said: list[str] = []
    run = FirstRun(order(tmp_path), time.monotonic(), said.append)
    assert run.run_beside(["hanging"], tmp_path / "out.txt", 1.0) == "ended after 1 s, what there was is kept"
    assert [line.split("s  ")[1].strip() for line in said] == ["begun", "kept"]


def test_what_calibration_wrote_is_taken_over(tmp_path: Path) -> None:
    """Measurements beside, all of it in one archive, the report in the summary."""
    out, folder = tmp_path / "out", tmp_path / "calibration"
    out.mkdir()
    (folder / "catalog").mkdir(parents=True)
    (folder / "measurements.csv").write_text("model\n")
    (folder / "catalog" / "gpu.yaml").write_text("name: x\n")
    (folder / "report.txt").write_text("a table\n")
    run = new_run(out)
    run._keep_calibration(folder)
    run.finish("a reason")
    assert (out / "measurements.csv").read_text() == "model\n"
    with zipfile.ZipFile(out / "catalog.zip") as archive:
        assert sorted(archive.namelist()) == ["catalog/gpu.yaml", "measurements.csv", "report.txt"]
    assert "a table" in (out / "log.txt").read_text()
    assert json.loads((out / "manifest.json").read_text())["notes"] == ["a reason"]


def test_a_co_location_is_tried_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For real, with virtual work: what was served and trained stands in the file and in the table."""
    monkeypatch.setattr(first_run, "COLOCATION_SYSTEMS", ("mps-r",))
    monkeypatch.setattr(first_run, "_TRIAL_S", 1.0)
    run = new_run(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert run.colocate(scratch).startswith("mps-r in ")
    kept = json.loads((tmp_path / "colocation.json").read_text())
    assert set(kept) == {"mps-r"}
    assert kept["mps-r"]["summary"]["completed"] > 0
    assert run.results[0].splitlines()[2].startswith("mps-r")


@pytest.mark.parametrize("complete", [True, False])
def test_a_co_location_takes_its_profiles_from_the_calibration(tmp_path: Path, complete: bool) -> None:
    """If it came as far as all of its models."""
    for model in first_run.COLOCATION_MODELS:
        shutil.copyfile(SHIPPED / f"{model}.yaml", tmp_path / f"{model}.yaml")
    (tmp_path / "gpu.yaml").write_text("format: 1\nname: 'NVIDIA H100 80GB HBM3'\n")
    if not complete:
        (tmp_path / "bert-base.yaml").unlink()
    words = ["--set", f"profiles={tmp_path}", "--set", "cluster.gpu=NVIDIA H100 80GB HBM3"]
    assert first_run._calibrated(tmp_path) == (words if complete else [])


@pytest.mark.parametrize(
    ("started", "attribute", "share_by"),
    [(True, 1, "mps"), (True, 0, "gate"), (False, 1, "gate"), (None, 1, "gate")],
)
def test_shares_are_realised_by_what_the_checks_found(
    tmp_path: Path, started: bool | None, attribute: int, share_by: str
) -> None:
    """By MPS where it started and its clients are such; else by the gate."""
    run = new_run(tmp_path, backend="cuda")
    run.ledger.add(CheckRecord("mps_start", started, 1.0))
    run.ledger.add(CheckRecord("mps_clients", False, 1.0, {"100 %": {"attribute_133": attribute}}))
    assert run._share_by() == share_by
    assert new_run(tmp_path)._share_by() is None


def test_a_file_that_is_too_large_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has to carry the results away."""
    monkeypatch.setattr(first_run, "MOST_BYTES", 10)
    (tmp_path / "large").write_bytes(b"x" * 11)
    run = new_run(tmp_path)
    run.finish(None)
    assert "large has 11 bytes, above 10" in run.notes
