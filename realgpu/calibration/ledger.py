"""What a calibration has measured so far, in files that are flushed row by row: cut off, it goes on there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from profiles import InterferenceMeasurement, Measurement, Point, StartUpMeasurement
from profiles.errors import ProfileError
from profiles.measurements import (
    Job,
    append_interference,
    append_measurements,
    append_start_ups,
    read_interference,
    read_measurements,
    read_start_ups,
)
from realgpu.calibration.failures import Failure
from realgpu.errors import RealGpuError

RECORD: Final = "calibration.json"
FAILURES: Final = "failures.jsonl"
"""Neither ends as a catalog's files do, so that both stay when one is written over this directory."""

SAME: Final = ("backend", "name", "uuid", "driver", "scale", "share_by")
"""What measurements of one directory have in common."""


class Ledger:
    """The rows of a calibration, in a directory and in memory.

    Attributes
    ----------
    measurements, start_ups, interference, failures
        All of them, those of earlier calls first.
    device
        What is known of the device.

    Raises
    ------
    RealGpuError
        If the directory cannot be made, or what is there cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RealGpuError(f"{directory}: cannot be made ({error.strerror})") from None
        try:
            self.measurements = read_measurements(self._measurements) if self._measurements.exists() else []
            self.start_ups = read_start_ups(self._start_ups) if self._start_ups.exists() else []
            self.interference = read_interference(self._interference) if self._interference.exists() else []
        except ProfileError as error:
            raise RealGpuError(f"{error}; mend it, or calibrate into another directory") from None
        self.failures = _read_failures(directory / FAILURES)
        self.device: dict[str, Any] = _read_record(directory / RECORD)

    def know(self, device: Mapping[str, Any]) -> None:
        """Take note of facts about the device.

        Raises
        ------
        RealGpuError
            If what was measured before is of another one.
        """
        for name in SAME:
            if name in device and name in self.device and device[name] != self.device[name]:
                raise RealGpuError(
                    f"{self.directory}: {name}: found measurements of {self.device[name]!r}, allowed is "
                    f"{device[name]!r}: calibrate into another directory"
                )
        if all(self.device.get(name) == value for name, value in device.items()):
            return
        self.device |= device
        path = self.directory / RECORD
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_text(json.dumps(self.device, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        beside.replace(path)

    def add(self, measurement: Measurement) -> None:
        """Keep a measurement."""
        append_measurements(self._measurements, [measurement])
        self.measurements.append(measurement)

    def add_start_up(self, start_up: StartUpMeasurement) -> None:
        """Keep a start-up."""
        append_start_ups(self._start_ups, [start_up])
        self.start_ups.append(start_up)

    def add_interference(self, interference: InterferenceMeasurement) -> None:
        """Keep what a neighbour cost."""
        append_interference(self._interference, [interference])
        self.interference.append(interference)

    def add_failure(self, failure: Failure) -> None:
        """Keep a failure."""
        line = json.dumps(failure.as_json(), ensure_ascii=False) + "\n"
        with (self.directory / FAILURES).open("ab", buffering=0) as file:
            file.write(line.encode())
        self.failures.append(failure)

    def alone(self, model: str, job: Job) -> list[Measurement]:
        """Return what was measured of a model without a neighbour."""
        return [
            one
            for one in self.measurements
            if one.model == model and one.job == job and one.neighbour is None
        ]

    def points(self, model: str, job: Job) -> list[Point]:
        """Return those as points."""
        return [one.point for one in self.alone(model, job)]

    def failed(self, model: str, job: Job) -> list[Failure]:
        """Return what failed of a model."""
        return [one for one in self.failures if one.model == model and one.job == job]

    @property
    def _measurements(self) -> Path:
        return self.directory / "measurements.csv"

    @property
    def _start_ups(self) -> Path:
        return self.directory / "start_ups.csv"

    @property
    def _interference(self) -> Path:
        return self.directory / "interference.csv"


def _read_record(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RealGpuError(f"{path}: is no JSON object; mend it, or calibrate into another directory")
    return found


def _read_failures(path: Path) -> list[Failure]:
    """Read failures; a last line without its end was left unfinished, and is removed."""
    if not path.exists():
        return []
    *lines, unfinished = path.read_text(encoding="utf-8").split("\n")
    if unfinished:
        os.truncate(path, path.stat().st_size - len(unfinished.encode()))
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(Failure(**json.loads(line)))
        except (ValueError, TypeError, RealGpuError):
            raise RealGpuError(f"{path}: line {number}: found {line[:80]!r}, which is no failure") from None
    return found
