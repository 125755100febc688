"""The first run on a GPU host: what is done in which part of its budget, and what is kept.

Every part runs in processes of its own with a time limit; what goes wrong in one is recorded and the next one
begins. All of it ends at the deadline, and nothing of it stays.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import shutil
import signal
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from realgpu.checks.listing import CHECKS, Check, named
from realgpu.checks.log import Log
from realgpu.checks.packages import NOT_INSTALLED, install_beside, missing_for, missing_packages
from realgpu.checks.processes import MARK, Limited, end_left_behind
from realgpu.checks.record import Ledger, plain, write_json
from realgpu.checks.runner import NO_TIME, Runner, mps_folder
from realgpu.checks.settings import Settings
from realgpu.checks.subject import python_environment
from realgpu.checks.table import Stage, colocation_table, stage_table, table

LAST_CHECKS: Final = ("launch_costs", "cold_start", "client_endings")
"""Made after the calibration: long, or such that they could leave the device's daemon ill."""

SPARE_S: Final = 35.0
"""Kept for the end: ending processes takes 12 s at most, and twice that where they hang."""

CHECKS_SHARE: Final = 0.35
AFTERWARDS_SHARE: Final = 0.25
"""Of the budget: for checks at the beginning at most, and kept for co-location and last checks."""

CALIBRATION_LEAST_S: Final = 40.0
"""Below that no model has the six points that a surface needs. Assumed."""

COLOCATION_S: Final = 10.0
COLOCATION_START_S: Final = 25.0
COLOCATION_SYSTEMS: Final = ("mps-r", "dilu")
COLOCATION_MODELS: Final = ("bert-base", "roberta-large", "resnet152")
"""Those of the shipped experiment `one-gpu`; the last one trains."""

MOST_BYTES: Final = 16 * 2**20
_TRIAL_S: Final = 2.0
"""For each system, and for its start, where nothing is measured."""

_POLL_S: Final = 0.2
_INTERRUPT_WITHIN_S: Final = 12.0


@dataclass(frozen=True, slots=True)
class Order:
    """What the person who starts a run asks for.

    Attributes
    ----------
    out
        Folder of the results, which are files without a folder among them.
    wheels
        Folder with what may be missing on the host.
    """

    backend: str
    budget_s: float
    models: tuple[str, ...] | None
    wheels: Path | None
    out: Path
    seed: int


class NotDoneError(RuntimeError):
    """A part cannot be done here; the message says why."""


class FirstRun:
    """The run: its clock, its log, and what there is to keep."""

    def __init__(self, order: Order, begun_s: float, say: Callable[[str], None]) -> None:
        self.order = order
        self.out = order.out
        self.begun_s = begun_s
        self.spare_s = min(SPARE_S, order.budget_s / 4)
        self.deadline_s = begun_s + order.budget_s - self.spare_s
        self.log = Log(self.out / "log.txt", say)
        self.ledger = Ledger(self.out / "checks.json")
        self.stages: list[Stage] = []
        self.notes: list[str] = []
        self.results: list[str] = []
        self._mark = uuid.uuid4().hex
        self._started = datetime.now(UTC)

    def left_s(self) -> float:
        """Return the seconds until everything is to be ended."""
        return self.deadline_s - time.monotonic()

    def go(self, scratch: Path) -> None:
        """Do everything, in its order."""
        budget_s = self.order.budget_s
        self.stage("packages", lambda: self.see_packages(scratch / "packages"))
        first = tuple(check for check in CHECKS if check.name not in LAST_CHECKS)
        self.stage("checks", lambda: self.check(first, self.left_s() - (1 - CHECKS_SHARE) * budget_s))
        self.stage("calibration", lambda: self.calibrate(scratch, AFTERWARDS_SHARE * budget_s))
        self.stage("co-location", lambda: self.colocate(scratch))
        self.stage("last checks", lambda: self.check(self.unmade(), 0.0))

    def stage(self, name: str, work: Callable[[], str]) -> None:
        """Do a part; what goes wrong in it does not stop the others."""
        begun_s = time.monotonic()
        self.log.say(f"== {name}, {self.left_s():.0f} s left")
        stage = Stage(name, "interrupted", 0.0)
        self.stages.append(stage)
        try:
            stage.outcome, stage.note = "done", work()
        except NotDoneError as error:
            stage.outcome, stage.note = "not done", str(error)
        except Exception as error:
            stage.outcome, stage.note = "FAILED", f"{type(error).__name__}: {error}"
        finally:
            stage.seconds = time.monotonic() - begun_s
            self.write_manifest()
        self.log.say(f"== {name}: {stage.outcome}" + (f": {stage.note}" if stage.note else ""))

    def see_packages(self, target: Path) -> str:
        """Name what is missing, or install it beside from wheels that were brought along."""
        missing = missing_packages()
        if not missing:
            return "nothing is missing"
        if self.order.wheels is None:
            raise NotDoneError(f"missing: {', '.join(missing)} (--wheels DIR installs from wheels in DIR)")
        wanted = [package for package in missing if package not in NOT_INSTALLED]
        if not install_beside(wanted, self.order.wheels, target):
            for package in wanted:
                install_beside([package], self.order.wheels, target)
        sys.path.append(str(target))  # behind what the host has, for every process from here on
        importlib.invalidate_caches()
        still = missing_packages()
        if still:
            raise NotDoneError(f"missing, and not to be had from {self.order.wheels}: {', '.join(still)}")
        return f"installed beside: {', '.join(wanted)}"

    def check(self, checks: Sequence[Check], most_left_s: float) -> str:
        """Make checks until only so much is left of the budget."""
        settings = Settings() if self.order.backend == "cuda" else Settings(use_torch=False, search_s=1.0)
        before = len(self.ledger.records)
        runner = Runner(
            self.ledger,
            self.log,
            mark=self._mark,
            deadline_s=min(self.deadline_s, time.monotonic() + self.left_s() - max(0.0, most_left_s)),
            backend=self.order.backend,
            settings=settings,
        )
        runner.run(checks)
        made = self.ledger.records[before:]
        counts = [sum(record.passed is passed for record in made) for passed in (True, False, None)]
        return "{} passed, {} failed, {} not done".format(*counts)

    def unmade(self) -> tuple[Check, ...]:
        """Return the last checks, after those that there was no time for at first."""
        late = [record.name for record in self.ledger.records if (record.reason or "").startswith(NO_TIME)]
        return named([*late, *LAST_CHECKS])

    def calibrate(self, scratch: Path, keep_s: float) -> str:
        """Measure what work costs here."""
        _need("calibration")
        budget_s = self.left_s() - keep_s
        least_s = CALIBRATION_LEAST_S if self.order.backend == "cuda" else _TRIAL_S
        if budget_s < least_s:
            raise NotDoneError(f"wants {least_s:.0f} s at least, {max(0.0, budget_s):.0f} s are left")
        folder = scratch / "calibration"
        folder.mkdir()
        config = {
            "backend": self.order.backend,
            "models": self.order.models,
            "budget_s": budget_s,
            "seed": self.order.seed,
            "share_by": self._share_by(),
            "folder": str(folder),
        }
        command = ["realgpu.checks.campaign", json.dumps(config)]
        try:
            return self.run_beside(command, scratch / "campaign.out", budget_s + _INTERRUPT_WITHIN_S)
        finally:
            self._keep_calibration(folder)

    def colocate(self, scratch: Path) -> str:
        """Serve and train on one GPU under two systems, a few seconds each."""
        _need("calibration", "co-location")
        is_device = self.order.backend == "cuda"
        duration_s = COLOCATION_S if is_device else _TRIAL_S
        wanted_s = len(COLOCATION_SYSTEMS) * (duration_s + (COLOCATION_START_S if is_device else _TRIAL_S))
        if self.left_s() < wanted_s:
            raise NotDoneError(f"wants about {wanted_s:.0f} s, {max(0.0, self.left_s()):.0f} s are left")
        folder = scratch / "colocation"
        command = ["dilu", "replay", "one-gpu", "--world", "realgpu", "--backend", self.order.backend]
        command += ["--set", f"duration_s={duration_s:g}", "--seed", str(self.order.seed)]
        command += [word for system in COLOCATION_SYSTEMS for word in ("--system", system)]
        command += [*_calibrated(scratch / "calibration" / "catalog"), "--out", str(folder)]
        begun_s = time.monotonic()
        try:
            last = self.run_beside(command, scratch / "colocation.out", max(2 * wanted_s, 30.0))
        finally:
            self._keep_colocation(folder)
        seconds = time.monotonic() - begun_s
        return (
            last if not last.startswith("Results") else f"{', '.join(COLOCATION_SYSTEMS)} in {seconds:.0f} s"
        )

    def run_beside(self, command: Sequence[str], output: Path, limit_s: float) -> str:
        """Run a module of this project in a process of its own, for a limited time; show what it prints.

        Parameters
        ----------
        command
            The module and its arguments.

        Raises
        ------
        NotDoneError
            If it fails; its last line is the reason.
        """
        process = Limited(
            [sys.executable, "-P", "-m", *command], environment=self._environment(), output=output
        )
        begun_s = time.monotonic()
        end_s = min(self.deadline_s, begun_s + limit_s)
        shown, status = 0, None
        try:
            while status is None and time.monotonic() < end_s:
                status = process.wait(_POLL_S)
                shown = self._show_new(output, shown)
        finally:
            process.end(signal.SIGINT, _INTERRUPT_WITHIN_S)
            self._show_new(output, shown)
        last = (_lines(output) or [""])[-1].strip()
        if status is None:
            return f"ended after {end_s - begun_s:.0f} s, what there was is kept"
        if status != 0:
            raise NotDoneError(last or f"its process ended ({status})")
        return last

    def finish(self, reason: str | None) -> None:
        """End what is left, and write the summary."""
        if reason is not None:
            self.notes.append(reason)
        left = end_left_behind(self._mark, _INTERRUPT_WITHIN_S)
        if left:
            self.notes.append(f"processes {', '.join(map(str, left))} had to be ended")
        for path in sorted(self.out.iterdir()):
            if path.is_file() and path.stat().st_size > MOST_BYTES:
                self.notes.append(f"{path.name} has {path.stat().st_size} bytes, above {MOST_BYTES}")
        self.log.show("\n" + table(self.ledger.records))
        for result in self.results:
            self.log.show("\n" + result)
        self.log.show("\n" + stage_table(self.stages))
        for note in self.notes:
            self.log.show(f"note: {note}")
        self.write_manifest()
        self.log.show(f"results: {self.out}")

    def write_manifest(self) -> None:
        """Write what this run was, as far as it has come."""
        manifest = {
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": time.monotonic() - self.begun_s,
            "order": plain(asdict(self.order)),
            "python": sys.version,
            "system": platform.platform(),
            "stages": [asdict(stage) for stage in self.stages],
            "notes": self.notes,
            "files": {path.name: path.stat().st_size for path in sorted(self.out.iterdir())},
        }
        write_json(self.out / "manifest.json", manifest)

    def _share_by(self) -> str | None:
        """Return how shares of a GPU are to be realised: by MPS where the driver says that it is there."""
        if self.order.backend != "cuda":
            return None
        made = {record.name: record for record in self.ledger.records}
        started = "mps_start" in made and made["mps_start"].passed is True
        client = made["mps_clients"].found.get("100 %", {}) if "mps_clients" in made else {}
        return "mps" if started and client.get("attribute_133", 1) == 1 else "gate"

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, MARK: self._mark, "HF_HUB_OFFLINE": "1", "COLUMNS": "110"}
        further = mps_folder(self.ledger.records)
        if further is not None:
            environment["PATH"] = f"{environment.get('PATH', os.defpath)}:{further}"
        return python_environment(environment)

    def _show_new(self, output: Path, shown: int) -> int:
        lines = _lines(output)
        for line in lines[shown:]:
            self.log.say(f"   {line}")
        return len(lines)

    def _keep_calibration(self, folder: Path) -> None:
        """Take over what the campaign wrote, however far it came."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        for path in [path for path in files if path.name == "measurements.csv"][:1]:
            shutil.copyfile(path, self.out / path.name)
        for path in [path for path in files if path.name == "report.txt"][:1]:
            self.results.append(path.read_text(encoding="utf-8", errors="replace").rstrip())
        if files:
            beside = self.out / "catalog.zip.part"
            with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in files:
                    archive.write(path, path.relative_to(folder))
            beside.replace(self.out / "catalog.zip")

    def _keep_colocation(self, folder: Path) -> None:
        """Take over what was written of each system."""
        kept = {
            system.name: {
                path.stem: json.loads(path.read_text(encoding="utf-8"))
                for path in sorted(system.glob("*.json"))
            }
            for system in sorted(folder.glob("*"))
            if (system / "summary.json").is_file()
        }
        if kept:
            write_json(self.out / "colocation.json", kept)
            summaries = {name: found["summary"] for name, found in kept.items()}
            self.results.append(colocation_table(summaries))


def _need(*parts: str) -> None:
    """See that what these parts import is there.

    Raises
    ------
    NotDoneError
        If it is not.
    """
    missing = missing_for(*parts)
    if missing:
        raise NotDoneError(f"needs {', '.join(missing)}")


def _calibrated(catalog: Path) -> list[str]:
    """Return the words that take profiles from a calibration, if it came as far as these models."""
    files = [catalog / f"{model}.yaml" for model in COLOCATION_MODELS]
    if not all(path.is_file() for path in files):
        return []
    if "\ntraining:" not in files[-1].read_text(encoding="utf-8"):
        return []
    named = re.search(r"(?m)^name: *(.+?) *$", (catalog / "gpu.yaml").read_text(encoding="utf-8"))
    gpu = named.group(1).strip("'\"") if named else ""
    return ["--set", f"profiles={catalog}", "--set", f"cluster.gpu={gpu}"]


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]
