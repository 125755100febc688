"""From the workload that an experiment names to what arrives at each function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from experiments.deploy import model_of
from experiments.errors import ExperimentError, nearest
from experiments.load import Experiment
from experiments.schema import InstancesSection, MapSection, TraceSection
from policies import Deployment, Function
from traces import (
    ArrivalSpec,
    InstanceEvent,
    ModelChoice,
    Trace,
    TraceError,
    generate,
    generate_instance_events,
    map_functions,
    read_azure_functions,
    read_instance_events,
    read_rate_series,
)

AZURE, SERIES = "azure-functions-2019", "rate-series"

_OPTIONS: Final = {
    AZURE: ("sample", "spread"),
    SERIES: ("function", "scale", "step_s", "arrivals", "cv"),
}
"""The keys of `workload.trace` that belong to one format alone."""

MOST_REQUESTS: Final = 1e9
"""What may be generated: more do not fit into the memory of a usual machine."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A resolved experiment: what a world needs, and how it came about (JSON-able, for the manifest)."""

    deployment: Deployment
    provenance: Mapping[str, Any]


def resolve(experiment: Experiment) -> Workload:
    """Read or generate what arrives, and deploy the functions it arrives at.

    Raises
    ------
    ExperimentError
        If the workload cannot be read, or does not fit the functions.
    """
    trace_section = experiment.section.workload.trace
    if trace_section is None:
        return _synthesized(experiment)
    trace = _read_trace(experiment, trace_section)
    if trace_section.map is None:
        return _by_name(experiment, trace)
    return _mapped(experiment, trace, trace_section, trace_section.map)


def instance_events(experiment: Experiment) -> list[InstanceEvent] | None:
    """Read or generate the instances to place; `None` if requests arrive instead.

    Raises
    ------
    ExperimentError
        If the file cannot be read, or an instance is larger than any GPU.
    """
    instances = experiment.section.workload.instances
    if instances is None:
        return None
    events = _events(experiment, instances)
    cluster = experiment.cluster
    for event in events:
        gpus = cluster.gpus_per_node if event.kind == "llm" else 1
        if event.memory_bytes > gpus * cluster.gpu.memory_bytes or event.gpus > cluster.gpus_per_node:
            found = f"{event.gpus} x {event.memory_bytes / 2**30:g} GiB"
            allowed = f"{cluster.gpus_per_node} x {cluster.gpu.memory_bytes / 2**30:g} GiB"
            message = f"instance {event.name!r} needs {found}, allowed is what a node has: {allowed}"
            raise experiment.document.error(("workload", "instances"), message)
    return events


def _events(experiment: Experiment, instances: InstancesSection) -> list[InstanceEvent]:
    try:
        if instances.generate is not None:
            return generate_instance_events(
                instances.generate.instances,
                seed=experiment.section.seed,
                instances_per_service=instances.generate.instances_per_service,
            )
        path = experiment.path("workload", "instances") or experiment.path("workload", "instances", "file")
        assert path is not None
        _check_regular(experiment, ("workload", "instances"), path)
        return read_instance_events(path)
    except TraceError as error:
        raise experiment.document.error(("workload", "instances"), str(error)) from None


def _synthesized(experiment: Experiment) -> Workload:
    arrivals = experiment.section.workload.synthesize or {}
    duration_s = experiment.section.duration_s
    if duration_s is None:
        raise experiment.document.error(("duration_s",), "found nothing, workload.synthesize needs it")
    served = [function.name for function in experiment.functions if function.kind != "training"]
    specs: list[ArrivalSpec] = []
    for name, section in arrivals.items():
        here = ("workload", "synthesize", name)
        if name not in served:
            raise experiment.document.error(here, f"no such served function; {nearest(name, served)}")
        try:
            specs.append(ArrivalSpec(name=name, **section.model_dump()))
        except TraceError as error:
            raise experiment.document.error((*here, error.field or ""), str(error.args[0])) from None
    expected = sum(spec.rate_rps for spec in specs) * duration_s
    if expected > MOST_REQUESTS:
        message = f"found {expected:g} requests (rate_rps * duration_s), allowed are up to {MOST_REQUESTS:g}"
        raise experiment.document.error(("workload", "synthesize"), message)
    try:
        trace = generate(specs, duration_s=duration_s, seed=experiment.section.seed)
    except TraceError as error:
        here = ("workload", "synthesize", error.field or "")
        raise experiment.document.error(here, str(error.args[0])) from None
    return _workload(experiment, experiment.functions, trace, {})


def _read_trace(experiment: Experiment, section: TraceSection) -> Trace:
    """Read the trace by the reader of its format."""
    here = ("workload", "trace")
    path = experiment.path(*here, "path")
    if path is None:
        raise experiment.document.error((*here, "path"), "found nothing; name one, or give --trace PATH")
    _check_regular(experiment, (*here, "path"), path)
    kind = section.format or (AZURE if path.is_dir() or path.suffix == ".csv" else SERIES)
    for other, options in _OPTIONS.items():
        for option in options:
            if other != kind and getattr(section, option) is not None:
                message = (
                    f"found {getattr(section, option)!r}, allowed only with format {other}; this is {kind}"
                )
                raise experiment.document.error((*here, option), message)
    given = {option: getattr(section, option) for option in _OPTIONS[kind]}
    arguments = {option: value for option, value in given.items() if value is not None}
    try:
        return _READERS[kind](experiment, path, arguments)
    except TraceError as error:
        if error.path is not None:
            raise ExperimentError(str(error)) from None
        raise experiment.document.error((*here, error.field or ""), str(error.args[0])) from None


def _check_regular(experiment: Experiment, key: tuple[str, ...], path: Path) -> None:
    """Refuse what may never end, such as a pipe or a device."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise experiment.document.error(key, f"found {str(path)!r}, allowed is a regular file or a directory")


def _read_azure(experiment: Experiment, path: Path, arguments: dict[str, Any]) -> Trace:
    return read_azure_functions(path, seed=experiment.section.seed, **arguments)


def _read_series(experiment: Experiment, path: Path, arguments: dict[str, Any]) -> Trace:
    served = [function.name for function in experiment.functions if function.kind != "training"]
    arguments.setdefault("function", served[0] if served else path.stem)
    return read_rate_series(path, seed=experiment.section.seed, **arguments)


_READERS: Final[dict[str, Callable[[Experiment, Path, dict[str, Any]], Trace]]] = {
    AZURE: _read_azure,
    SERIES: _read_series,
}


def _by_name(experiment: Experiment, trace: Trace) -> Workload:
    """Let the trace's functions arrive at the declared ones of the same name."""
    for index, function in enumerate(experiment.functions):
        if function.kind != "training" and function.name not in trace.functions:
            mend = nearest(function.name, trace.functions[:20])
            message = f"found {function.name!r}, which is not in the trace (no workload.trace.map); {mend}"
            raise experiment.document.error(("functions", index, "name"), message)
    if not experiment.functions:
        raise experiment.document.error(
            ("functions",), "found none; declare some, or give workload.trace.map"
        )
    ignored = len(set(trace.functions) - {function.name for function in experiment.functions})
    return _workload(experiment, experiment.functions, trace, {"functions_ignored": ignored})


def _mapped(experiment: Experiment, trace: Trace, section: TraceSection, mapping: MapSection) -> Workload:
    """Deploy every function of the trace as the model it is mapped to, beside the declared trainings."""
    here = ("workload", "trace", "map")
    models = {
        name: model_of(experiment.document, (*here, "models", name), experiment.catalog, name)
        for name in mapping.models
    }
    for index, function in enumerate(experiment.functions):
        if function.kind != "training" or function.name in trace.functions:
            message = f"found {function.name!r}; with workload.trace.map the served functions are the trace's"
            raise experiment.document.error(("functions", index), message)
    # A request of an LLM takes as long as all its tokens.
    choices = [
        ModelChoice(name, mapping.models[name], model.measure(1, 1.0) * model.output_tokens)
        for name, model in models.items()
    ]
    try:
        chosen = map_functions(trace, choices, rule=mapping.rule, seed=experiment.section.seed)
    except TraceError as error:
        raise experiment.document.error((*here, error.field or ""), str(error.args[0])) from None
    served = tuple(
        Function(
            name=name,
            kind=models[chosen.model_of[name]].kind,
            model=models[chosen.model_of[name]],
            memory_bytes=models[chosen.model_of[name]].memory_bytes,
            slo_s=models[chosen.model_of[name]].slo_s * section.slo_factor,
            output_tokens=models[chosen.model_of[name]].output_tokens,
            min_instances=section.min_instances,
        )
        for name in trace.functions
    )
    functions = (*served, *experiment.functions)
    return _workload(experiment, functions, trace, {"mapping": chosen.description})


def _workload(
    experiment: Experiment,
    functions: tuple[Function, ...],
    trace: Trace,
    further: Mapping[str, Any],
) -> Workload:
    """Put functions and trace together; arrivals from the end of the experiment on are cut off."""
    asked_s = experiment.section.duration_s
    if asked_s is not None and asked_s > trace.duration_s:
        message = f"found {asked_s:.15g}, allowed is up to {trace.duration_s:.15g}, what the trace covers"
        raise experiment.document.error(("duration_s",), message)
    end_s = trace.duration_s if asked_s is None else asked_s
    known = set(trace.functions)
    arrivals = tuple(
        _until(trace.arrivals(function.name), end_s) if function.name in known else np.empty(0)
        for function in functions
    )
    tokens = tuple(
        _tokens(trace, function.name, len(own)) if function.kind == "llm" and function.name in known else None
        for function, own in zip(functions, arrivals, strict=True)
    )
    return Workload(
        Deployment(experiment.cluster, functions, arrivals, tokens, end_s),
        {"trace": trace.provenance, **further},
    )


def _until(arrivals: NDArray[np.float64], end_s: float) -> NDArray[np.float64]:
    return arrivals[: int(np.searchsorted(arrivals, end_s, side="left"))]


def _tokens(trace: Trace, function: str, count: int) -> NDArray[np.int32] | None:
    if trace.output_tokens is None:
        return None
    # Requests without a recorded answer still generate one token.
    return np.maximum(trace.output_tokens[trace.span(function)][:count], 1)
