"""Catalogs of profiles: a directory a GPU type, with gpu.yaml, a YAML file a model, raw points as CSV."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from profiles.errors import ProfileError
from profiles.model import GpuType, ModelProfile
from profiles.provenance import Provenance
from profiles.schema import GpuFile, HostSection, LatencySection, ModelFile, TrainingSection, origins
from profiles.startup import StartUp
from profiles.surface import LatencySurface, Point
from profiles.training import StepCurve, TrainingProfile

SHIPPED = Path(__file__).parent / "data" / "a100-40gb"
"""The catalog that is used when none is named: the testbed of the Dilu paper (section 5.1)."""

POINT_COLUMNS = ["batch", "share", "seconds"]

Section = TypeVar("Section", bound=BaseModel)


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
    """

    gpu: GpuType
    models: Mapping[str, ModelProfile]
    gpu_provenance: Mapping[str, Provenance] = field(default_factory=dict, compare=False, repr=False)

    def model(self, name: str) -> ModelProfile:
        """Return the profile of a model.

        Raises
        ------
        ProfileError
            If the catalog has no such model; the message names the nearest one it has.
        """
        if name in self.models:
            return self.models[name]
        raise ProfileError(f"model: found {name!r}, {_suggestion(name, list(self.models))}")

    def provenance_report(self) -> dict[str, Any]:
        """Return the origin of every value and the error of each surface, as JSON types for a manifest."""
        return {
            "gpu": {"name": self.gpu.name, "values": _plain(self.gpu_provenance)},
            "models": {
                name: {
                    "fit_mean_error": model.latency.fit_mean_error,
                    "fit_max_error": model.latency.fit_max_error,
                    "points": len(model.latency.points),
                    "values": _plain(model.provenance),
                }
                for name, model in self.models.items()
            },
        }


def load_catalog(path: str | Path | None = None) -> Catalog:
    """Read a catalog, the shipped one by default; each directory is read once and remembered.

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
    return _load(Path(path).resolve() if path is not None else SHIPPED)


@lru_cache(maxsize=16)
def _load(directory: Path) -> Catalog:
    if not directory.is_dir():
        raise ProfileError(f"{directory}: found no directory, a catalog is one with gpu.yaml and model files")
    gpu_path = directory / "gpu.yaml"
    gpu = _parse(gpu_path, GpuFile)
    models: dict[str, ModelProfile] = {}
    for path in sorted(directory.glob("*.yaml")):
        if path != gpu_path:
            model = _model(path, gpu.startup)
            models[model.name] = model
    if not models:
        raise ProfileError(f"{directory}: found no model file, a catalog needs at least one")
    gpu_type = GpuType(gpu.name, gpu.memory_bytes.value, gpu.sms.value)
    return Catalog(gpu_type, models, origins(gpu))


def _model(path: Path, host: HostSection) -> ModelProfile:
    file = _parse(path, ModelFile)
    if file.name != path.stem:
        raise ProfileError(f"{path}: name: found {file.name!r}, allowed is the file's own name {path.stem!r}")
    if file.kind == "llm" and file.output_tokens is None:
        raise ProfileError(f"{path}: output_tokens: found nothing, an llm needs its default answer length")
    if file.kind == "inference" and file.output_tokens is not None:
        raise ProfileError(f"{path}: output_tokens: found a value, only an llm has output tokens")
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
            training=_training(file.training) if file.training is not None else None,
            provenance=origins(file) | origins(host, "startup."),
        )
    except ProfileError as error:
        raise ProfileError(f"{path}: {error}") from None


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
        points=read_points(path.parent / section.points.file) if section.points is not None else (),
    )


def _training(section: TrainingSection) -> TrainingProfile:
    return TrainingProfile(
        batch=section.batch.value,
        workers=section.workers.value,
        memory_bytes=section.memory_bytes.value,
        launches=section.launches.value,
        wave_s=section.wave_s.value,
        step=StepCurve(section.floor_s.value, section.work_s.value, section.g.value),
    )


def read_points(path: Path) -> tuple[Point, ...]:
    """Read raw measurements from a CSV file with the columns batch, share, seconds.

    Raises
    ------
    ProfileError
        If the file is missing or a line is not a batch from 1, a share in (0, 1] and seconds above 0.
    """
    lines = list(csv.reader(_text(path).splitlines()))
    if not lines or lines[0] != POINT_COLUMNS:
        found = ",".join(lines[0]) if lines else "an empty file"
        raise ProfileError(f"{path}: line 1: found {found}, allowed is {','.join(POINT_COLUMNS)}")
    return tuple(_point(f"{path}: line {number}", cells) for number, cells in enumerate(lines[1:], start=2))


def _point(where: str, cells: list[str]) -> Point:
    try:
        batch, share, seconds = cells
        point = Point(int(batch), float(share), float(seconds))
    except ValueError:
        raise ProfileError(f"{where}: found {','.join(cells)}, allowed are three numbers") from None
    if point.batch < 1 or not 0.0 < point.share <= 1.0 or not 0.0 < point.seconds < float("inf"):
        raise ProfileError(
            f"{where}: found {','.join(cells)}, allowed is batch >= 1, 0 < share <= 1, seconds > 0"
        )
    return point


def _parse(path: Path, schema: type[Section]) -> Section:
    try:
        content = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise ProfileError(f"{path}: {line}found text that is not YAML") from None
    if not isinstance(content, dict):
        raise ProfileError(f"{path}: found {type(content).__name__}, allowed is a mapping of fields")
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise ProfileError(f"{path}: {_first(error, schema)}") from None


def _first(error: ValidationError, schema: type[BaseModel]) -> str:
    """Say the first of pydantic's complaints in one line."""
    complaint = error.errors(include_url=False)[0]
    field_path = ".".join(str(part) for part in complaint["loc"])
    if complaint["type"] == "missing":
        return f"{field_path}: found nothing, the field is required"
    if complaint["type"] == "extra_forbidden":
        *parents, key = complaint["loc"]
        return f"{field_path}: unknown field, {_suggestion(str(key), _fields(schema, parents))}"
    return f"{field_path}: found {complaint['input']!r}, {complaint['msg'][0].lower()}{complaint['msg'][1:]}"


def _fields(schema: type[BaseModel], parents: list[int | str]) -> list[str]:
    """Names of the fields that are allowed under a path of the schema."""
    for parent in parents:
        annotation = schema.model_fields[str(parent)].annotation
        members = getattr(annotation, "__args__", None) or (annotation,)
        candidates = [member for member in (annotation, *members) if _is_model(member)]
        schema = candidates[0]
    return list(schema.model_fields)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _suggestion(found: str, allowed: list[str]) -> str:
    nearest = difflib.get_close_matches(found, allowed, n=1, cutoff=0.0)
    return f"nearest is {nearest[0]!r} (allowed are {', '.join(allowed)})"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ProfileError(f"{path}: found no readable file ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{path}: found bytes that are not UTF-8 text") from None


def _plain(provenance: Mapping[str, Provenance]) -> dict[str, dict[str, str]]:
    return {path: {"kind": origin.kind, "source": origin.source} for path, origin in provenance.items()}
