"""Instances of one function that differ: in size, and in the rate that the routing policy gives them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from simulated import Ran, model, plain_system, poisson, run, serves

from policies import Function, Size, find_system
from policies.routing import DeadlineBatching, ImmediateBatching
from policies.slots import ClusterView, FunctionView, PlacementRequest, Scaling, Shard
from policies.start_up import FixedStartUp
from profiles import ModelProfile, load_catalog

SLO_S = 0.2
PROFILE = model(floor_s=0.002, work_s=0.01, work_per_request_s=0.005)


@dataclass(frozen=True, slots=True)
class SizeByGpu:
    """The first empty GPU, whose number says of what size the instance is."""

    sizes: tuple[Size, ...]
    splits_llm: bool = False

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...] | None:
        """Place on the first empty GPU."""
        empty = np.flatnonzero(cluster.residents == 0)
        if not len(empty):
            return None
        size = self.sizes[empty[0]]
        return (Shard(int(empty[0]), size.request, size.limit, request.memory_bytes, batch=size.batch),)


@dataclass(frozen=True, slots=True)
class FixedRates(ImmediateBatching):
    """Every instance gets a fixed rate, by its number."""

    rates_rps: tuple[float, ...] = ()

    def weights(self, function: FunctionView) -> tuple[float, ...]:
        """Return the fixed rates."""
        return tuple(self.rates_rps[one.instance] for one in function.instances)


@dataclass(frozen=True, slots=True)
class RatesThatTurn(ImmediateBatching):
    """Instance 0 gets everything until `until_s`, instance 1 from then on."""

    until_s: float = 0.0

    def weights(self, function: FunctionView) -> tuple[float, ...]:
        """Return one rate of 1 and zeros."""
        chosen = 0 if function.now_s < self.until_s else 1
        return tuple(float(one.instance == chosen) for one in function.instances)


@dataclass(frozen=True, slots=True)
class Scripted:
    """As many instances as the script says from each of its times on; who goes first is named there."""

    script: tuple[tuple[float, int, tuple[int, ...]], ...] = ()

    def scale(self, function: FunctionView) -> Scaling:
        """Return the latest line of the script."""
        target, retire = function.live, ()
        for from_s, count, first in self.script:
            if from_s == function.now_s:
                target, retire = count, first
        return Scaling(target, until_s=function.now_s, retire=retire)


def serve(
    arrivals: NDArray[np.float64],
    sizes: tuple[Size, ...],
    *,
    profile: ModelProfile = PROFILE,
    duration_s: float,
    warm: int | None = None,
    **slots: Any,
) -> Ran:
    """Serve one function by instances of these sizes, one a GPU, all or `warm` of them from the start."""
    function = serves(
        profile, Size(4, 1.0, 1.0), slo_s=SLO_S, min_instances=len(sizes) if warm is None else warm
    )
    system = plain_system(**({"placement": SizeByGpu(sizes), "horizontal": Scripted()} | slots))
    return run([function], [arrivals], duration_s=duration_s, system=system, gpus_per_node=len(sizes))


def unsized(profile: ModelProfile) -> Function:
    """Return a serving function whose sizes the system decides."""
    return dataclasses.replace(serves(profile, Size(1, 1.0, 1.0)), size=None)


def requests_by_instance(ran: Ran) -> list[int]:
    """How many requests each instance served."""
    served = ran.of(0)
    return [
        int(served["count"][served["instance"] == one].sum()) for one in sorted(ran.instances["instance"])
    ]


def longest_wait_s(size: Size) -> float:
    """How long a batch for an instance of this size may wait: SLO - t_exec."""
    return max(0.0, SLO_S - PROFILE.measure(size.batch, size.request))


def one_after_the_other(
    arrivals: list[float], sizes: tuple[Size, ...], *, newest_idle_first: bool
) -> list[tuple[int, int, int, float]]:
    """The batches (instance, first, count, start) by the rules alone.

    The next batch is for the instance that is idle longest, or the one that became idle last. It closes when
    it is full for that one, or when its oldest request has waited SLO - t_exec of that one.
    """
    idle, busy = list(range(len(sizes))), dict[int, float]()
    cursor, now_s, batches = 0, 0.0, []
    while cursor < len(arrivals):
        close_s = math.inf
        if idle:
            one = idle[-1] if newest_idle_first else idle[0]
            full = cursor + sizes[one].batch - 1
            full_s = arrivals[full] if full < len(arrivals) else math.inf
            close_s = max(now_s, min(full_s, arrivals[cursor] + longest_wait_s(sizes[one])))
        end_s, first_done = min(((s, i) for i, s in busy.items()), default=(math.inf, -1))
        if end_s <= close_s:
            now_s = end_s
            del busy[first_done]
            idle.append(first_done)
            continue
        now_s = close_s
        size = sizes[one]
        count = sum(time_s <= now_s for time_s in arrivals[cursor : cursor + size.batch])
        batches.append((one, cursor, count, now_s))
        cursor += count
        idle.remove(one)
        busy[one] = now_s + PROFILE.latency.seconds(count, size.limit)
    return batches


SIZES = st.lists(
    st.builds(
        lambda batch, share: Size(batch, share, share),
        st.sampled_from([1, 2, 3, 8]),
        st.sampled_from([0.2, 0.5, 1.0]),
    ),
    min_size=1,
    max_size=3,
).map(tuple)


@given(
    sizes=SIZES,
    newest=st.booleans(),
    rate_rps=st.sampled_from([5.0, 40.0, 200.0]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=200, deadline=None)
def test_every_batch_closes_by_the_rule_of_the_instance_that_takes_it(
    sizes: tuple[Size, ...], newest: bool, rate_rps: float, seed: int
) -> None:
    """Who takes which requests, and when, is what the rules say one batch after the other."""
    arrivals = poisson(rate_rps, 60, seed)
    ran = serve(
        arrivals, sizes, duration_s=arrivals[-1] + 60.0, routing=DeadlineBatching(newest_idle_first=newest)
    )
    order = np.argsort(ran.batches["first"])
    batches = [
        tuple(ran.batches[name][row] for name in ("instance", "first", "count", "start_s")) for row in order
    ]
    expected = one_after_the_other(arrivals.tolist(), sizes, newest_idle_first=newest)
    assert [batch[:3] for batch in batches] == [batch[:3] for batch in expected]
    np.testing.assert_allclose([b[3] for b in batches], [b[3] for b in expected], rtol=0, atol=1e-9)


ONES = (Size(1, 1.0, 1.0),) * 2


@pytest.mark.parametrize(
    ("rates_rps", "rate_rps"),
    [
        ((30.0, 10.0), 40.0),
        ((0.75, 0.25), 1.0),  # less than a request each time that rates are asked for
        ((3.0, 1.0), 40.0),  # more arrives than the rates say
        ((300.0, 100.0), 40.0),  # and less
        ((0.5, 0.2, 0.3), 40.0),
    ],
)
def test_instances_get_requests_in_proportion_to_their_rates(
    rates_rps: tuple[float, ...], rate_rps: float
) -> None:
    """Of 2,000 requests each instance gets its part, give or take what is under way."""
    arrivals = poisson(rate_rps, 2_000, seed=1)
    sizes = (Size(1, 1.0, 1.0),) * len(rates_rps)
    ran = serve(
        arrivals,
        sizes,
        profile=model(floor_s=0.001),  # who is busy is passed over
        duration_s=arrivals[-1] + 1.0,
        routing=FixedRates(rates_rps=rates_rps),
    )
    got = requests_by_instance(ran)
    assert sum(got) == 2_000
    assert got == pytest.approx([2_000 * rate / sum(rates_rps) for rate in rates_rps], abs=4)


@given(
    rates_rps=st.lists(st.sampled_from([0.0, 0.0, 0.5, 20.0]), min_size=2, max_size=3).filter(any),
    rate_rps=st.sampled_from([2.0, 60.0, 300.0]),
    batch=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_a_rate_of_zero_gets_nothing(rates_rps: list[float], rate_rps: float, batch: int, seed: int) -> None:
    """While others with a rate are ready, an instance without one stays idle, however long the queue is."""
    arrivals = poisson(rate_rps, 200, seed)
    sizes = (Size(batch, 1.0, 1.0),) * len(rates_rps)
    ran = serve(
        arrivals, sizes, duration_s=arrivals[-1] + 60.0, routing=FixedRates(rates_rps=tuple(rates_rps))
    )
    got = requests_by_instance(ran)
    assert sum(got) == 200
    assert all((count > 0) == (rate > 0.0) or rate for count, rate in zip(got, rates_rps, strict=True))


def test_who_has_no_rate_takes_over_when_the_other_retires_in_the_middle_of_a_batch() -> None:
    """The instance with all the rate is retired at 3 s, busy until 4.5 s: the idle one serves from 3 s on."""
    ran = serve(
        np.array([0.5, 1.0, 2.0]),
        ONES,
        profile=model(floor_s=4.0),
        duration_s=20.0,
        warm=2,
        routing=FixedRates(rates_rps=(0.0, 1.0)),
        horizontal=Scripted(((3.0, 1, (1,)),)),
    )
    assert ran.batches["instance"].tolist() == [1, 0, 0]
    assert sorted(ran.batches["start_s"]) == [0.5, 3.0, pytest.approx(7.0)]


def test_rates_are_asked_for_again_while_requests_wait() -> None:
    """From 5 s on the idle instance has all the rate: it takes what waits at 5 s, not when a batch ends."""
    ran = serve(
        np.array([0.5, 1.0, 2.0]),
        ONES,
        profile=model(floor_s=10.0),
        duration_s=60.0,
        routing=RatesThatTurn(until_s=5.0),
    )
    order = np.argsort(ran.batches["start_s"])
    assert ran.batches["instance"][order].tolist() == [0, 1, 1]
    assert ran.batches["start_s"][order].tolist() == pytest.approx([0.5, 5.0, 15.0])


def test_rates_of_instances_that_start_up_keep_nobody_waiting() -> None:
    """One with all the rate is launched at 3 s and ready at 7 s: until then the other serves, without it."""
    arrivals = np.arange(0.25, 12.0, 0.5)
    ran = serve(
        arrivals,
        ONES,
        duration_s=20.0,
        warm=1,
        routing=FixedRates(rates_rps=(0.0, 1.0)),
        horizontal=Scripted(((3.0, 2, ()),)),
        start_up=FixedStartUp(4.0),
    )
    assert ran.waits().max() == pytest.approx(0.0, abs=1e-9)
    by_first = ran.batches["instance"][np.argsort(ran.batches["first"])]
    assert by_first.tolist() == [0 if time_s < 7.0 else 1 for time_s in arrivals]


@given(
    script=st.lists(
        st.tuples(
            st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0]), st.integers(1, 3), st.sampled_from([(), (0,), (1,)])
        ),
        max_size=4,
    ).map(tuple),
    rates_rps=st.lists(st.sampled_from([0.0, 1.0, 9.0]), min_size=20, max_size=20).map(tuple),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_every_request_is_served_whoever_comes_and_goes(
    script: tuple[tuple[float, int, tuple[int, ...]], ...], rates_rps: tuple[float, ...], seed: int
) -> None:
    """Weighted instances of unlike sizes that are launched and retired leave nobody behind, in order."""
    arrivals = np.sort(np.random.default_rng(seed).uniform(0.0, 8.0, 60))
    sizes = Size(1, 0.5, 0.5), Size(4, 0.2, 0.2), Size(2, 1.0, 1.0)
    ran = serve(
        arrivals,
        sizes,
        profile=model(floor_s=0.05, work_s=0.2),
        duration_s=100.0,
        warm=1,
        routing=FixedRates(rates_rps=rates_rps),
        horizontal=Scripted(script),
        start_up=FixedStartUp(1.3),
    )
    starts, _ = ran.starts_and_ends()
    assert len(starts) == len(arrivals)
    assert (np.diff(starts) >= 0.0).all()
    batch = dict(zip(ran.instances["instance"], ran.instances["batch"], strict=True))
    assert all(
        count <= batch[one] for one, count in zip(ran.batches["instance"], ran.batches["count"], strict=True)
    )


@given(
    rates_rps=st.lists(st.sampled_from([2.0, 30.0, 150.0, 400.0]), min_size=2, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=10, deadline=None)
def test_infless_batches_by_the_size_of_each_instance(rates_rps: list[float], seed: int) -> None:
    """Under INFless+ at rates that change, no batch is larger than its instance's, and none closes early.

    That is: it is full, or its oldest request has waited for SLO - t_exec of the instance that takes it.
    """
    phase_s = 10.0
    rng = np.random.default_rng(seed)
    phases = [
        np.sort(rng.uniform(phase * phase_s, (phase + 1) * phase_s, rng.poisson(rate * phase_s)))
        for phase, rate in enumerate(rates_rps)
    ]
    arrivals = np.concatenate(phases)
    profile = load_catalog().model("roberta-large")
    function = unsized(profile)
    ran = run([function], [arrivals], duration_s=60.0, system=find_system("infless+"), gpus_per_node=4)
    sizes = {
        one: Size(batch, request, request)
        for one, batch, request in zip(
            *(ran.instances[name] for name in ("instance", "batch", "request")), strict=True
        )
    }
    served = ran.of(0)
    assert served["count"].sum() == len(arrivals)
    rows = zip(*(served[name] for name in ("instance", "first", "count", "start_s")), strict=True)
    for one, first, count, start_s in rows:
        size = sizes[one]
        assert count <= size.batch
        longest_s = max(0.0, function.slo_s - profile.measure(size.batch, size.request))
        assert count == size.batch or start_s >= arrivals[first] + longest_s - 1e-9


def test_infless_scales_out_by_instances_of_unlike_sizes() -> None:
    """A rate that grows from 2 to 400 requests/s has INFless+ add instances of other batches and shares."""
    arrivals = np.concatenate([poisson(2.0, 20, seed=1), 20.0 + poisson(400.0, 8_000, seed=2)])
    ran = run(
        [unsized(load_catalog().model("roberta-large"))],
        [arrivals],
        duration_s=60.0,
        system=find_system("infless+"),
        gpus_per_node=4,
    )
    assert len(set(zip(ran.instances["batch"], ran.instances["request"], strict=True))) >= 2
