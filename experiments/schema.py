"""What an experiment file may say. Unknown keys fail; units are in the names."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from recording.manifest import MANIFEST_FILE

ARRIVALS_FILE: Final = "arrivals.parquet"
COMPARISON_FILE: Final = "comparison.csv"

LABEL: Final = r"^[A-Za-z0-9][A-Za-z0-9_+.=-]*$"
"""What the name of a system in results looks like: it is a folder's name and a column's."""

MOST_GPUS: Final = 1_000_000
MOST_INSTANCES: Final = 1_000_000


def _no_truth_value(value: Any) -> Any:
    # pydantic takes true for 1; in a file it is a slip.
    if isinstance(value, bool):
        raise PydanticCustomError("no_number", "allowed is a number")
    return value


Number = Annotated[float, BeforeValidator(_no_truth_value)]
Whole = Annotated[int, BeforeValidator(_no_truth_value)]
Name = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """Any part of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ClusterSection(Section):
    """Identical nodes of identical GPUs; `gpu` names their type: the one that was profiled, the default."""

    nodes: Whole = Field(ge=1, le=MOST_GPUS)
    gpus_per_node: Whole = Field(ge=1, le=MOST_GPUS)
    gpu: Name | None = None


class FunctionSection(Section):
    """A deployed model.

    `kind` follows from the model (`inference` or `llm`); `training: true` or `kind: training` trains it.
    What is left out comes from the model's profile. `batch`, `request` and `limit` pin the size, all three
    together (training has no batch). `memory_gb` is in units of 2**30 bytes, of one GPU.
    """

    name: Name
    model: Name
    kind: Literal["inference", "llm", "training"] | None = None
    training: bool = False
    slo_s: Number | None = Field(default=None, gt=0)
    output_tokens: Whole | None = Field(default=None, ge=1)
    batch: Whole | None = Field(default=None, ge=1)
    request: Number | None = Field(default=None, gt=0, le=1)
    limit: Number | None = Field(default=None, gt=0, le=1)
    memory_gb: Number | None = Field(default=None, gt=0)
    workers: Whole | None = Field(default=None, ge=1)
    iterations: Whole | None = Field(default=None, ge=1)
    start_s: Number = Field(default=0.0, ge=0)
    min_instances: Whole = Field(default=1, ge=0)
    timeout_s: Number | None = Field(default=None, gt=0)

    @property
    def trains(self) -> bool:
        """Whether this is a training function."""
        return self.training or self.kind == "training"


class ArrivalSection(Section):
    """How requests of one function are generated: see `traces.ArrivalSpec`."""

    kind: Literal["poisson", "gamma", "gamma-dilu", "even", "bursty", "periodic", "sporadic"]
    rate_rps: Number = Field(ge=0)
    cv: Number | None = Field(default=None, gt=0)
    period_s: Number | None = Field(default=None, gt=0)
    peak_to_mean: Number | None = Field(default=None, ge=1)


class MapSection(Section):
    """Which model serves which function of a trace (`traces.map_functions`); `models` gives their weights."""

    rule: Literal["by-duration", "by-hash"] = "by-duration"
    models: dict[Name, Annotated[Number, Field(gt=0)]] = Field(min_length=1)


class TraceSection(Section):
    """A trace from files.

    Without `format`, a directory or a .csv file is `azure-functions-2019`, any other file a `rate-series`.
    `sample` and `spread` belong to the former, `function`, `scale`, `step_s`, `arrivals`, `cv` to the latter.
    With `map` every function of the trace is deployed, as an instance of the model it is mapped to, with
    `min_instances` and the SLO of the model times `slo_factor`; without it the trace's functions are those of
    `functions` by name.
    """

    path: Name | None = None
    format: Literal["azure-functions-2019", "rate-series"] | None = None
    sample: Name | None = None
    spread: Literal["even", "poisson"] | None = None
    function: Name | None = None
    scale: Number | None = Field(default=None, gt=0)
    step_s: Number | None = Field(default=None, gt=0)
    arrivals: Literal["even", "poisson", "gamma", "gamma-dilu"] | None = None
    cv: Number | None = Field(default=None, gt=0)
    map: MapSection | None = None
    min_instances: Whole = Field(default=1, ge=0)
    slo_factor: Number = Field(default=1.0, gt=0)


class GenerateSection(Section):
    """Instances to generate: see `traces.generate_instance_events`."""

    instances: Whole = Field(ge=1, le=MOST_INSTANCES)
    instances_per_service: Whole = Field(default=1, ge=1)


class InstancesSection(Section):
    """Instances to place, with no requests: from a `file`, or generated."""

    file: Name | None = None
    generate: GenerateSection | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file is None) == (self.generate is None):
            raise PydanticCustomError("one_of", "allowed is a file name, or generate")
        return self


class WorkloadSection(Section):
    """What arrives: exactly one of the three."""

    trace: TraceSection | None = None
    synthesize: dict[Name, ArrivalSection] | None = None
    instances: InstancesSection | None = None

    @field_validator("instances", mode="before")
    @classmethod
    def _file_name(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "nothing"
            raise PydanticCustomError(
                "one_of", "found {found}, allowed is one of trace, synthesize, instances", {"found": found}
            )
        return self


class SystemSection(Section):
    """A system to run, by name or reference (`experiments.own_policies`).

    `label` names it in results; `policies` fills slots of it anew, each by a name or reference; `config` then
    changes constants of its policies.
    """

    system: Name
    label: str | None = Field(default=None, pattern=LABEL)
    policies: dict[str, Name] = Field(default_factory=dict)
    config: dict[str, bool | int | float | str | None] = Field(default_factory=dict)

    @field_validator("label")
    @classmethod
    def _no_file_beside_it(cls, value: str | None) -> str | None:
        if value in (ARRIVALS_FILE, COMPARISON_FILE, MANIFEST_FILE):
            raise PydanticCustomError(
                "one_of", "found '{found}', allowed is no name of a file of a run", {"found": value}
            )
        return value


class ExperimentSection(Section):
    """The whole file.

    `duration_s` may be left out where a trace or a list of instances has an end. `profiles` is a directory
    of profiles that replaces the shipped ones. `interference` names a model of interference beyond the law of
    contention (`profiles.find_interference`). `record_quotas` keeps every quota that was set
    (`quotas.parquet`).
    """

    cluster: ClusterSection
    functions: list[FunctionSection] = Field(default_factory=list)
    workload: WorkloadSection
    systems: list[SystemSection] = Field(min_length=1)
    seed: Whole = Field(default=0, ge=0)
    duration_s: Number | None = Field(default=None, gt=0)
    profiles: Name | None = None
    interference: Name | None = None
    record_quotas: bool = False

    @field_validator("systems", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [{"system": entry} if isinstance(entry, str) else entry for entry in value]
