from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import ModelChoice, Trace, TraceError, map_functions

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


@pytest.mark.parametrize(("weight", "latency_s"), [(0.0, 1.0), (math.nan, 1.0), (1.0, -1.0), (1.0, math.inf)])
def test_a_choice_out_of_range_is_refused(weight: float, latency_s: float) -> None:
    """Weights are above 0 and latencies from 0, both finite."""
    with pytest.raises(TraceError, match="for 'm', allowed is a finite number"):
        ModelChoice("m", weight, latency_s)
