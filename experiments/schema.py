"""What an experiment file may say. Unknown keys fail; units are in the names."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from recording.manifest import MANIFEST_FILE

ARRIVALS_FILE: Final = "arrivals.parquet"
COMPARISON_FILE: Final = "comparison.csv"
RUN_FILE: Final = "run.json"

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
    """Identical nodes of identical GPUs; `gpu` names their type: the one that was profiled, the default.

    Or nodes that differ, as a file lists them (`traces.instances.openb.read_node_list`), for instances alone;
    `node_list` is relative to the folder of `workload.instances.openb.path` if there is one.
    """

    nodes: Whole | None = Field(default=None, ge=1, le=MOST_GPUS)
    gpus_per_node: Whole | None = Field(default=None, ge=1, le=MOST_GPUS)
    gpu: Name | None = None
    node_list: Name | None = None


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


class RuleSection(Section):
    """A model and the functions it serves: see `traces.ModelRule`."""

    model: Name
    name: Name | None = None
    trigger: Name | None = None
    function_class: Literal["steady", "periodic", "bursty", "sporadic"] | None = None
    min_rps: Number | None = Field(default=None, ge=0)
    max_rps: Number | None = Field(default=None, gt=0)


class MapSection(Section):
    """Which model serves which function of a trace (`traces.map_functions`).

    `models` gives the weights of `by-duration` and `by-hash`; `rules` are those of `by-rule`, tried in order.
    """

    rule: Literal["by-duration", "by-hash", "by-rule"] = "by-duration"
    models: dict[Name, Annotated[Number, Field(gt=0)]] = Field(default_factory=dict)
    rules: list[RuleSection] = Field(default_factory=list)

    @model_validator(mode="after")
    def _weights_or_rules(self) -> Self:
        wanted, other = ("rules", "models") if self.rule == "by-rule" else ("models", "rules")
        if not getattr(self, wanted) or getattr(self, other):
            raise PydanticCustomError(
                "one_of",
                "allowed are {wanted} and no {other} with rule {rule}",
                {"wanted": wanted, "other": other, "rule": self.rule},
            )
        return self


class SynthesizeSection(Section):
    """A trace to synthesize: see `traces.synthesize_azure`."""

    functions: Whole = Field(ge=1)
    hours: Number = Field(gt=0)
    population: Literal["platform", "released"] = "platform"
    start_hour: Number = Field(default=0.0, ge=0)
    max_rate_rps: Number | None = Field(default=None, gt=0)
    invoked_only: bool = False


class PartSection(Section):
    """A trace from a file or folder, or a public one by its name (`dilu traces list`), or a synthesized one.

    Without `format` it is told from the content. `options` are those of the format's reader (`dilu traces
    inspect --help`), `transforms` are done in their order, and `function` names a trace of one function.
    """

    path: Name | None = None
    synthesize: SynthesizeSection | None = None
    format: Name | None = None
    function: Name | None = None
    options: dict[Name, bool | int | float | str | None] = Field(default_factory=dict)
    transforms: list[dict[str, Any]] = Field(default_factory=list)


class TraceSection(PartSection):
    """What arrives as traces have it: one trace, or several `parts` side by side, then transformed together.

    With `map` every function of the trace is deployed, as an instance of the model it is mapped to, with
    `min_instances` and the SLO of the model times `slo_factor`; without it the trace's functions are those of
    `functions` by name, and the only function of a trace is the only one that is served.
    """

    parts: list[PartSection] | None = Field(default=None, min_length=1)
    map: MapSection | None = None
    min_instances: Whole = Field(default=1, ge=0)
    slo_factor: Number = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _one_or_parts(self) -> Self:
        single = ("path", "synthesize", "format", "function", "options")
        given = [name for name in single if getattr(self, name)]
        if self.parts is not None and given:
            raise PydanticCustomError(
                "one_of", "found parts and {found}, allowed is one or the other", {"found": given[0]}
            )
        return self


class GenerateSection(Section):
    """Instances to generate: see `traces.generate_instance_events`."""

    instances: Whole = Field(ge=1, le=MOST_INSTANCES)
    instances_per_service: Whole = Field(default=1, ge=1)


class OpenbSection(Section):
    """Pods of Alibaba's GPU cluster trace of 2023: see `traces.instances.openb.read_openb_pods`.

    `path` is a folder, a file, or the name under which the trace was fetched, `openb`.
    """

    path: Name | None = None
    pods: Name | None = None
    lifetime: Literal["traced", "forever"] = "traced"


class InstancesSection(Section):
    """Instances to place, with no requests: from a `file`, generated, or the pods of openb."""

    file: Name | None = None
    generate: GenerateSection | None = None
    openb: OpenbSection | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.file, self.generate, self.openb)) != 1:
            raise PydanticCustomError("one_of", "allowed is one of a file name, generate, openb")
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
        if value in (ARRIVALS_FILE, COMPARISON_FILE, MANIFEST_FILE, RUN_FILE):
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
