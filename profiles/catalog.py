"""Catalogs of profiles: a directory a GPU type, with gpu.yaml, a YAML file a model, raw points as CSV.

One that was measured also has device.json, the manifest of the device, and the measurements as they were
made: measurements.csv, start_ups.csv and interference.csv.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from profiles.capacity import Capacity, Prefill
from profiles.errors import ProfileError
from profiles.measurements import (
    InterferenceMeasurement,
    Measurement,
    StartUpMeasurement,
    read_interference,
    read_measurements,
    read_start_ups,
)
from profiles.model import GpuType, ModelProfile
from profiles.provenance import Provenance
from profiles.reading import nearest_name, read_device, read_points, read_section
from profiles.schema import (
    CapacitySection,
    GpuFile,
    HostSection,
    LatencySection,
    ModelFile,
    PointsSection,
    PrefillSection,
    TrainingSection,
    origins,
)
from profiles.startup import StartUp
from profiles.surface import Covariance, HeldOut, LatencySurface, Point
from profiles.training import StepCurve, TrainingProfile

SHIPPED = Path(__file__).parent / "data" / "a100-40gb"
"""The catalog that is used when none is named: the testbed of the Dilu paper (section 5.1)."""


class Files(NamedTuple):
    """Names of the files of a catalog that do not belong to one model."""

    gpu: str = "gpu.yaml"
    device: str = "device.json"
    measurements: str = "measurements.csv"
    start_ups: str = "start_ups.csv"
    interference: str = "interference.csv"


FILES = Files()


@dataclass(frozen=True)
class Catalog:
    """The profiles of some models on one type of GPU.

    Attributes
    ----------
    gpu
        The type of GPU.
    models
        Profiles by name, in alphabetical order.
    gpu_provenance
        The origin of the GPU's values, and of the parts of a cold start that depend on the host.
    device
        The manifest of the device that was measured, as JSON types; `None` where none was.
    measurements, start_ups, interference
        What was measured, as it was; possibly nothing.
    """

    gpu: GpuType
    models: Mapping[str, ModelProfile]
    gpu_provenance: Mapping[str, Provenance] = field(default_factory=dict, compare=False, repr=False)
    device: Mapping[str, Any] | None = None
    measurements: tuple[Measurement, ...] = field(default=(), repr=False)
    start_ups: tuple[StartUpMeasurement, ...] = field(default=(), repr=False)
    interference: tuple[InterferenceMeasurement, ...] = field(default=(), repr=False)

    def model(self, name: str) -> ModelProfile:
        """Return the profile of a model.

        Raises
        ------
        ProfileError
            If the catalog has no such model; the message names the nearest one it has.
        """
        if name in self.models:
            return self.models[name]
        raise ProfileError(f"model: found {name!r}, {nearest_name(name, list(self.models))}")

    def provenance_report(self) -> dict[str, Any]:
        """Return the origin of every value and the error of each surface, as JSON types for a manifest."""
        report: dict[str, Any] = {
            "gpu": {"name": self.gpu.name, "values": _plain(self.gpu_provenance)},
            "models": {
                name: {
                    "fit_mean_error": model.latency.fit_mean_error,
                    "fit_max_error": model.latency.fit_max_error,
                    "points": len(model.latency.points),
                    **_held_out_report("held_out", model.latency.held_out),
                    **_step_report(model.training),
                    "values": _plain(model.provenance),
                }
                for name, model in self.models.items()
            },
        }
        return report if self.device is None else report | {"device": dict(self.device)}

    def extrapolations(self) -> dict[str, str]:
        """Say for each model what was asked for outside the range of its fits; only those of which it was.

        It covers all questions of this process since `forget`: a run that reports what it asked itself calls
        that first.
        """
        said = {name: model.extrapolation() for name, model in self.models.items()}
        return {name: words for name, words in said.items() if words is not None}

    def forget(self) -> None:
        """Forget what was asked so far."""
        for model in self.models.values():
            model.forget()


def load_catalog(path: str | Path | None = None) -> Catalog:
    """Read a catalog, the shipped one by default; each directory is read once, and again when it changes.

    Parameters
    ----------
    path
        A directory with gpu.yaml, any number of model files and their CSV files. It replaces the shipped
        catalog as a whole, because profiles of different hardware do not compare.

    Raises
    ------
    ProfileError
        If the directory or a file is missing or malformed, naming file and field.
    """
    directory = Path(path).resolve() if path is not None else SHIPPED
    return _remembered(directory, _state(directory))


State = tuple[tuple[str, int, int, int], ...]


def _state(directory: Path) -> State:
    """Return what tells whether a directory changed: each file's name, identity, size and time."""
    if not directory.is_dir():
        raise ProfileError(f"{directory}: found no directory, a catalog is one with gpu.yaml and model files")
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            state = entry.stat(follow_symlinks=entry.is_file())
            found.append((entry.name, state.st_ino, state.st_size, state.st_mtime_ns))
    return tuple(sorted(found))


@lru_cache(maxsize=16)
def _remembered(directory: Path, state: State) -> Catalog:
    return read_catalog(directory)


def read_catalog(directory: Path) -> Catalog:
    """Read a catalog from its files, whether it was read before or not. Raises as `load_catalog`."""
    gpu_path = directory / FILES.gpu
    gpu = read_section(gpu_path, GpuFile)
    models: dict[str, ModelProfile] = {}
    for path in sorted(directory.glob("*.yaml")):
        if path != gpu_path:
            model = _model(path, gpu.startup)
            models[model.name] = model
    if not models:
        raise ProfileError(f"{directory}: found no model file, a catalog needs at least one")
    device, measurements, start_ups, interference = (directory / name for name in FILES[1:])
    return Catalog(
        GpuType(gpu.name, gpu.memory_bytes.value, gpu.sms.value),
        models,
        origins(gpu),
        device=read_device(device) if device.exists() else None,
        measurements=tuple(read_measurements(measurements)) if measurements.exists() else (),
        start_ups=tuple(read_start_ups(start_ups)) if start_ups.exists() else (),
        interference=tuple(read_interference(interference)) if interference.exists() else (),
    )


def _model(path: Path, host: HostSection) -> ModelProfile:
    file = read_section(path, ModelFile)
    if file.name != path.stem:
        raise ProfileError(f"{path}: name: found {file.name!r}, allowed is the file's own name {path.stem!r}")
    if file.kind == "llm" and file.output_tokens is None:
        raise ProfileError(f"{path}: output_tokens: found nothing, an llm needs its default answer length")
    if file.kind == "inference" and file.output_tokens is not None:
        raise ProfileError(f"{path}: output_tokens: found a value, only an llm has output tokens")
    if file.kind == "inference" and file.prefill is not None:
        raise ProfileError(f"{path}: prefill: found a section, only an llm has prompts")
    startup = StartUp(
        container_s=host.container_s.value,
        runtime_s=host.runtime_s.value,
        context_s=host.context_s.value,
        weights_bytes=file.weights_bytes.value,
        bandwidth_bytes_per_s=host.bandwidth_bytes_per_s.value,
        warm_up_s=file.warm_up_s.value,
    )
    try:
        return ModelProfile(
            name=file.name,
            kind=file.kind,
            latency=_surface(path, file.latency),
            slo_s=file.slo_s.value,
            output_tokens=file.output_tokens.value if file.output_tokens is not None else 1,
            max_batch=file.max_batch.value,
            memory_bytes=file.memory_bytes.value,
            weights_bytes=file.weights_bytes.value,
            launches=file.launches.value,
            wave_s=file.wave_s.value,
            startup=startup,
            training=_training(path, file.training) if file.training is not None else None,
            capacity=_capacity(file.capacity),
            prefill=_prefill(file.prefill),
            provenance=origins(file) | origins(host, "startup."),
        )
    except ProfileError as error:
        raise ProfileError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None


def _surface(path: Path, section: LatencySection) -> LatencySurface:
    return LatencySurface(
        l0_s=section.l0_s,
        f1_s=section.f1_s,
        w1_s=section.w1_s,
        w0_s=section.w0_s,
        g=section.g,
        batches=(section.batches[0], section.batches[1]),
        shares=(section.shares[0], section.shares[1]),
        fit_mean_error=section.mean_error,
        fit_max_error=section.max_error,
        points=_points(path, section.points),
        covariance=_covariance(section.covariance),
        held_out=_held_out(section),
    )


def _training(path: Path, section: TrainingSection) -> TrainingProfile:
    return TrainingProfile(
        batch=section.batch.value,
        workers=section.workers.value,
        memory_bytes=section.memory_bytes.value,
        launches=section.launches.value,
        wave_s=section.wave_s.value,
        step=StepCurve(
            section.floor_s.value,
            section.work_s.value,
            section.g.value,
            shares=(section.shares[0], section.shares[1]) if section.shares is not None else None,
            fit_mean_error=section.mean_error,
            fit_max_error=section.max_error,
            points=_points(path, section.points),
            covariance=_covariance(section.covariance),
            held_out=_held_out(section),
        ),
        capacity=_capacity(section.capacity),
    )


def _points(path: Path, section: PointsSection | None) -> tuple[Point, ...]:
    return read_points(path.parent / section.file) if section is not None else ()


def _covariance(rows: list[list[float]] | None) -> Covariance | None:
    return tuple(tuple(row) for row in rows) if rows is not None else None


def _held_out(section: LatencySection | TrainingSection) -> HeldOut | None:
    parts = (section.held_out_points, section.held_out_mean_error, section.held_out_max_error)
    points, mean_error, max_error = parts
    if points is None or mean_error is None or max_error is None:
        if any(part is not None for part in parts):
            raise ProfileError(
                "held_out_points: found some of held_out_points, held_out_mean_error and "
                "held_out_max_error, allowed are all or none"
            )
        return None
    return HeldOut(points, mean_error, max_error)


def _capacity(section: CapacitySection | None) -> Capacity | None:
    if section is None:
        return None
    cost = section.batch_cost
    return Capacity(
        section.cost_model,
        section.cost_per_s.value,
        measured=tuple(cost.points.items()) if cost.points is not None else (),
        line=(cost.line[0], cost.line[1]) if cost.line is not None else None,
    )


def _prefill(section: PrefillSection | None) -> Prefill | None:
    return Prefill(section.tokens, tuple(section.seconds.items())) if section is not None else None


def _held_out_report(key: str, held_out: HeldOut | None) -> dict[str, Any]:
    if held_out is None:
        return {}
    return {
        f"{key}_points": held_out.points,
        f"{key}_mean_error": held_out.mean_error,
        f"{key}_max_error": held_out.max_error,
    }


def _step_report(training: TrainingProfile | None) -> dict[str, Any]:
    if training is None or training.step.fit_mean_error is None:
        return {}
    return {
        "training_fit_mean_error": training.step.fit_mean_error,
        "training_fit_max_error": training.step.fit_max_error,
        "training_points": len(training.step.points),
        **_held_out_report("training_held_out", training.step.held_out),
    }


def _plain(provenance: Mapping[str, Provenance]) -> dict[str, dict[str, str]]:
    return {path: {"kind": origin.kind, "source": origin.source} for path, origin in provenance.items()}
