"""Which model serves which function of a trace.

Public traces of serverless functions name no model. The rules here give each function one, so that a trace
can drive a catalog of models, and describe what they did.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import Literal, get_args

import numpy as np

from traces.errors import TraceError, shown
from traces.trace import Trace

MappingRule = Literal["by-duration", "by-hash"]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that functions may be mapped to.

    Attributes
    ----------
    name
        The model.
    weight
        Its part of the functions, relative to the other weights.
    typical_latency_s
        What one request takes; orders the models for `by-duration`.

    Raises
    ------
    TraceError
        If a value is out of range.
    """

    name: str
    weight: float = 1.0
    typical_latency_s: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise TraceError(
                f"found {shown(self.weight)} for {shown(self.name)}, allowed is a finite number above 0",
                field="weight",
            )
        if not (math.isfinite(self.typical_latency_s) and self.typical_latency_s >= 0):
            raise TraceError(
                f"found {shown(self.typical_latency_s)} for {shown(self.name)}, "
                "allowed is a finite number from 0",
                field="typical_latency_s",
            )


@dataclass(frozen=True, slots=True)
class FunctionMapping:
    """The model of each function, in the order of the trace, and a JSON-able account of the rule."""

    model_of: Mapping[str, str]
    description: Mapping[str, object]


def map_functions(
    trace: Trace, models: Sequence[ModelChoice], *, rule: MappingRule = "by-duration", seed: int = 0
) -> FunctionMapping:
    """Give each function of a trace a model.

    Parameters
    ----------
    rule
        `by-duration`: functions in the order of their mean execution time (an unknown one counts as the
        median; equals in the order of names) are cut into parts proportional to the weights, and the shortest
        part goes to the model with the shortest latency. `by-hash`: a hash of (seed, name), spread over [0,
        1), falls on the cumulative weights; a function keeps its model whatever the others are.
    seed
        Of `by-hash`.

    Raises
    ------
    TraceError
        If there is no model or one stands twice, or `by-duration` finds no `execution_s` in the trace.
    """
    if not models or len({model.name for model in models}) < len(models):
        raise TraceError("allowed is at least one model, each once", field="models")
    if rule not in get_args(MappingRule):
        raise TraceError(f"found {shown(rule)}, allowed are {', '.join(get_args(MappingRule))}", field="rule")
    ordered = sorted(models, key=lambda model: (model.typical_latency_s, model.name))
    place = _rank_by_duration(trace) if rule == "by-duration" else _rank_by_hash(trace, seed)
    ends = list(accumulate(model.weight for model in ordered))
    model_of = {
        function: ordered[_part(place[function] * ends[-1], ends)].name for function in trace.functions
    }
    chosen = list(model_of.values())
    return FunctionMapping(
        model_of=model_of,
        description={
            "rule": rule,
            "seed": int(seed) if rule == "by-hash" else None,
            "models": [asdict(model) | {"functions": chosen.count(model.name)} for model in ordered],
        },
    )


def _rank_by_duration(trace: Trace) -> dict[str, float]:
    """Return the place of each function in (0, 1), by execution time."""
    execution_s = trace.attributes.get("execution_s")
    if not trace.functions:
        return {}
    if execution_s is None or np.isnan(execution_s).all():
        raise TraceError("the trace has none; map it by-hash", field="execution_s")
    known = np.where(np.isnan(execution_s), np.nanmedian(execution_s), execution_s)
    order = sorted(zip(known.tolist(), trace.functions, strict=True))
    return {function: (rank + 0.5) / len(order) for rank, (_, function) in enumerate(order)}


def _rank_by_hash(trace: Trace, seed: int) -> dict[str, float]:
    """Return the place of each function in [0, 1), by its name."""

    def place(function: str) -> float:
        digest = blake2b(f"{seed}\0{function}".encode(), digest_size=8).digest()
        return (int.from_bytes(digest, "little") >> 11) / 2**53

    return {function: place(function) for function in trace.functions}


def _part(place: float, ends: list[float]) -> int:
    return next((part for part, end in enumerate(ends) if place < end), len(ends) - 1)
