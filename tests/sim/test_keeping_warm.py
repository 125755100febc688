"""Functions that may go to nothing: launched ahead of a request, evicted for another's, swapped in."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from simulated import GIB, Ran, model, plain_system, run, serves

from policies import Function, Size, System, find_system
from policies.horizontal import ResidualRateScaling
from policies.slots import FunctionView, WarmWindow
from policies.start_up import FixedStartUp, PolledStartUp, SwapStartUp
from profiles import load_catalog

PERIOD_S = 60.0
START_UP_S = 3.0


@dataclass(frozen=True, slots=True)
class FixedWindow:
    """Goes at once, and is warm from and until fixed seconds after the last request."""

    from_s: float
    until_s: float

    def idle_timeout_s(self, function: FunctionView) -> float:
        """Keep for no time."""
        return 0.0

    def warm_window(self, function: FunctionView) -> WarmWindow:
        """Return the fixed window."""
        return WarmWindow(self.from_s, self.until_s)


def small(name: str, *, memory_gib: int = 4, **changes: Any) -> Function:
    """Return a function that may go to nothing."""
    profile = model(name, floor_s=0.01)
    spec = {"memory_bytes": memory_gib * GIB, "min_instances": 0} | changes
    return serves(profile, Size(1, 0.3, 0.3), **spec)


def by_the_clock(system: System, *, minutes: int = 20) -> Ran:
    """Serve a request every minute."""
    arrivals = 10.5 + PERIOD_S * np.arange(minutes)
    return run([small("timer")], [arrivals], duration_s=minutes * PERIOD_S, system=system)


def warm_s(ran: Ran) -> float:
    """Seconds during which there were instances, start-ups included."""
    ends = ran.instances["retire_s"].astype(float)
    return float((np.where(np.isnan(ends), ran.outcome.simulated_s, ends) - ran.instances["launch_s"]).sum())


def with_start_up(name: str, **config: object) -> System:
    """Return a named system whose launches take three seconds, and whose batches wait for nobody."""
    changes = {"routing.first_wait_s": 0.0} | {key.replace("__", "."): value for key, value in config.items()}
    return dataclasses.replace(find_system(name), start_up=FixedStartUp(START_UP_S)).with_config(changes)


@pytest.mark.parametrize(
    "system",
    [
        with_start_up("hybrid-histogram", keep_alive__bin_s=10),
        with_start_up("infless+-l"),
        plain_system(
            horizontal=ResidualRateScaling(),
            keep_alive=FixedWindow(55.0, 65.0),
            start_up=FixedStartUp(START_UP_S),
        ),
    ],
    ids=["hybrid-histogram", "infless+-l", "fixed window"],
)
def test_a_window_that_fits_spares_all_cold_starts_but_the_first(system: System) -> None:
    """A request a minute finds an instance that was launched for it, and that is not there in between."""
    ran = by_the_clock(system)
    waits = ran.waits()
    assert len(waits) == 20
    assert waits[0] == pytest.approx(START_UP_S)
    assert waits[1:] == pytest.approx(0.0, abs=1e-9)
    assert ran.instances["cold"].all()
    assert len(ran.instances["instance"]) >= 18
    assert warm_s(ran) < 0.45 * ran.outcome.simulated_s


@pytest.mark.parametrize("window_s", [(5.0, 30.0), (70.0, 90.0)], ids=["too early", "too late"])
def test_a_window_that_does_not_fit_spares_none(window_s: tuple[float, float]) -> None:
    """Launched ahead in vain, once in each silence, or not yet: every request waits for its own launch."""
    ran = by_the_clock(
        plain_system(
            horizontal=ResidualRateScaling(),
            keep_alive=FixedWindow(*window_s),
            start_up=FixedStartUp(START_UP_S),
        )
    )
    assert ran.waits() == pytest.approx(START_UP_S)
    in_vain = len(ran.instances["instance"]) - 20
    assert in_vain == (20 if window_s[1] < PERIOD_S else 0)


EVICTING = ["faascache", "torpor"]


@pytest.mark.parametrize("name", EVICTING)
def test_two_that_do_not_fit_together_evict_one_another(name: str) -> None:
    """Every request of either finds the other's instance idle in its place, which goes for its own."""
    functions = [small("a", memory_gib=24), small("b", memory_gib=24)]
    arrivals = [np.arange(5.0, 200.0, 20.0), np.arange(15.0, 200.0, 20.0)]
    ran = run(functions, arrivals, duration_s=200.0, system=with_start_up(name))
    assert ran.instances["launch_s"].tolist() == sorted([*arrivals[0], *arrivals[1]])
    assert ran.instances["retire_s"].tolist()[:-1] == ran.instances["launch_s"].tolist()[1:]
    assert ran.instances["function"].tolist() == [0, 1] * 10
    assert set(ran.gpus["memory_bytes"]) <= {0, 24 * GIB}
    for function in (0, 1):
        assert ran.waits(function) == pytest.approx(START_UP_S)


@pytest.mark.parametrize("name", EVICTING)
def test_two_that_fit_together_stay(name: str) -> None:
    """With memory for both, each waits for one launch only, however long the silence."""
    functions = [small("a", memory_gib=20), small("b", memory_gib=20)]
    arrivals = [np.array([5.0, 100.0, 5000.0]), np.array([15.0, 110.0, 5010.0])]
    ran = run(functions, arrivals, duration_s=6000.0, system=with_start_up(name))
    assert len(ran.instances["instance"]) == 2
    for function in (0, 1):
        assert ran.waits(function) == pytest.approx([START_UP_S, 0.0, 0.0])


@pytest.mark.parametrize(("name", "goes"), [("faascache", 1), ("torpor", 0)])
def test_who_goes_is_whom_the_policy_values_least(name: str, goes: int) -> None:
    """Greedy-dual keeps the one of many requests, the least recently used rule the one used last."""
    functions = [small(letter, memory_gib=20) for letter in "abc"]
    often, once, newcomer = np.linspace(1.0, 8.0, 40), np.array([12.0]), np.array([20.0])
    ran = run(functions, [often, once, newcomer], duration_s=30.0, system=with_start_up(name))
    gone = ran.instances["function"][~np.isnan(ran.instances["retire_s"].astype(float))]
    assert gone.tolist() == [goes]


@pytest.mark.parametrize("name", EVICTING)
def test_who_is_busy_is_not_evicted(name: str) -> None:
    """While the only place is busy nobody makes room: the request is dropped, and the batch ends."""
    slow = serves(model("a", floor_s=10.0), Size(1, 0.3, 0.3), memory_bytes=24 * GIB, min_instances=0)
    functions = [slow, small("b", memory_gib=24)]
    ran = run(functions, [np.array([1.0]), np.array([8.0])], duration_s=30.0, system=with_start_up(name))
    assert ran.of(0)["end_s"].tolist() == pytest.approx([1.0 + START_UP_S + 10.0])
    assert ran.of(1, dropped=True)["start_s"].tolist() == [8.0]
    assert ran.instances["function"].tolist() == [0]


@pytest.mark.parametrize("name", EVICTING)
@given(
    memory_gib=st.lists(st.sampled_from([6, 13, 24]), min_size=2, max_size=5),
    least=st.sampled_from([0, 0, 1]),
    rate_rps=st.sampled_from([0.1, 0.5, 3.0]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_memory_holds_whoever_is_evicted_for_whom(
    name: str, memory_gib: list[int], least: int, rate_rps: float, seed: int
) -> None:
    """No GPU's memory is ever exceeded, nobody is evicted in a batch or below its minimum, none is left over.

    Evicted is who has gone though nothing but eviction ever retires an instance of these systems.
    """
    rng = np.random.default_rng(seed)
    functions = [
        small(f"f{index}", memory_gib=gib, min_instances=least if index == 0 else 0)
        for index, gib in enumerate(memory_gib)
    ]
    arrivals = [np.sort(rng.uniform(0.0, 60.0, rng.poisson(60.0 * rate_rps))) for _ in functions]
    ran = run(functions, arrivals, duration_s=100.0, system=with_start_up(name), gpus_per_node=2)
    assert (ran.gpus["memory_bytes"] <= 40 * GIB).all()
    retired_s = ran.instances["retire_s"].astype(float)
    for one, ready_s, retire_s in zip(
        ran.instances["instance"], ran.instances["ready_s"].astype(float), retired_s, strict=True
    ):
        if not np.isnan(retire_s):
            assert ready_s <= retire_s
            assert (ran.batches["end_s"][ran.batches["instance"] == one] <= retire_s).all()
            assert retire_s in ran.instances["launch_s"]  # for somebody
    kept = ran.instances["function"][np.isnan(retired_s)].tolist()
    assert kept.count(0) >= least
    for index, times in enumerate(arrivals):
        rows = ran.batches["function"] == index
        assert ran.batches["count"][rows].sum() == len(times)


def test_a_swap_is_faster_than_a_container() -> None:
    """Two models that take turns on a GPU too small for both wait for a swap, or much longer for a start."""
    catalog = load_catalog()
    functions = [
        serves(catalog.model(name), Size(1, 0.3, 0.6), min_instances=0)
        for name in ("roberta-large", "gpt2-large")
    ]
    arrivals = [np.arange(5.0, 600.0, 60.0), np.arange(35.0, 600.0, 60.0)]
    waits: dict[str, list[NDArray[np.float64]]] = {}
    for name, start_up in (("torpor", SwapStartUp()), ("faascache", PolledStartUp())):
        system = find_system(name).with_config({"routing.first_wait_s": 0.0})
        ran = run(functions, arrivals, duration_s=600.0, system=system, memory_gib=8)
        assert len(ran.instances["instance"]) == 20
        waits[name] = [ran.waits(index) for index in (0, 1)]
        for index, function in enumerate(functions):
            assert waits[name][index] == pytest.approx(start_up.seconds(function), abs=0.05)
    assert max(times.max() for times in waits["torpor"]) < 0.2 * min(
        times.min() for times in waits["faascache"]
    )
