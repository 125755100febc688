"""From the functions that an experiment declares to functions that a world can deploy."""

from __future__ import annotations

from typing import Final

from experiments.document import Document, Path
from experiments.schema import ExperimentSection, FunctionSection
from policies import Cluster, Function, Size
from profiles import Catalog, ModelProfile, ProfileError, TrainingProfile

GIB: Final = 2**30


def deployed_functions(
    document: Document, section: ExperimentSection, catalog: Catalog, cluster: Cluster
) -> tuple[Function, ...]:
    """Complete each declared function from its model's profile, and check it against model and cluster.

    Raises
    ------
    ExperimentError
        If a name stands twice, a model is unknown, values contradict each other, or no GPU could hold it.
    """
    functions: list[Function] = []
    names: set[str] = set()
    for index, declared in enumerate(section.functions):
        here: Path = ("functions", index)
        if declared.name in names:
            raise document.error((*here, "name"), f"found {declared.name!r} twice, allowed is once")
        names.add(declared.name)
        _check(document, here, declared, section.duration_s)
        model = model_of(document, (*here, "model"), catalog, declared.model)
        function = (
            _training(document, here, declared, model)
            if declared.trains
            else _served(document, here, declared, model)
        )
        _check_fit(document, here, function, cluster)
        functions.append(function)
    return tuple(functions)


def model_of(document: Document, path: Path, catalog: Catalog, name: str) -> ModelProfile:
    """Look a model up; the error names the line that asked for it."""
    try:
        return catalog.model(name)
    except ProfileError as error:
        raise document.error(path, str(error).removeprefix("model: ")) from None


def _check(document: Document, here: Path, declared: FunctionSection, duration_s: float | None) -> None:
    """Check a function's values against each other."""
    if declared.training and declared.kind not in (None, "training"):
        raise document.error((*here, "kind"), f"found {declared.kind!r} beside training: true")
    pinned = (
        [declared.request, declared.limit]
        if declared.trains
        else [declared.batch, declared.request, declared.limit]
    )
    if any(value is not None for value in pinned) and None in pinned:
        keys = "request and limit" if declared.trains else "batch, request and limit"
        raise document.error(here, f"found part of a size, allowed are {keys} together, or none")
    if declared.request is not None and declared.limit is not None and declared.limit < declared.request:
        message = f"found {declared.limit}, allowed is from the request ({declared.request}) up to 1"
        raise document.error((*here, "limit"), message)
    served_only = ("slo_s", "output_tokens", "batch", "timeout_s")
    for key in served_only if declared.trains else ("workers", "iterations"):
        if getattr(declared, key) is not None:
            which = "a served function" if declared.trains else "training"
            raise document.error((*here, key), f"found {getattr(declared, key)}, allowed only for {which}")
    if duration_s is not None and declared.start_s >= duration_s:
        raise document.error(
            (*here, "start_s"), f"found {declared.start_s}, allowed is below duration_s ({duration_s})"
        )


def _served(document: Document, here: Path, declared: FunctionSection, model: ModelProfile) -> Function:
    if declared.kind not in (None, model.kind):
        raise document.error(
            (*here, "kind"), f"found {declared.kind!r}, allowed for {model.name} is {model.kind!r}"
        )
    if declared.output_tokens is not None and model.kind != "llm":
        raise document.error(
            (*here, "output_tokens"), f"found {declared.output_tokens}, allowed only for an llm"
        )
    if declared.batch is not None and declared.batch > model.max_batch:
        message = f"found {declared.batch}, allowed for {model.name} is up to {model.max_batch}"
        raise document.error((*here, "batch"), message)
    return Function(
        name=declared.name,
        kind=model.kind,
        model=model,
        memory_bytes=_memory_bytes(declared, model.memory_bytes),
        slo_s=model.slo_s if declared.slo_s is None else declared.slo_s,
        output_tokens=declared.output_tokens or model.output_tokens,
        start_s=declared.start_s,
        min_instances=declared.min_instances,
        timeout_s=declared.timeout_s,
        size=_size(declared),
    )


def _training(document: Document, here: Path, declared: FunctionSection, model: ModelProfile) -> Function:
    training: TrainingProfile | None = model.training
    if training is None:
        raise document.error((*here, "model"), f"found {model.name!r}, whose profile has no training")
    return Function(
        name=declared.name,
        kind="training",
        model=model,
        memory_bytes=_memory_bytes(declared, training.memory_bytes),
        workers=declared.workers or training.workers,
        iterations=declared.iterations,
        start_s=declared.start_s,
        min_instances=declared.min_instances,
        size=_size(declared),
    )


def _check_fit(document: Document, here: Path, function: Function, cluster: Cluster) -> None:
    """Check that an empty cluster could hold an instance; an LLM may be split over the GPUs of a node."""
    if function.workers > cluster.gpus_per_node:
        message = f"found {function.workers}, allowed is up to the GPUs of a node ({cluster.gpus_per_node})"
        raise document.error((*here, "workers"), message)
    gpus = cluster.gpus_per_node if function.kind == "llm" else 1
    most = cluster.gpu.memory_bytes * gpus
    if function.memory_bytes > most:
        holder = "the GPUs of a node" if function.kind == "llm" else "a GPU"
        message = f"found {function.memory_bytes / GIB:g}, allowed is up to the {most / GIB:g} of {holder}"
        raise document.error((*here, "memory_gb"), message)


def _memory_bytes(declared: FunctionSection, profiled: int) -> int:
    return profiled if declared.memory_gb is None else round(declared.memory_gb * GIB)


def _size(declared: FunctionSection) -> Size | None:
    if declared.request is None or declared.limit is None:
        return None
    return Size(batch=declared.batch or 1, request=declared.request, limit=declared.limit)
