"""Skipping ticks and polls that decide nothing changes nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from simulated import NO_ARRIVALS, model, plain_system, run, serves, trains

from policies import Function, Size, System, find_system
from policies.start_up import FixedStartUp
from profiles.contention import contention
from sim.gpu import Gpu
from sim.vertical import VerticalLoop

DURATION_S = 12.0
SEEK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: thousands of arrival times do not get any clearer."""


@st.composite
def contended(
    draw: st.DrawFn, *, idles: bool = False, unlike: bool = False
) -> tuple[list[Function], list[Any], int]:
    """One to four functions on two or four GPUs that cannot hold them all undisturbed, with bursts and
    silences.

    `idles`: some may go to no instance at all. `unlike`: sizing decides, and may offer several sizes.
    """
    functions, arrivals = [], []
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    for index in range(draw(st.integers(1, 4))):
        request = draw(st.sampled_from([0.1, 0.2, 0.25, 0.3]))
        limit = min(1.0, request * draw(st.sampled_from([1.0, 1.5, 2.0, 3.0])))
        batch = draw(st.sampled_from([1, 2, 4]))
        kind = draw(st.sampled_from(["inference", "inference", "llm"]))
        profile = model(
            f"model-{index}",
            floor_s=draw(st.sampled_from([0.002, 0.010])),
            floor_per_request_s=0.001,
            work_s=draw(st.sampled_from([0.001, 0.004])),
            work_per_request_s=0.002,
            kind=kind,
            launches=draw(st.sampled_from([0, 100, 300])),
            wave_s=20e-6,
        )
        function = serves(
            profile,
            Size(batch, request, limit),
            name=f"serve-{index}",
            min_instances=draw(st.sampled_from([0, 0, 1])) if idles else 1,
            output_tokens=3 if kind == "llm" else 1,
            timeout_s=draw(st.sampled_from([None, 0.5])),
            start_s=draw(st.sampled_from([0.0, 0.0, 1.37])),
        )
        if unlike:
            slo_s = draw(st.sampled_from([0.04, 0.1, 0.4]))
            function = dataclasses.replace(function, size=None, slo_s=slo_s)
        functions.append(function)
        rate_rps = draw(st.sampled_from([0.5, 10.0, 60.0, 200.0]))
        times = np.sort(rng.uniform(0.0, DURATION_S, rng.poisson(rate_rps * DURATION_S / 2)))
        if draw(st.booleans()):
            times = times[(times % 3.0) < 1.5]  # silences longer than the activity window
        if draw(st.booleans()):
            times = np.sort(np.round(times, 2))  # ties, and arrivals on the grid of ticks
        arrivals.append(times)
    for index in range(draw(st.integers(0, 2))):
        profile = model(f"trainer-{index}", launches=500, wave_s=80e-6, step_floor_s=0.01, step_work_s=0.08)
        functions.append(
            trains(
                profile,
                Size(1, draw(st.sampled_from([0.3, 0.5])), draw(st.sampled_from([0.6, 0.9]))),
                name=f"train-{index}",
                workers=draw(st.sampled_from([1, 2])),
                iterations=draw(st.sampled_from([None, 40])),
                start_s=draw(st.sampled_from([0.0, 2.5])),
            )
        )
        arrivals.append(NO_ARRIVALS)
    return functions, arrivals, draw(st.sampled_from([2, 2, 4]))


HASTY: dict[str, dict[str, object]] = {
    "knative": {"horizontal.stable_window_s": 5, "horizontal.to_zero_grace_s": 1.0},
    "kubernetes": {
        "horizontal.sync_s": 2.0,
        "horizontal.down_stabilization_s": 4.0,
        "horizontal.metric_window_s": 2,
    },
    "hybrid-histogram": {
        "keep_alive.bin_s": 1,
        "keep_alive.range_s": 5,
        "keep_alive.history_s": 12,
        "keep_alive.least_cv": 0.5,
    },
    "infless+": {"keep_alive.short_s": 4, "keep_alive.long_s": 8, "keep_alive.default_s": 2.0},
    "fast-gs+": {"horizontal.patience_s": 2},
    "has-gpu": {"horizontal.window_s": 3, "horizontal.cool_down_s": 2.0},
    "tgs": {"vertical.tick_s": 0.25},
    "antman": {"vertical.tick_s": 0.25, "vertical.window_s": 0.5},
}
"""Constants with which each system acts within the test; otherwise it would wait for minutes."""


def under(system: System) -> System:
    """The system with launches that take a while but not for ever, and policies that act within the test."""
    changed = dataclasses.replace(system, start_up=FixedStartUp(0.7))
    if hasattr(changed.horizontal, "out_count"):
        changed = changed.with_config(
            {"horizontal.window_s": 6, "horizontal.out_count": 2, "horizontal.in_count": 3}
        )
    return changed.with_config(HASTY.get(system.name, {}))


@pytest.mark.parametrize("name", ["dilu", "dilu-reference", "infless+-r"])
@given(workload=contended())
@settings(max_examples=60, deadline=None, phases=SEEK)
def test_skipping_equals_asking_on_every_tick(
    name: str, workload: tuple[list[Function], list[Any], int]
) -> None:
    """On contended random workloads every batch, launch, quota and training step is the same, to the bit."""
    assert_skipping_changes_nothing(name, workload)


@pytest.mark.parametrize("name", ["tgs", "antman", "has-gpu", "kubernetes", "fast-gs+"])
@given(workload=contended())
@settings(max_examples=40, deadline=None, phases=SEEK)
def test_skipping_equals_asking_under_the_rivals(
    name: str, workload: tuple[list[Function], list[Any], int]
) -> None:
    """The same of rivals that tick slowly, want shares, or wait for a sync: their promises hold."""
    assert_skipping_changes_nothing(name, workload)


@pytest.mark.parametrize("name", ["knative", "hybrid-histogram", "faascache", "torpor", "infless+-l"])
@given(workload=contended(idles=True))
@settings(max_examples=40, deadline=None, phases=SEEK)
def test_skipping_equals_asking_of_functions_without_instances(
    name: str, workload: tuple[list[Function], list[Any], int]
) -> None:
    """The same where functions go to nothing, are launched ahead, or evict one another from little memory."""
    assert_skipping_changes_nothing(name, workload, memory_gib=9)


@given(workload=contended(idles=True, unlike=True))
@settings(max_examples=40, deadline=None, phases=SEEK)
def test_skipping_equals_asking_of_unlike_instances(workload: tuple[list[Function], list[Any], int]) -> None:
    """The same where the instances of a function differ in size and are weighted."""
    assert_skipping_changes_nothing("infless+", workload)


def assert_skipping_changes_nothing(
    name: str, workload: tuple[list[Function], list[Any], int], *, memory_gib: int = 40
) -> None:
    """Run with every tick and second, without those that decide nothing, and with ticks that lag."""
    functions, arrivals, gpus = workload
    naive, skipping, lagging = (
        run(
            functions,
            arrivals,
            duration_s=DURATION_S,
            system=under(find_system(name)),
            gpus_per_node=gpus,
            memory_gib=memory_gib,
            skip_idle_ticks=skip,
            quotas=quotas,
        )
        for skip, quotas in ((False, True), (True, True), (True, False))
    )
    assert skipping.tables() == naive.tables()
    assert skipping.quotas() == naive.quotas()
    assert lagging.tables() == naive.tables()


@pytest.mark.parametrize("name", ["dilu", "dilu-reference"])
@given(workload=contended())
@settings(
    max_examples=30, deadline=None, phases=SEEK, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_shares_are_always_what_contention_says(
    name: str, workload: tuple[list[Function], list[Any], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every decision, each active resident has the share and delay of the law of contention."""
    decide = VerticalLoop._decide
    decisions = 0

    def decide_and_check(loop: VerticalLoop, gpu: Gpu, now_s: float) -> None:
        nonlocal decisions
        decide(loop, gpu, now_s)
        active = [resident for resident in gpu.residents if resident.active]
        in_use, rows = contention(active, gpu.sharing)
        assert gpu.share_in_use == pytest.approx(in_use)
        for resident, terms in zip(active, rows, strict=True):
            held = (resident.share, resident.alone, resident.stretch, resident.delay_s, resident.wait_s)
            assert held == pytest.approx(tuple(terms))
        decisions += 1

    monkeypatch.setattr(VerticalLoop, "_decide", decide_and_check)
    functions, arrivals, gpus = workload
    run(functions, arrivals, duration_s=DURATION_S, system=under(find_system(name)), gpus_per_node=gpus)
    assert decisions


def test_skipping_is_worth_it() -> None:
    """A quiet hour beside training takes a thousandth of the events of asking on every tick."""
    functions = [
        serves(model(floor_s=0.01), Size(1, 0.3, 0.6)),
        trains(model("trainer"), Size(1, 0.5, 0.9)),
    ]
    arrivals = [np.array([10.0, 1800.0]), NO_ARRIVALS]
    ran = run(functions, arrivals, duration_s=3600.0, system=find_system("dilu"))
    assert ran.outcome.events < 3600 / 0.005 / 1000


def test_baselines_of_pressure_do_not_matter_to_skipping() -> None:
    """The same holds when T_min is the shortest cycle seen, as in the paper."""
    rng = np.random.default_rng(5)
    functions = [
        serves(
            model(f"m{i}", floor_s=0.01, work_s=0.004, launches=300, wave_s=2e-5),
            Size(4, 0.3, 0.6),
            name=f"f{i}",
        )
        for i in range(2)
    ]
    functions.append(trains(model("trainer", launches=500, wave_s=8e-5), Size(1, 0.4, 0.9)))
    arrivals = [np.sort(rng.uniform(0, 20, 900)), np.sort(rng.uniform(5, 15, 300)), NO_ARRIVALS]
    for baseline in ("minimum", "batch-minimum"):
        system = find_system("dilu").with_config({"vertical.cycle_baseline": baseline})
        skipping, naive = (
            run(functions, arrivals, duration_s=20.0, system=system, skip_idle_ticks=skip)
            for skip in (True, False)
        )
        assert skipping.tables() == naive.tables()
    assert plain_system().vertical.tick_s is None
