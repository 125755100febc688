"""The format of a catalog's files, checked strictly: no unknown key, no value without its origin."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from profiles.model import ModelKind
from profiles.provenance import Provenance, ProvenanceKind

T = TypeVar("T")

Name = Annotated[str, Field(min_length=1)]
Text = Annotated[str, Field(pattern=r"\S")]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Error = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Sharpness = Annotated[float, Field(ge=1.0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]


Finite = Annotated[float, Field(allow_inf_nan=False)]
ByBatch = Annotated[dict[Count, Positive], Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Sourced(_Section, Generic[T]):
    """One value with its origin."""

    value: T
    kind: ProvenanceKind
    source: Text


class PointsSection(_Section):
    """Raw measurements: a CSV file beside the profile, batch, share, seconds and perhaps held_out."""

    file: Name
    kind: ProvenanceKind
    source: Text


class LatencySection(_Section):
    """Coefficients of a `LatencySurface`, in seconds; one origin for them all."""

    kind: ProvenanceKind
    source: Text
    l0_s: Seconds
    f1_s: Seconds
    w1_s: Seconds
    w0_s: Seconds
    g: Sharpness
    mean_error: Error | None
    max_error: Error | None
    batches: Annotated[list[Count], Field(min_length=2, max_length=2)]
    shares: Annotated[list[Share], Field(min_length=2, max_length=2)]
    held_out_points: Count | None = None
    held_out_mean_error: Error | None = None
    held_out_max_error: Error | None = None
    covariance: list[list[Finite]] | None = None
    points: PointsSection | None = None


class BatchCostSection(_Section):
    """What a launch gate charges for a batch, at some batches, or on a line `[fixed, of each request]`."""

    kind: ProvenanceKind
    source: Text
    points: ByBatch | None = None
    line: Annotated[list[Finite], Field(min_length=2, max_length=2)] | None = None


class CapacitySection(_Section):
    """A `Capacity`: what a launch gate charges, and how fast that is spent alone on the whole GPU."""

    cost_model: Text
    cost_per_s: Sourced[Positive]
    batch_cost: BatchCostSection


class PrefillSection(_Section):
    """A `Prefill`: the length of the prompts, and seconds at some batches."""

    kind: ProvenanceKind
    source: Text
    tokens: Count
    seconds: ByBatch


class TrainingSection(_Section):
    """A `TrainingProfile`; `floor_s`, `work_s` and `g` are its `StepCurve`, and so is what follows them."""

    batch: Sourced[Count]
    workers: Sourced[Count]
    memory_bytes: Sourced[Bytes]
    launches: Sourced[Count]
    wave_s: Sourced[Seconds]
    floor_s: Sourced[Seconds]
    work_s: Sourced[Positive]
    g: Sourced[Sharpness]
    mean_error: Error | None = None
    max_error: Error | None = None
    shares: Annotated[list[Share], Field(min_length=2, max_length=2)] | None = None
    held_out_points: Count | None = None
    held_out_mean_error: Error | None = None
    held_out_max_error: Error | None = None
    covariance: list[list[Finite]] | None = None
    points: PointsSection | None = None
    capacity: CapacitySection | None = None


class ModelFile(_Section):
    """One model: a file NAME.yaml."""

    name: Name
    kind: ModelKind
    latency: LatencySection
    slo_s: Sourced[Positive]
    output_tokens: Sourced[Count] | None = None
    max_batch: Sourced[Count]
    memory_bytes: Sourced[Bytes]
    weights_bytes: Sourced[Bytes]
    launches: Sourced[Count]
    wave_s: Sourced[Seconds]
    warm_up_s: Sourced[Seconds]
    capacity: CapacitySection | None = None
    prefill: PrefillSection | None = None
    training: TrainingSection | None = None


class HostSection(_Section):
    """The parts of a cold start that depend on the host, not on the model."""

    container_s: Sourced[Seconds]
    runtime_s: Sourced[Seconds]
    context_s: Sourced[Seconds]
    bandwidth_bytes_per_s: Sourced[Positive]


FORMAT = 1
"""The version of these files that is read and written."""


class GpuFile(_Section):
    """The type of GPU all models of a catalog were profiled on: the file gpu.yaml."""

    format: Literal[1]
    name: Name
    memory_bytes: Sourced[Bytes]
    sms: Sourced[Count]
    startup: HostSection


def origins(section: _Section, prefix: str = "") -> dict[str, Provenance]:
    """Return the origin of each value in a section, by its path, in the order of the fields."""
    found: dict[str, Provenance] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Sourced | LatencySection | PointsSection | BatchCostSection | PrefillSection):
            found[prefix + name] = Provenance(value.kind, value.source)
        if isinstance(value, _Section) and not isinstance(value, Sourced):
            found |= origins(value, f"{prefix}{name}.")
    return found
