"""The share in use, worked out after a run, is what the simulated world integrates while it runs."""

from __future__ import annotations

import numpy as np
import pytest
from small_worlds import (
    NO_ARRIVALS,
    Ran,
    deployed,
    model,
    plain_system,
    poisson,
    run_simulated,
    serves,
    trains,
)

from policies import Size, find_system
from policies.vertical import StaticQuota
from profiles.sharing import MPS_CAPS, UNMANAGED
from realgpu.share_in_use import GpuHistory, Occupant, integrals


def occupant(**values: float) -> Occupant:
    """Return somebody who serves."""
    return Occupant(True, 0.3, 0.6, values.get("part", 1.0), 0.0, "model", 1)


def test_the_integral_by_hand() -> None:
    """Half the GPU for 2 s, then all of it for 1 s as two are active, then 0.7 for 1 s; nothing before."""
    history = GpuHistory({1: occupant(), 2: occupant()})
    history.quota(1, 0.0, 0.5)
    history.quota(2, 1.0, 0.7)
    history.active(1, 1.0, 4.0)
    history.active(2, 3.0, 5.0)
    found = integrals(history, [0.5, 2.0, 3.0, 3.5, 6.0, 6.0], MPS_CAPS, None)
    assert found == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.7, 2.7])


def test_nobody_uses_what_it_has_no_quota_for() -> None:
    """Activity before the first quota, and parts of a split model, count as they are."""
    history = GpuHistory({1: occupant(part=0.5)})
    history.active(1, 0.0, 4.0)
    history.quota(1, 1.0, 0.4)
    history.quota(1, 3.0, 0.8)
    assert integrals(history, [4.0], MPS_CAPS, None) == pytest.approx([0.5 * (0.8 + 0.8)])


def test_batches_that_follow_each_other_and_empty_ones_leave_no_trace() -> None:
    """An instance that ends and begins at one instant stays active; one active for no time is not."""
    history = GpuHistory({1: occupant()})
    history.quota(1, 0.0, 0.5)
    history.active(1, 1.0, 2.0)
    history.active(1, 2.0, 3.0)
    history.active(1, 4.0, 4.0)
    assert integrals(history, [9.0], MPS_CAPS, None) == pytest.approx([1.0])


def worked_out(ran: Ran, gpu: int) -> np.ndarray:
    """Work out the integrals of a run from its other tables."""
    history = GpuHistory()
    for index, function, gpus in zip(
        *(ran.instances[name] for name in ("instance", "function", "gpus")), strict=True
    ):
        if gpu in gpus:
            spec = ran.deployment.functions[function]
            history.occupants[index] = Occupant(
                spec.kind != "training", 0.3, 0.6, 1.0, spec.model.wave_s, spec.model.name, 1
            )
    names = ("instance", "start_s", "end_s")
    for table in (ran.batches, ran.training):
        for index, start_s, end_s in zip(*(table[name].tolist() for name in names), strict=True):
            if index in history.occupants:
                history.active(index, start_s, end_s)
    rows = ran.quotas["gpu"] == gpu
    for time_s, index, quota in zip(
        *(ran.quotas[name][rows].tolist() for name in ("time_s", "instance", "quota")), strict=True
    ):
        history.quota(index, time_s, quota)
    times_s = ran.gpus["time_s"][ran.gpus["gpu"] == gpu]
    return np.array(integrals(history, times_s.tolist(), MPS_CAPS, None))


@pytest.mark.parametrize("vertical", ["dilu", "static"])
def test_it_is_that_of_the_simulated_world(vertical: str) -> None:
    """Two servers and a training on a GPU: the same batches and quotas give the same integral."""
    functions = [
        serves(model("a", floor_s=0.02, work_s=0.005), Size(2, 0.3, 0.6)),
        serves(model("b", floor_s=0.01, work_s=0.01), Size(2, 0.2, 0.5)),
        trains(model("job"), Size(1, 0.3, 0.8), iterations=100),
    ]
    arrivals = [poisson(30.0, 10.0, 1), poisson(20.0, 10.0, 2), NO_ARRIVALS]
    deployment = deployed(functions, arrivals, duration_s=10.0)
    static = plain_system(vertical=StaticQuota(sharing=UNMANAGED))
    system = find_system("dilu") if vertical == "dilu" else static
    ran = run_simulated(deployment, system.with_config({"placement.gamma": 3.0}))
    assert len(ran.instances["instance"]) == 3
    expected = ran.gpus["active_share_s"][ran.gpus["gpu"] == 0]
    # A batch that still runs at the end is in no table: at most its own time is missing.
    assert worked_out(ran, 0) == pytest.approx(expected, abs=0.04)
    assert expected[-1] > 1.0
