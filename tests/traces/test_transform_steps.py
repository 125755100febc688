from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numbered import requests_of, rows, same, seeds, timer, trace_of

from traces import (
    Trace,
    TraceError,
)
from traces.transforms import (
    TRANSFORMS,
    apply_transforms,
    compress_time,
    drop_idle,
    only,
    pool,
    scale_rate,
    thin,
    top,
)

STEPS: tuple[Mapping[str, object], ...] = (
    {"window": {"start_s": 1, "end_s": 9.5}},
    {"scale_rate": 2.5},
    {"compress_time": 4},
    {"thin": 0.9},
    {"top": 3},
    {"only": "*"},
    {"drop_idle": True},
    {"pool": "all"},
)


@given(rows, st.lists(st.sampled_from(STEPS[1:]), max_size=6), seeds)
def test_steps_are_functions_one_after_the_other(
    requests: list[tuple[int, int]], steps: list[Mapping[str, object]], seed: int
) -> None:
    """Steps give what the functions give, twice the same, and leave the trace that they are given alone."""
    trace = trace_of(requests)
    assume(requests or not any("only" in step for step in steps))
    before = requests_of(trace)
    expected = trace
    for step in steps:
        match dict(step):
            case {"scale_rate": factor}:
                expected = scale_rate(expected, factor, seed=seed)  # type: ignore[arg-type]
            case {"compress_time": factor}:
                expected = compress_time(expected, factor)  # type: ignore[arg-type]
            case {"thin": fraction}:
                expected = thin(expected, fraction, seed=seed)  # type: ignore[arg-type]
            case {"top": k}:
                expected = top(expected, k)  # type: ignore[arg-type]
            case {"pool": name}:
                expected = pool(expected, name)  # type: ignore[arg-type]
            case {"only": names}:
                assume(expected.functions)
                expected = only(expected, names)  # type: ignore[arg-type]
            case {"drop_idle": True}:
                expected = drop_idle(expected)
    assert same(apply_transforms(trace, steps, seed=seed), expected)
    assert same(apply_transforms(trace, steps, seed=seed), apply_transforms(trace, steps, seed=seed))
    assert requests_of(trace) == before
    assert trace.provenance == {"source": "a test"}


def test_the_provenance_lists_every_step_in_order() -> None:
    """What was done stands behind what was done before, with every number and the seed."""
    trace = trace_of([(time * 100_000, time % 4) for time in range(99)])
    done = apply_transforms(trace.window(0.0, 9.8), STEPS, seed=7).provenance
    assert done == {
        "source": "a test",
        "transforms": [
            {"transform": "window", "start_s": 0.0, "end_s": 9.8},
            {"transform": "window", "start_s": 1.0, "end_s": 9.5},
            {"transform": "scale_rate", "factor": 2.5, "seed": 7},
            {"transform": "compress_time", "factor": 4.0},
            {"transform": "thin", "fraction": 0.9, "seed": 7},
            {"transform": "top", "k": 3},
            {"transform": "only", "names": ["*"]},
            {"transform": "drop_idle"},
            {"transform": "pool", "name": "all"},
        ],
    }


@pytest.mark.parametrize("step", STEPS, ids=lambda step: next(iter(step)))
def test_traces_of_nothing_and_of_one_request_pass(step: Mapping[str, object]) -> None:
    """Each transform takes a trace of silent functions, of one request, and without tokens."""
    silent = apply_transforms(trace_of([]), [step], seed=0)
    assert len(silent) == 0
    assert silent.input_tokens is not None
    single = apply_transforms(trace_of([(5_000_000, 0)]), [step], seed=0)
    assert len(single) in ((2, 3) if "scale_rate" in step else (1,))
    assert set(np.asarray(single.input_tokens).tolist()) == {0}
    plain = apply_transforms(Trace.from_functions({"a": [2.0]}, duration_s=10.0), [step], seed=0)
    assert plain.input_tokens is None
    if "only" not in step:
        none = apply_transforms(Trace.from_functions({}, duration_s=10.0), [step], seed=0)
        assert len(none) == 0
        assert none.functions == (("all",) if "pool" in step else ())


def test_every_transform_has_a_step_and_a_description() -> None:
    """The steps tried above are all that there are."""
    assert set(TRANSFORMS) == {name for step in STEPS for name in step}
    assert all(text and "\n" not in text for text in TRANSFORMS.values())


def test_the_parameters_of_a_step_may_be_named() -> None:
    """A single parameter stands bare or by its name, and a trigger by its own."""
    trace = trace_of([(5, 0), (6, 2)])
    assert same(
        apply_transforms(trace, [{"scale_rate": {"factor": 3}}], seed=1),
        apply_transforms(trace, [{"scale_rate": 3}], seed=1),
    )
    assert apply_transforms(trace, [{"only": {"trigger": "timer"}}], seed=0).functions == ("timer",)


REFUSED: tuple[tuple[object, str], ...] = (
    (
        {"window": {"start_s": 0, "end_s": 11}},
        "0.window.end_s: found 11, allowed is a number above 0.0 and up",
    ),
    ({"window": {"start_s": 5, "end_s": 5}}, "0.window.end_s: found 5, allowed is a number above 5.0"),
    ({"window": {"start_s": -1, "end_s": 5}}, "0.window.start_s: found -1, allowed is a number from 0"),
    (
        {"window": {"start_s": 10, "end_s": 11}},
        "0.window.start_s: found 10, allowed is a number from 0",
    ),
    ({"window": {"start_s": "0", "end_s": 5}}, "0.window.start_s: found '0', allowed"),
    ({"window": {"start_s": 0, "end_s": math.nan}}, "0.window.end_s: found nan, allowed"),
    ({"window": {"start_s": 0}}, "0.window.end_s: is missing"),
    (
        {"window": {"start_s": 0, "ends_s": 2}},
        "0.window: found the key 'ends_s', allowed are start_s, end_s; ",
    ),
    ({"window": {"start_s": 0, 7: 2}}, "0.window: found the key 7, allowed are start_s, end_s"),
    ({"window": 3600}, "0.window: found 3600, allowed is a mapping of start_s, end_s"),
    ({"window": [0, 5]}, "0.window: found [0, 5], allowed is a mapping of start_s, end_s"),
    ({"scale_rate": 0}, "0.scale_rate: found 0, allowed is a finite number above 0"),
    ({"scale_rate": -2.0}, "0.scale_rate: found -2.0, allowed is a finite number above 0"),
    ({"scale_rate": True}, "0.scale_rate: found True, allowed is a finite number above 0"),
    ({"scale_rate": np.bool_(True)}, "0.scale_rate: found np.True_, allowed"),
    ({"scale_rate": "2"}, "0.scale_rate: found '2', allowed is a finite number above 0"),
    ({"scale_rate": math.inf}, "0.scale_rate: found inf, allowed is a finite number above 0"),
    ({"scale_rate": 10**400}, "0.scale_rate: found 1000"),
    ({"scale_rate": None}, "0.scale_rate: found None, allowed is a finite number above 0"),
    ({"scale_rate": {"factor": math.nan}}, "0.scale_rate.factor: found nan, allowed is a finite number"),
    ({"scale_rate": {"factor": 2, "seed": 3}}, "0.scale_rate: found the key 'seed', allowed are factor"),
    ({"scale_rate": {}}, "0.scale_rate.factor: is missing"),
    ({"compress_time": -1}, "0.compress_time: found -1, allowed is a finite number above 0"),
    ({"compress_time": [2]}, "0.compress_time: found [2], allowed is a finite number above 0"),
    ({"thin": 1.5}, "0.thin: found 1.5, allowed is a number above 0 and up to 1"),
    ({"thin": 0}, "0.thin: found 0, allowed is a number above 0 and up to 1"),
    ({"top": 0}, "0.top: found 0, allowed are integers from 1"),
    ({"top": 2.0}, "0.top: found 2.0, allowed are integers from 1"),
    ({"top": True}, "0.top: found True, allowed are integers from 1"),
    ({"pool": ""}, "0.pool: found '', allowed is a name that is not empty"),
    ({"pool": 7}, "0.pool: found 7, allowed is a name that is not empty"),
    ({"only": "wbe-a"}, "0.only: found 'wbe-a', which matches none of 4 functions; did you mean 'web-a'?"),
    ({"only": "batch"}, "0.only: found 'batch', which matches none of 4 functions; did you mean 'Batch'?"),
    ({"only": ["web-*", "x"]}, "0.only: found 'x', which matches none of 4 functions"),
    ({"only": []}, "0.only: found [], allowed is a pattern or a list of patterns"),
    ({"only": [1]}, "0.only: found [1], allowed is a pattern or a list of patterns"),
    ({"only": 3}, "0.only: found 3, allowed is a pattern or a list of patterns"),
    ({"only": None}, "0.only: is missing"),
    ({"only": {}}, "0.only.names: is missing, allowed are patterns of names, of trigger, or both"),
    (
        {"only": {"trigger": "htp"}},
        "0.only.trigger: found 'htp', which matches none of 4 functions",
    ),
    ({"drop_idle": False}, "0.drop_idle: found False, allowed is true"),
    ({"drop_idle": 1}, "0.drop_idle: found 1, allowed is true"),
    ({"drop_idle": {"k": 1}}, "0.drop_idle: found the key 'k', allowed is true"),
    ({"scale": 2}, "0: found 'scale', allowed are window, scale_rate, "),
    ({"tops": 2}, "did you mean 'top'?"),
    ({3: 2}, "0: found 3, allowed are window, scale_rate, "),
    ({}, "0: found {}, allowed is a mapping of one transform: window, scale_rate, "),
    ({"top": 2, "thin": 1}, "0: found {'top': 2, 'thin': 1}, allowed is a mapping of one transform"),
    ("drop_idle", "0: found 'drop_idle', allowed is a mapping of one transform"),
)


@pytest.mark.parametrize(("step", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_a_bad_step_is_named(step: Any, message: str) -> None:
    """The message says where the step stands, what was found and what is allowed."""
    with pytest.raises(TraceError) as caught:
        apply_transforms(trace_of([(5, 0)]), [step], seed=0)
    assert message in str(caught.value)


def test_a_later_step_is_named_by_its_place_before_anything_is_done() -> None:
    """Names are checked first; a value that depends on the trace is checked in its turn."""
    steps: Sequence[Any] = [{"window": {"start_s": 0, "end_s": 2}}, {"window": {"start_s": 0, "end_s": 3}}]
    with pytest.raises(TraceError, match=r"^1\.window\.end_s: found 3, allowed is .* and up to 2"):
        apply_transforms(trace_of([]), steps, seed=0)
    with pytest.raises(TraceError, match=r"^1: found 'wndow'"):
        apply_transforms(trace_of([]), [{"window": {"start_s": 0, "end_s": 99}}, {"wndow": 1}], seed=0)


@pytest.mark.parametrize("steps", [{"top": 2}, "top", None, 3])
def test_steps_are_a_list(steps: Any) -> None:
    """A mapping or a text in place of the list is named."""
    with pytest.raises(TraceError, match=r"^steps: found .*, allowed is a list of transforms"):
        apply_transforms(trace_of([]), steps, seed=0)


@pytest.mark.parametrize("seed", [-1, 1.0, True, "1", None])
def test_a_bad_seed_is_refused_even_where_nothing_is_drawn(seed: Any) -> None:
    """A whole-number factor needs no draws; its seed is checked all the same."""
    allowed = "^seed: found .*, allowed are integers from 0"
    with pytest.raises(TraceError, match=allowed):
        scale_rate(timer(1), 1, seed=seed)
    with pytest.raises(TraceError, match=allowed):
        thin(timer(1), 1, seed=seed)
    with pytest.raises(TraceError, match=allowed):
        apply_transforms(timer(1), [], seed=seed)


def test_a_provenance_of_another_kind_is_refused() -> None:
    """Transforms are added to a list, and to nothing else."""
    trace = Trace.from_functions({"a": [1.0]}, duration_s=2.0, provenance={"transforms": "none"})
    with pytest.raises(TraceError, match=r"^provenance\.transforms: found 'none', allowed is a list"):
        scale_rate(trace, 2, seed=0)
