"""Reads the traces that an experiment names, each through its own transforms, and puts them side by side."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from experiments.errors import ExperimentError
from experiments.load import Experiment
from experiments.schema import PartSection, SynthesizeSection, TraceSection
from traces import (
    Progress,
    Trace,
    TraceError,
    apply_transforms,
    detect_format,
    find_format,
    locate,
    merge,
    read_trace,
    synthesize_azure,
)

Key = tuple[str | int, ...]


def read_workload_trace(
    experiment: Experiment, section: TraceSection, progress: Progress | None = None
) -> Trace:
    """Read the trace of an experiment, or its parts, and transform it.

    Raises
    ------
    ExperimentError
        If a file cannot be read, is not what its format says, or a transform cannot be done.
    """
    here: Key = ("workload", "trace")
    if section.parts is None:
        return _part(experiment, section, here, progress)
    traces = [
        _part(experiment, part, (*here, "parts", index), progress) for index, part in enumerate(section.parts)
    ]
    try:
        merged = merge(traces)
    except TraceError as error:
        raise experiment.document.error((*here, "parts"), f"{error}; name it by `function`") from None
    return _transformed(experiment, merged, section, here)


def _part(experiment: Experiment, part: PartSection, here: Key, progress: Progress | None) -> Trace:
    if part.synthesize is None:
        trace = _read(experiment, part, here, progress)
    else:
        trace = _synthesized(experiment, part.synthesize, here)
    return _named(experiment, _transformed(experiment, trace, part, here), part, here)


def _read(experiment: Experiment, part: PartSection, here: Key, progress: Progress | None) -> Trace:
    path = _path(experiment, part, here)
    options = dict(part.options)
    try:
        if part.format is None or _is_given(experiment, here):
            path, found = detect_format(path)
            if part.format is not None and found.name != part.format:
                options = {}  # they are those of the experiment's own trace
        else:
            found = find_format(part.format)
        name = part.function or _sole_served(experiment)
        if name is not None and "function" in found.options:
            options.setdefault("function", name)  # what it draws is then this function's own
        seed = experiment.section.seed
        return read_trace(path, format=found.name, seed=seed, progress=progress, options=options)
    except TraceError as error:
        if error.path is not None:
            raise ExperimentError(str(error)) from None
        key = () if error.field is None else (error.field,)
        options_here = () if error.field == "format" else ("options",)
        raise experiment.document.error((*here, *options_here, *key), str(error.args[0])) from None


def _is_given(experiment: Experiment, here: Key) -> bool:
    """Whether the path comes from `--trace`: then it need not be of the format of the experiment's own."""
    return experiment.document.place((*here, "path")).startswith("--trace")


def _synthesized(experiment: Experiment, synthesize: SynthesizeSection, here: Key) -> Trace:
    try:
        return synthesize_azure(seed=experiment.section.seed, **synthesize.model_dump())
    except TraceError as error:
        key = () if error.field is None else (error.field,)
        raise experiment.document.error((*here, "synthesize", *key), str(error.args[0])) from None


def _path(experiment: Experiment, part: PartSection, here: Key) -> Path:
    """Return where a trace lies: the path that was given, or a public trace that was fetched."""
    path = experiment.path(*here, "path")
    if path is None or part.path is None:
        raise experiment.document.error((*here, "path"), "found nothing; name one, or give --trace PATH")
    if path.exists():
        return path
    try:
        fetched = locate(part.path)
    except TraceError as error:
        raise experiment.document.error((*here, "path"), str(error.args[0])) from None
    return fetched if fetched.exists() else path


def _transformed(experiment: Experiment, trace: Trace, part: PartSection, here: Key) -> Trace:
    try:
        return apply_transforms(trace, part.transforms, seed=experiment.section.seed)
    except TraceError as error:
        steps = (int(step) if step.isdigit() else step for step in (error.field or "").split(".") if step)
        raise experiment.document.error((*here, "transforms", *steps), str(error.args[0])) from None


def _named(experiment: Experiment, trace: Trace, part: PartSection, here: Key) -> Trace:
    """Give a trace of one function the name that it is asked for, or that of the only function served."""
    name = part.function
    if name is not None and len(trace.functions) != 1:
        message = f"found {name!r} for a trace of {len(trace.functions)} functions; pool them first"
        raise experiment.document.error((*here, "function"), message)
    if name is None and len(trace.functions) == 1:
        name = _sole_served(experiment)
    return trace if name is None else dataclasses.replace(trace, functions=(name,))


def _sole_served(experiment: Experiment) -> str | None:
    served = [function.name for function in experiment.functions if function.kind != "training"]
    return served[0] if len(served) == 1 else None
