"""Measurements of a device as they were made: one row a measurement, kept beside the profiles fitted to them.

A calibration that was cut off reads what it has written and goes on, so the last row of a file may be half
there: it is left out when reading, and removed before more is appended (`profiles.rows`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import scipy  # its parts are loaded when they are used: they take long

from profiles.errors import ProfileError
from profiles.rows import append_rows, read_rows, write_rows
from profiles.surface import Point

Job = Literal["serve", "prefill", "train"]
"""What was timed: `serve` one batch, of an llm one decode step; `prefill` the prompt; `train` one step."""

ShareBy = Literal["mps", "green", "gate", "virtual", "whole"]
"""How a share was realised: MPS percentage, green context, launch gate, computed, or the GPU as it is."""

CONFIDENCE = 0.95
"""Of the interval behind `Measurement.spread`."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """How long one job took on one share of one device, repeat by repeat.

    Attributes
    ----------
    model, job, batch
        What ran. `batch` counts requests, of a training samples.
    share, share_by
        Its share of the SMs, in (0, 1], and how that was realised.
    seconds
        One number a repeat.
    launches
        Kernel launches of one batch or step.
    cost
        What the launch gate charged for one batch or step, in the unit of its cost model.
    memory_bytes
        Device memory of the process.
    power_w
        Mean power of the device meanwhile. Watts.
    neighbour
        Who ran beside, such as `resnet152:train@0.5:b64`; `None`: nobody did.
    held_out
        Kept from fitting, to score the fit.

    Raises
    ------
    ProfileError
        If a value is impossible; the message names the field.
    """

    model: str
    job: Job
    batch: int
    share: float
    share_by: ShareBy
    seconds: tuple[float, ...]
    launches: int | None = None
    cost: float | None = None
    memory_bytes: int | None = None
    power_w: float | None = None
    neighbour: str | None = None
    held_out: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch", index(self.batch))
        object.__setattr__(self, "share", float(self.share))
        object.__setattr__(self, "seconds", tuple(float(second) for second in self.seconds))
        for name in ("launches", "memory_bytes"):
            _make(self, name, index)
        for name in ("cost", "power_w"):
            _make(self, name, float)
        _check_name("model", self.model)
        _check_choice("job", self.job, get_args(Job))
        if self.batch < 1:
            raise ProfileError(f"batch: found {self.batch}, allowed are integers from 1")
        _check_share("share", self.share)
        _check_choice("share_by", self.share_by, get_args(ShareBy))
        if not self.seconds:
            raise ProfileError("seconds: found no repeat, a measurement has at least one")
        for second in self.seconds:
            if not 0.0 < second < math.inf:
                raise ProfileError(f"seconds: found {second}, allowed are finite seconds above 0")
        for name in ("launches", "cost", "memory_bytes", "power_w"):
            _check_amount(name, getattr(self, name))
        if self.neighbour is not None:
            _check_name("neighbour", self.neighbour)

    @property
    def median_s(self) -> float:
        """Median of the repeats. Seconds."""
        return float(np.median(self.seconds))

    @property
    def p95_s(self) -> float:
        """95th percentile of the repeats, linear between them. Seconds."""
        return float(np.percentile(self.seconds, 95.0))

    @property
    def spread(self) -> float:
        """Relative half width of an interval that holds the true median with 95 % confidence.

        Its ends are two of the repeats, by the binomial law of how many lie below the median, so nothing is
        assumed of how repeats scatter (David & Nagaraja, Order Statistics, 2003, section 7.1). Infinite for
        fewer than six repeats: all of them lie on one side too often.
        """
        repeats = len(self.seconds)
        chance = scipy.special.bdtr(np.arange(repeats), repeats, 0.5)
        below = int(np.searchsorted(chance, (1.0 - CONFIDENCE) / 2.0))
        if below < 1:
            return math.inf
        ordered = sorted(self.seconds)
        return (ordered[repeats - below] - ordered[below - 1]) / 2.0 / self.median_s

    @property
    def point(self) -> Point:
        """What a fit takes of it: batch, share, median seconds, and whether it is held out."""
        return Point(self.batch, self.share, self.median_s, self.held_out)


@dataclass(frozen=True, slots=True)
class StartUpMeasurement:
    """How long one start of an instance took, part by part.

    Attributes
    ----------
    model, tier
        What started, and where its weights lay (`disk`, `page-cache`, `pinned`, ...).
    runtime_s, context_s, weights_s, warm_up_s
        Import of the framework, creation of the CUDA context, weights to the device, first batches. Seconds.
    weights_bytes
        Size of the weights.

    Raises
    ------
    ProfileError
        If a value is impossible; the message names the field.
    """

    model: str
    tier: str
    runtime_s: float
    context_s: float
    weights_s: float
    warm_up_s: float
    weights_bytes: int

    def __post_init__(self) -> None:
        _check_name("model", self.model)
        _check_name("tier", self.tier)
        for name in ("runtime_s", "context_s", "weights_s", "warm_up_s", "weights_bytes"):
            _make(self, name, index if name == "weights_bytes" else float)
            _check_amount(name, getattr(self, name))

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """Bandwidth at which the weights came; infinite where they took no time."""
        return self.weights_bytes / self.weights_s if self.weights_s > 0.0 else math.inf


@dataclass(frozen=True, slots=True)
class InterferenceMeasurement:
    """What one neighbour cost one victim.

    Attributes
    ----------
    victim, victim_share, neighbour, neighbour_share
        Who ran beside whom, as labels such as `bert-base:serve:b4`, and on which shares in (0, 1].
    slowdown
        Seconds of an iteration of the victim beside the neighbour, over those alone on the same share.
    extra_s_per_launch
        What an iteration took longer, for each of its kernel launches; noise may make it negative. Seconds.
    wave_s
        The mean wait behind a running wave of the neighbour that this means, after what the shares explain;
        `None` where it cannot be told. Seconds.

    Raises
    ------
    ProfileError
        If a value is impossible; the message names the field.
    """

    victim: str
    victim_share: float
    neighbour: str
    neighbour_share: float
    slowdown: float
    extra_s_per_launch: float
    wave_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("victim_share", "neighbour_share", "slowdown", "extra_s_per_launch", "wave_s"):
            _make(self, name, float)
        _check_name("victim", self.victim)
        _check_share("victim_share", self.victim_share)
        _check_name("neighbour", self.neighbour)
        _check_share("neighbour_share", self.neighbour_share)
        if not 0.0 < self.slowdown < math.inf:
            raise ProfileError(f"slowdown: found {self.slowdown}, allowed are finite numbers above 0")
        if not math.isfinite(self.extra_s_per_launch):
            raise ProfileError(
                f"extra_s_per_launch: found {self.extra_s_per_launch}, allowed are finite numbers"
            )
        _check_amount("wave_s", self.wave_s)


def write_measurements(path: str | Path, measurements: Iterable[Measurement]) -> None:
    """Write a file of measurements: beside, then renamed, so that it is there as a whole or not at all."""
    write_rows(Path(path), measurements, Measurement)


def append_measurements(path: str | Path, measurements: Iterable[Measurement]) -> None:
    """Add rows to a file of measurements, made with its header if there is none, and flush them.

    Raises
    ------
    ProfileError
        If the file has another header.
    """
    append_rows(Path(path), measurements, Measurement)


def read_measurements(path: str | Path) -> list[Measurement]:
    """Read a file of measurements; a row that its writer left unfinished at the end is left out.

    Raises
    ------
    ProfileError
        If the file is missing or malformed, naming line and column.
    """
    return read_rows(Path(path), Measurement)


def write_start_ups(path: str | Path, start_ups: Iterable[StartUpMeasurement]) -> None:
    """Write a file of start-ups, as `write_measurements`."""
    write_rows(Path(path), start_ups, StartUpMeasurement)


def append_start_ups(path: str | Path, start_ups: Iterable[StartUpMeasurement]) -> None:
    """Add rows to a file of start-ups, as `append_measurements`."""
    append_rows(Path(path), start_ups, StartUpMeasurement)


def read_start_ups(path: str | Path) -> list[StartUpMeasurement]:
    """Read a file of start-ups, as `read_measurements`."""
    return read_rows(Path(path), StartUpMeasurement)


def write_interference(path: str | Path, interference: Iterable[InterferenceMeasurement]) -> None:
    """Write a file of interference, as `write_measurements`."""
    write_rows(Path(path), interference, InterferenceMeasurement)


def append_interference(path: str | Path, interference: Iterable[InterferenceMeasurement]) -> None:
    """Add rows to a file of interference, as `append_measurements`."""
    append_rows(Path(path), interference, InterferenceMeasurement)


def read_interference(path: str | Path) -> list[InterferenceMeasurement]:
    """Read a file of interference, as `read_measurements`."""
    return read_rows(Path(path), InterferenceMeasurement)


def _make(row: object, field: str, kind: Callable[[Any], float]) -> None:
    """Turn a number of another library into Python's own, which is written so that it reads back exactly."""
    value = getattr(row, field)
    if value is not None:
        object.__setattr__(row, field, kind(value))


def _check_name(field: str, value: str) -> None:
    if not value or not value.isprintable() or value != value.strip() or "," in value:
        raise ProfileError(f"{field}: found {value!r}, allowed is a text of one line without a comma")


def _check_share(field: str, value: float) -> None:
    if not 0.0 < value <= 1.0:
        raise ProfileError(f"{field}: found {value}, allowed are shares in (0, 1]")


def _check_choice(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ProfileError(f"{field}: found {value!r}, allowed are {', '.join(allowed)}")


def _check_amount(field: str, value: float | None) -> None:
    if value is not None and not 0 <= value < math.inf:
        raise ProfileError(f"{field}: found {value}, allowed are finite numbers from 0")
