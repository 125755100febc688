from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import ArrivalSpec, ModelChoice, Trace, TraceError, generate, map_functions
from traces.mapping import ModelRule

MODELS = (
    ModelChoice("large", weight=1.0, typical_latency_s=2.0),
    ModelChoice("small", weight=2.0, typical_latency_s=0.02),
    ModelChoice("medium", weight=1.0, typical_latency_s=0.2),
)


def trace_of(execution_s: list[float]) -> Trace:
    """Return a trace of silent functions f0, f1, ... with these execution times."""
    return Trace.from_functions(
        {f"f{i}": [] for i in range(len(execution_s))},
        duration_s=1.0,
        attributes={"execution_s": np.array(execution_s)},
    )


def test_short_functions_go_to_fast_models() -> None:
    """Functions in order of execution time are cut by weight: half, a quarter, a quarter."""
    mapping = map_functions(trace_of([8.0, 0.1, 4.0, 2.0, 0.2, 0.3, 0.4, 9.0]), MODELS)
    assert mapping.model_of == {
        "f0": "large",
        "f1": "small",
        "f2": "medium",
        "f3": "medium",
        "f4": "small",
        "f5": "small",
        "f6": "small",
        "f7": "large",
    }
    assert [model["functions"] for model in mapping.description["models"]] == [4, 2, 2]  # type: ignore[attr-defined]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_a_longer_function_never_gets_a_faster_model(execution_s: list[float]) -> None:
    """The typical latency of the model rises with the execution time of the function, and weights are met."""
    mapping = map_functions(trace_of(execution_s), MODELS)
    latency = {model.name: model.typical_latency_s for model in MODELS}
    by_time = sorted((time, latency[mapping.model_of[f"f{i}"]]) for i, time in enumerate(execution_s))
    assert [time for _, time in by_time] == sorted(latency[name] for name in mapping.model_of.values())
    small = list(mapping.model_of.values()).count("small")
    assert abs(small - len(execution_s) / 2) <= 0.5


def test_an_unknown_execution_time_counts_as_the_median() -> None:
    """A function without a duration row lands in the middle."""
    models = [ModelChoice("fast", 1.0, 0.1), ModelChoice("mid", 1.0, 0.2), ModelChoice("slow", 1.0, 0.3)]
    mapping = map_functions(trace_of([1.0, math.nan, 9.0]), models)
    assert mapping.model_of == {"f0": "fast", "f1": "mid", "f2": "slow"}


def test_a_hash_keeps_a_function_s_model_whatever_the_others_are() -> None:
    """By-hash needs no durations, is stable under selection, changes with the seed and meets the weights."""
    trace = trace_of([math.nan] * 2000)
    mapping = map_functions(trace, MODELS, rule="by-hash", seed=1)
    part = map_functions(trace.select(["f7", "f1500"]), MODELS, rule="by-hash", seed=1)
    assert part.model_of == {name: mapping.model_of[name] for name in ("f7", "f1500")}
    assert map_functions(trace, MODELS, rule="by-hash", seed=2).model_of != mapping.model_of
    share = list(mapping.model_of.values()).count("small") / 2000
    assert share == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 2000))


@pytest.mark.parametrize("seed", [-1, 1.0, True, "1"])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    """1 and 1.0 would hash differently."""
    with pytest.raises(TraceError, match=r"^seed: found .*, allowed are integers from 0"):
        map_functions(trace_of([1.0]), MODELS, rule="by-hash", seed=seed)


def test_the_models_of_a_hash_are_the_same_on_every_machine() -> None:
    """The choice is pinned."""
    mapping = map_functions(trace_of([math.nan] * 6), MODELS, rule="by-hash", seed=1)
    assert list(mapping.model_of.values()) == ["large", "small", "large", "small", "small", "medium"]


def test_the_description_is_json_able() -> None:
    """What was done can stand in a manifest."""
    description = map_functions(trace_of([1.0]), MODELS).description
    assert json.loads(json.dumps(description)) == description
    assert description["rule"] == "by-duration"


@pytest.mark.parametrize(
    ("models", "rule", "message"),
    [
        ((), "by-hash", "models: allowed is at least one"),
        ((MODELS[0], MODELS[0]), "by-hash", "models: allowed is at least one model, each once"),
        (MODELS, "by-size", "rule: found 'by-size', allowed are by-duration, by-hash"),
        (MODELS, "by-duration", "execution_s: the trace has none; map it by-hash"),
    ],
)
def test_a_mapping_without_ground_is_refused(
    models: tuple[ModelChoice, ...], rule: str, message: str
) -> None:
    """No model, a doubled model, an unknown rule and unknown durations are named."""
    with pytest.raises(TraceError, match=message):
        map_functions(trace_of([math.nan]), models, rule=rule)  # type: ignore[arg-type]
    with pytest.raises(TraceError, match=message):
        map_functions(Trace.from_functions({"a": []}, duration_s=1.0), models, rule=rule)  # type: ignore[arg-type]


def three_tenants() -> Trace:
    """Return functions of 0.5, 2 and 0 requests a second over 10 s, with their triggers."""
    return Trace.from_functions(
        {"client-1": [0.0] * 5, "client-2": [1.0] * 20, "batch": []},
        duration_s=10.0,
        attributes={"trigger": np.array(["http", "queue", "timer"])},
    )


CLASSES = {"client-1": "steady", "client-2": "bursty", "batch": "sporadic"}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([ModelRule("small")], ["small", "small", "small"]),
        ([ModelRule("large", name="client-*"), ModelRule("small")], ["large", "large", "small"]),
        ([ModelRule("large", name="Client-*"), ModelRule("small")], ["small", "small", "small"]),
        ([ModelRule("large", trigger="[ht]*"), ModelRule("small")], ["large", "small", "large"]),
        ([ModelRule("large", function_class="bursty"), ModelRule("small")], ["small", "large", "small"]),
        ([ModelRule("large", min_rps=0.5), ModelRule("small")], ["large", "large", "small"]),
        ([ModelRule("large", max_rps=0.5), ModelRule("small")], ["small", "small", "large"]),
        ([ModelRule("large", min_rps=0.1, max_rps=2.0), ModelRule("small")], ["large", "small", "small"]),
        (
            [ModelRule("large", name="client-*", trigger="queue"), ModelRule("small")],
            ["small", "large", "small"],
        ),
        (
            [ModelRule("large", name="*-1"), ModelRule("medium", name="client-*"), ModelRule("small")],
            ["large", "medium", "small"],
        ),
    ],
)
def test_the_first_rule_that_fits_names_the_model(rules: list[ModelRule], expected: list[str]) -> None:
    """Every condition that a rule states must hold; the order of the rules decides between those that fit."""
    mapping = map_functions(three_tenants(), MODELS, rule="by-rule", rules=rules, classes=CLASSES)
    assert list(mapping.model_of) == ["client-1", "client-2", "batch"]
    assert list(mapping.model_of.values()) == expected


@given(st.lists(st.integers(0, 40), max_size=12), st.lists(st.floats(0.1, 4.0), unique=True, max_size=4))
def test_bounds_that_meet_leave_no_function_out(counts: list[int], edges: list[float]) -> None:
    """Rules from edge to edge take every function once, and the account adds up."""
    trace = Trace.from_functions({f"f{i}": [0.0] * count for i, count in enumerate(counts)}, duration_s=10.0)
    bounds: list[float | None] = [None, *sorted(edges), None]
    rules = [
        ModelRule(MODELS[i % 3].name, min_rps=least, max_rps=most)
        for i, (least, most) in enumerate(pairwise(bounds))
    ]
    mapping = map_functions(trace, MODELS, rule="by-rule", rules=rules)
    for function, count in zip(trace.functions, counts, strict=True):
        place = sum(count / 10 >= edge for edge in edges)
        assert mapping.model_of[function] == rules[place].model
    taken: Any = mapping.description["rules"]
    assert sum(rule["functions"] for rule in taken) == len(counts)


def test_the_description_says_which_rule_took_how_many() -> None:
    """Rules stand in their order with what they ask and what they took, one that took none included."""
    rules = [ModelRule("large", name="client-*"), ModelRule("medium", name="client-1"), ModelRule("small")]
    description = map_functions(three_tenants(), MODELS, rule="by-rule", rules=rules).description
    assert json.loads(json.dumps(description)) == description
    taken: Any = description["rules"]
    assert [(rule["name"], rule["functions"]) for rule in taken] == [
        ("client-*", 2),
        ("client-1", 0),
        (None, 1),
    ]
    models: Any = description["models"]
    assert {model["name"]: model["functions"] for model in models} == {"small": 1, "medium": 0, "large": 2}
    assert "rules" not in map_functions(three_tenants(), MODELS, rule="by-hash").description


def test_classes_are_told_from_the_trace_where_none_are_given() -> None:
    """A steady function and a rare one are told apart by how they arrive."""
    specs = [ArrivalSpec("often", "poisson", 20.0), ArrivalSpec("rarely", "poisson", 0.002)]
    trace = generate(specs, duration_s=7200.0, seed=0)
    rules = [
        ModelRule("large", function_class="steady"),
        ModelRule("small", function_class="sporadic"),
        ModelRule("medium"),
    ]
    mapping = map_functions(trace, MODELS, rule="by-rule", rules=rules)
    assert mapping.model_of == {"often": "large", "rarely": "small"}
    none = Trace.from_functions({}, duration_s=10.0)
    assert map_functions(none, MODELS, rule="by-rule", rules=rules).model_of == {}


@pytest.mark.parametrize(
    ("rules", "classes", "message"),
    [
        ((), None, "rules: found none, allowed is at least one rule"),
        (
            [ModelRule("large", name="client-*")],
            None,
            "rules: none fits function 'batch'; a last rule that asks for nothing but names a model",
        ),
        (
            [ModelRule("small"), ModelRule("larg")],
            None,
            "rules.1.model: found 'larg', allowed are large, small, medium; did you mean 'large'?",
        ),
        (
            [ModelRule("large", function_class="steady"), ModelRule("small")],
            {"client-1": "steady", "batch": "steady"},
            "classes: found None for function 'client-2', allowed are steady, periodic, bursty, sporadic",
        ),
        (
            [ModelRule("large", function_class="steady"), ModelRule("small")],
            dict.fromkeys(CLASSES, "calm"),
            "classes: found 'calm' for function 'client-1', allowed are steady",
        ),
    ],
)
def test_rules_without_ground_are_refused(
    rules: Sequence[ModelRule], classes: Mapping[str, str] | None, message: str
) -> None:
    """The message names the rule or the function, and what is allowed."""
    with pytest.raises(TraceError) as caught:
        map_functions(three_tenants(), MODELS, rule="by-rule", rules=rules, classes=classes)
    assert str(caught.value).startswith(message)


def test_a_rule_on_triggers_needs_a_trace_that_knows_them() -> None:
    """A trace without triggers names the rule that asks for one."""
    rules = [ModelRule("large", trigger="http"), ModelRule("small")]
    with pytest.raises(
        TraceError, match=r"^rules\.0\.trigger: found 'http', but the trace knows no triggers"
    ):
        map_functions(trace_of([1.0]), MODELS, rule="by-rule", rules=rules)


def test_rules_and_classes_are_for_rules_alone() -> None:
    """Given to another rule they would be passed over in silence."""
    with pytest.raises(TraceError, match=r"^rules: found 1, by-hash has no use for them"):
        map_functions(three_tenants(), MODELS, rule="by-hash", rules=[ModelRule("large")])
    with pytest.raises(TraceError, match=r"^classes: found 3, by-hash has no use for them"):
        map_functions(three_tenants(), MODELS, rule="by-hash", classes=CLASSES)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"name": ""}, "name: found '', allowed is a pattern, not empty"),
        ({"trigger": 7}, "trigger: found 7, allowed is a pattern, not empty"),
        (
            {"function_class": "brusty"},
            "function_class: found 'brusty', allowed are .* mean 'bursty'",
        ),
        ({"min_rps": -1}, "min_rps: found -1, allowed is a finite number from 0"),
        ({"min_rps": math.nan}, "min_rps: found nan, allowed is a finite number from 0"),
        ({"min_rps": "1"}, "min_rps: found '1', allowed is a finite number from 0"),
        ({"max_rps": True}, "max_rps: found True, allowed is a finite number above 0"),
        ({"max_rps": 0}, "max_rps: found 0, allowed is a finite number above 0"),
        ({"min_rps": 2, "max_rps": 2}, "max_rps: found 2, allowed is a finite number above 2"),
    ],
)
def test_a_rule_that_can_fit_nothing_is_refused(condition: dict[str, Any], message: str) -> None:
    """Empty patterns, unknown classes and bounds without a rate between them are named."""
    with pytest.raises(TraceError, match=message):
        ModelRule("large", **condition)


@pytest.mark.parametrize(("weight", "latency_s"), [(0.0, 1.0), (math.nan, 1.0), (1.0, -1.0), (1.0, math.inf)])
def test_a_choice_out_of_range_is_refused(weight: float, latency_s: float) -> None:
    """Weights are above 0 and latencies from 0, both finite."""
    with pytest.raises(TraceError, match="for 'm', allowed is a finite number"):
        ModelChoice("m", weight, latency_s)
