"""Shares that the horizontal policy wants: how they reach the residents, and HAS-GPU's use of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from simulated import NO_ARRIVALS, Ran, model, plain_system, run, serves, trains

from policies import Function, Size, System, find_system
from policies.placement import AlignedRows
from policies.slots import FunctionView, Scaling
from policies.start_up import FixedStartUp
from policies.vertical import RowQuotas
from recording.schema import QUOTAS
from sim.gpu import Gpu
from sim.instances import ServingInstance
from sim.vertical import VerticalLoop

TICK_S = 0.005
"""A share wanted in a poll holds from the next tick on."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What is wanted of each instance, and how many there are to be, from each of some seconds on.

    Of functions that serve another model than `of`, if that is given, nothing is wanted.
    """

    script: tuple[tuple[float, float, int], ...]
    of: str = ""

    def scale(self, function: FunctionView) -> Scaling:
        """Return the latest line of the script."""
        share, target = None, function.live
        for from_s, wanted, count in self.script:
            if from_s <= function.now_s and self.of in ("", function.model):
                share, target = wanted, count
        return Scaling(target, until_s=function.now_s, share=share)


def wanting(*script: tuple[float, float, int], of: str = "") -> System:
    """Return a system of rows in which shares are wanted by a script; a launch takes 1.5 s."""
    return plain_system(
        placement=AlignedRows(),
        vertical=RowQuotas(),
        horizontal=Wants(script, of),
        start_up=FixedStartUp(1.5),
    )


def quotas(ran: Ran, instance: int) -> list[tuple[float, float]]:
    """When an instance got which quota."""
    rows = ran.recorder.table(QUOTAS).to_pylist()
    return [(row["time_s"], row["quota"]) for row in rows if row["instance"] == instance]


def near(*rows: tuple[float, float]) -> list[object]:
    """Return what equals these times and quotas but for rounding."""
    return [pytest.approx(row) for row in rows]


def test_a_wanted_share_holds_from_the_next_tick_on() -> None:
    """Both residents of a row get it, 5 ms after the poll, and a later instance when it is ready."""
    functions = [
        serves(model("a"), Size(1, 0.1, 0.4)),
        serves(model("b"), Size(1, 0.2, 0.4)),
    ]
    ran = run(
        functions,
        [NO_ARRIVALS] * 2,
        duration_s=10.0,
        system=wanting((3.0, 0.08, 1), (5.0, 0.12, 2)),
        quotas=True,
    )
    assert ran.instances["launch_s"].tolist() == [0.0, 0.0, 5.0, 5.0]
    assert quotas(ran, 0) == near((0.0, 0.1), (3.0 + TICK_S, 0.08), (5.0 + TICK_S, 0.12))
    assert quotas(ran, 1) == near((0.0, 0.2), (3.0 + TICK_S, 0.08), (5.0 + TICK_S, 0.12))
    assert quotas(ran, 2) == quotas(ran, 3) == near((6.5, 0.12))


@pytest.mark.parametrize("alone", [True, False])
def test_a_batch_under_way_goes_on_at_the_new_quota(alone: bool) -> None:
    """Two seconds of work at half the row's time until the tick, then at four fifths of it."""
    functions = [serves(model("busy", floor_s=2.0), Size(1, 0.2, 0.4))]
    if not alone:
        functions.append(serves(model("silent"), Size(1, 0.08, 0.4)))
    ran = run(
        functions,
        [np.array([2.5]), NO_ARRIVALS][: len(functions)],
        duration_s=10.0,
        system=wanting((3.0, 0.32, 1), of="busy"),
    )
    done = (3.0 + TICK_S - 2.5) * 0.5
    assert ran.batches["end_s"].tolist() == [pytest.approx(3.0 + TICK_S + (2.0 - done) / 0.8)]


def test_a_draining_instance_is_told_nothing() -> None:
    """Retired at 4 s in the middle of a batch, it keeps the share that was wanted of it before."""
    ran = run(
        [serves(model(floor_s=1.0), Size(1, 0.1, 0.4))],
        [np.array([3.0, 3.1])],
        duration_s=20.0,
        system=wanting((1.0, 0.1, 2), (4.0, 0.1, 1), (5.0, 0.3, 1)),
        quotas=True,
    )
    assert np.nanmax(ran.instances["retire_s"].astype(float)) == pytest.approx(3.1 + 1.0 / 0.25)
    assert quotas(ran, 1) == near((2.5, 0.1))
    assert quotas(ran, 0) == near((0.0, 0.1), (5.0 + TICK_S, 0.3))


def phases(*rates_rps: float, phase_s: float = 20.0) -> np.ndarray:
    """Evenly spaced arrivals at one rate after the other."""
    return np.concatenate(
        [
            phase_s * phase + np.arange(0.5, rate * phase_s) / rate
            for phase, rate in enumerate(rates_rps)
            if rate
        ]
    )


def test_has_gpu_raises_quotas_before_it_adds_instances() -> None:
    """As the rate climbs, the first instance gets more of its row in steps, and a second one comes when it
    has all of it.
    """
    function = serves(model(floor_s=0.002, work_s=0.004, work_per_request_s=0.002), Size(4, 0.2, 0.4))
    rates_rps = (20.0, 60.0, 80.0, 100.0, 110.0, 120.0, 140.0)
    ran = run(
        [function], [phases(*rates_rps)], duration_s=140.0, system="has-gpu", gpus_per_node=2, quotas=True
    )
    raised = [row for row in quotas(ran, 0) if row[1] > 0.2]
    assert len(raised) >= 2
    steps = np.diff([0.2, *(quota for _, quota in raised)])
    assert (steps > 0.0).all()
    assert raised[-1][1] == pytest.approx(0.4)
    launched_s = ran.instances["launch_s"][1:]
    assert len(launched_s) >= 1
    assert raised[-1][0] < launched_s.min()


def test_has_gpu_lowers_quotas_before_it_takes_instances_away() -> None:
    """When the rate falls, the first instance goes only once all have had less of their rows."""
    function = serves(model(floor_s=0.002, work_s=0.004, work_per_request_s=0.002), Size(4, 0.2, 0.4))
    ran = run(
        [function],
        [phases(100.0, 300.0, 300.0, 150.0, 60.0, 10.0, 0.0)],
        duration_s=140.0,
        system="has-gpu",
        gpus_per_node=3,
        quotas=True,
    )
    most = max(quota for _, quota in quotas(ran, 0))
    lowered_s = next(time_s for time_s, quota in quotas(ran, 0) if time_s > 60.0 and quota < most)
    retired_s = ran.instances["retire_s"].astype(float)
    assert np.isfinite(retired_s).any()
    assert lowered_s < np.nanmin(retired_s)


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Function], list[np.ndarray], int]:
    """Functions of changing rates, and training, whose rows get full."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    functions, arrivals = [], []
    for index in range(draw(st.integers(2, 5))):
        request = draw(st.sampled_from([0.02, 0.05, 0.1, 0.2]))
        limit = draw(st.sampled_from([0.2, 0.4, 0.6]))
        profile = model(f"m{index}", floor_s=0.004, work_s=0.002, work_per_request_s=0.001)
        functions.append(
            serves(
                profile,
                Size(draw(st.sampled_from([1, 4])), request, limit),
                name=f"f{index}",
                start_s=draw(st.sampled_from([0.0, 7.3])),
            )
        )
        rates = rng.choice([0.0, 5.0, 40.0, 150.0], size=3)
        arrivals.append(
            np.concatenate(
                [
                    np.sort(rng.uniform(8.0 * i, 8.0 * i + 8.0, rng.poisson(8.0 * r)))
                    for i, r in enumerate(rates)
                ]
            )
        )
    if draw(st.booleans()):
        functions.append(trains(model("job"), Size(1, 0.2, 0.4)))
        arrivals.append(NO_ARRIVALS)
    return functions, arrivals, draw(st.sampled_from([1, 2, 3]))


@given(crowd=crowds())
@settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_row_has_more_than_all_its_time(
    crowd: tuple[list[Function], list[np.ndarray], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every decision of HAS-GPU the quotas of each row sum to at most 1, the rows' SMs to at most the
    GPU, and every live resident knows what is wanted of its function.
    """
    decide = VerticalLoop._decide
    decisions = 0

    def decide_and_check(loop: VerticalLoop, gpu: Gpu, now_s: float) -> None:
        nonlocal decisions
        decide(loop, gpu, now_s)
        rows = {resident.seat: resident.limit for resident in gpu.residents}
        assert sum(rows.values()) <= 1.0 + 1e-9
        for seat in rows:
            row = [resident for resident in gpu.residents if resident.seat == seat]
            assert sum(resident.quota / resident.limit for resident in row) <= 1.0 + 1e-9
        for resident in gpu.residents:
            owner = resident.owner
            if isinstance(owner, ServingInstance) and not owner.draining:
                assert resident.wanted == owner.function.share
        decisions += 1

    monkeypatch.setattr(VerticalLoop, "_decide", decide_and_check)
    functions, arrivals, gpus = crowd
    system = dataclasses.replace(find_system("has-gpu"), start_up=FixedStartUp(0.7)).with_config(
        {"horizontal.window_s": 3, "horizontal.cool_down_s": 2.0}
    )
    run(functions, arrivals, duration_s=24.0, system=system, gpus_per_node=gpus)
    assert decisions
