"""Which model serves which function of a trace.

Public traces of serverless functions name no model. The rules here give each function one, so that a trace
can drive a catalog of models, and describe what they did.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from itertools import accumulate
from typing import Literal, get_args

import numpy as np

from traces.classes import FunctionClass, classify
from traces.errors import TraceError, shown
from traces.parameters import nearest, number, whole
from traces.trace import Trace

MappingRule = Literal["by-duration", "by-hash", "by-rule"]


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
class ModelRule:
    """A model, and what a function must be like to be served by it; what is `None` is not asked.

    Attributes
    ----------
    model
        The model of the functions that the rule takes.
    name, trigger
        Patterns (`*`, `?`, `[...]`; case counts) of the function's name and of its trigger.
    function_class
        How the function is called: `steady`, `periodic`, `bursty` or `sporadic`.
    min_rps, max_rps
        Bounds of its mean rate over the trace, in requests a second: from `min_rps`, below `max_rps`.

    Raises
    ------
    TraceError
        If a pattern is empty, there is no such class, or no rate lies within the bounds.
    """

    model: str
    name: str | None = None
    trigger: str | None = None
    function_class: FunctionClass | None = None
    min_rps: float | None = None
    max_rps: float | None = None

    def __post_init__(self) -> None:
        for field in ("name", "trigger"):
            pattern = getattr(self, field)
            if pattern is not None and (not isinstance(pattern, str) or not pattern):
                raise TraceError(f"found {shown(pattern)}, allowed is a pattern, not empty", field=field)
        known = get_args(FunctionClass)
        if self.function_class is not None and self.function_class not in known:
            raise TraceError(
                f"found {shown(self.function_class)}, allowed are {', '.join(known)}"
                f"{nearest(self.function_class, known)}",
                field="function_class",
            )
        least = 0.0
        if self.min_rps is not None:
            least = number(self.min_rps, "min_rps", lambda rate: rate >= 0, "a finite number from 0")
        if self.max_rps is not None:
            number(self.max_rps, "max_rps", lambda rate: rate > least, f"a finite number above {least:g}")


@dataclass(frozen=True, slots=True)
class FunctionMapping:
    """The model of each function, in the order of the trace, and a JSON-able account of the rule."""

    model_of: Mapping[str, str]
    description: Mapping[str, object]


def map_functions(
    trace: Trace,
    models: Sequence[ModelChoice],
    *,
    rule: MappingRule = "by-duration",
    seed: int = 0,
    rules: Sequence[ModelRule] = (),
    classes: Mapping[str, str] | None = None,
) -> FunctionMapping:
    """Give each function of a trace a model.

    Parameters
    ----------
    rule
        `by-duration`: functions in the order of their mean execution time (an unknown one counts as the
        median; equals in the order of names) are cut into parts proportional to the weights, and the shortest
        part goes to the model with the shortest latency. `by-hash`: a hash of (seed, name), spread over [0,
        1), falls on the cumulative weights; a function keeps its model whatever the others are. `by-rule`:
        the first of `rules` that fits the function names its model; weights play no part.
    seed
        Of `by-hash`.
    rules
        Of `by-rule`, in the order in which they are tried.
    classes
        The class of each function, for rules that ask for one; `None` takes those of `classify`.

    Raises
    ------
    TraceError
        If there is no model or one stands twice, `by-duration` finds no `execution_s` in the trace, a rule
        names no model of `models` or asks for what is not known, or a function fits none of the rules.
    """
    if not models or len({model.name for model in models}) < len(models):
        raise TraceError("allowed is at least one model, each once", field="models")
    if rule not in get_args(MappingRule):
        raise TraceError(f"found {shown(rule)}, allowed are {', '.join(get_args(MappingRule))}", field="rule")
    for field, given in (("rules", rules), ("classes", classes)):
        if rule != "by-rule" and given:
            raise TraceError(f"found {len(given)}, {rule} has no use for them", field=field)
    ordered = sorted(models, key=lambda model: (model.typical_latency_s, model.name))
    account: dict[str, object] = {}
    if rule == "by-rule":
        taken_by = _first_fitting(trace, models, rules, classes)
        model_of = {function: rules[taken_by[function]].model for function in trace.functions}
        takers = list(taken_by.values())
        account["rules"] = [
            asdict(each) | {"functions": takers.count(position)} for position, each in enumerate(rules)
        ]
    else:
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
            **account,
        },
    )


def _first_fitting(
    trace: Trace,
    models: Sequence[ModelChoice],
    rules: Sequence[ModelRule],
    classes: Mapping[str, str] | None,
) -> dict[str, int]:
    """Return the position of the rule that takes each function."""
    if not rules:
        raise TraceError("found none, allowed is at least one rule", field="rules")
    _check_rules(trace, [model.name for model in models], rules)
    classes_of = _classes_asked(trace, rules, classes)
    triggers = trace.attributes.get("trigger", np.full(len(trace.functions), "")).astype(str).tolist()
    rates_rps = (trace.counts / trace.duration_s).tolist()
    taken_by = {}
    for name, trigger, rate_rps in zip(trace.functions, triggers, rates_rps, strict=True):
        function_class = classes_of.get(name)
        fitting = (
            position
            for position, rule in enumerate(rules)
            if _fits(rule, name, trigger, function_class, rate_rps)
        )
        if (first := next(fitting, None)) is None:
            raise TraceError(
                f"none fits function {shown(name)}; a last rule that asks for nothing but names a model, "
                f"ModelRule({rules[-1].model!r}), takes the rest",
                field="rules",
            )
        taken_by[name] = first
    return taken_by


def _fits(rule: ModelRule, name: str, trigger: str, function_class: str | None, rate_rps: float) -> bool:
    return (
        (rule.name is None or fnmatchcase(name, rule.name))
        and (rule.trigger is None or fnmatchcase(trigger, rule.trigger))
        and (rule.function_class is None or function_class == rule.function_class)
        and (rule.min_rps is None or rate_rps >= rule.min_rps)
        and (rule.max_rps is None or rate_rps < rule.max_rps)
    )


def _check_rules(trace: Trace, models: Sequence[str], rules: Sequence[ModelRule]) -> None:
    for position, rule in enumerate(rules):
        if rule.model not in models:
            raise TraceError(
                f"found {shown(rule.model)}, allowed are {', '.join(models)}{nearest(rule.model, models)}",
                field=f"rules.{position}.model",
            )
        if rule.trigger is not None and "trigger" not in trace.attributes:
            raise TraceError(
                f"found {shown(rule.trigger)}, but the trace knows no triggers",
                field=f"rules.{position}.trigger",
            )


def _classes_asked(
    trace: Trace, rules: Sequence[ModelRule], classes: Mapping[str, str] | None
) -> Mapping[str, str]:
    """Return the class of each function, empty if no rule asks for it."""
    if all(rule.function_class is None for rule in rules):
        return {}
    if classes is None:
        return dict(zip(trace.functions, classify(trace), strict=True))
    for name in trace.functions:
        if classes.get(name) not in get_args(FunctionClass):
            raise TraceError(
                f"found {shown(classes.get(name))} for function {shown(name)}, "
                f"allowed are {', '.join(get_args(FunctionClass))}",
                field="classes",
            )
    return classes


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
    seed = whole(seed, "seed", 0)

    def place(function: str) -> float:
        digest = blake2b(f"{seed}\0{function}".encode(), digest_size=8).digest()
        return (int.from_bytes(digest, "little") >> 11) / 2**53

    return {function: place(function) for function in trace.functions}


def _part(place: float, ends: list[float]) -> int:
    return next((part for part, end in enumerate(ends) if place < end), len(ends) - 1)
