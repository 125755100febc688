"""From the workload that an experiment names to what arrives at each function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from experiments.deploy import model_of
from experiments.errors import nearest
from experiments.load import Experiment
from experiments.reading import read_workload_trace
from experiments.schema import MapSection, TraceSection
from policies import Deployment, Function
from traces import (
    ArrivalSpec,
    ModelChoice,
    ModelRule,
    Progress,
    Trace,
    TraceError,
    generate,
    map_functions,
)

MOST_REQUESTS: Final = 1e9
"""What may be generated: more do not fit into the memory of a usual machine."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A resolved experiment: what a world needs, and how it came about (JSON-able, for the manifest)."""

    deployment: Deployment
    provenance: Mapping[str, Any]


def resolve(experiment: Experiment, progress: Progress | None = None) -> Workload:
    """Read or generate what arrives, and deploy the functions it arrives at.

    `progress` is told how far the reading of a trace is.

    Raises
    ------
    ExperimentError
        If the workload cannot be read, or does not fit the functions.
    """
    trace_section = experiment.section.workload.trace
    if trace_section is None:
        return _synthesized(experiment)
    trace = read_workload_trace(experiment, trace_section, progress)
    if trace_section.map is None:
        return _by_name(experiment, trace)
    return _mapped(experiment, trace, trace_section, trace_section.map)


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
    places: dict[str, tuple[str | int, ...]] = {name: (*here, "models", name) for name in mapping.models}
    for index, rule in enumerate(mapping.rules):
        places.setdefault(rule.model, (*here, "rules", index, "model"))
    models = {
        name: model_of(experiment.document, place, experiment.catalog, name) for name, place in places.items()
    }
    for index, function in enumerate(experiment.functions):
        if function.kind != "training" or function.name in trace.functions:
            message = f"found {function.name!r}; with workload.trace.map the served functions are the trace's"
            raise experiment.document.error(("functions", index), message)
    # A request of an LLM takes as long as all its tokens.
    choices = [
        ModelChoice(name, mapping.models.get(name, 1.0), model.measure(1, 1.0) * model.output_tokens)
        for name, model in models.items()
    ]
    try:
        rules = [ModelRule(**rule.model_dump()) for rule in mapping.rules]
        chosen = map_functions(trace, choices, rule=mapping.rule, seed=experiment.section.seed, rules=rules)
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
    """Put functions and trace together; arrivals from the end of the experiment on are cut off.

    An LLM whose answers the trace knows has the mean of them, unless the experiment declares another.
    """
    asked_s = experiment.section.duration_s
    if asked_s is not None and asked_s > trace.duration_s:
        message = f"found {asked_s:.15g}, allowed is up to {trace.duration_s:.15g}, what the trace covers"
        raise experiment.document.error(("duration_s",), message)
    end_s = trace.duration_s if asked_s is None else asked_s
    assert experiment.cluster is not None, "requests are served on nodes that are alike"
    known = set(trace.functions)
    arrivals = tuple(
        _until(trace.arrivals(function.name), end_s) if function.name in known else np.empty(0)
        for function in functions
    )
    tokens = tuple(
        _tokens(trace, function.name, len(own)) if function.kind == "llm" and function.name in known else None
        for function, own in zip(functions, arrivals, strict=True)
    )
    declared = {one.name for one in experiment.section.functions if one.output_tokens is not None}
    functions = tuple(
        function
        if own is None or not own.size or function.name in declared
        else replace(function, output_tokens=round(float(own.mean())))
        for function, own in zip(functions, tokens, strict=True)
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
