"""Queues of the real world close batches by the same rules as those of the simulated one."""

from __future__ import annotations

import heapq
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_worlds import deployed, model, plain_system, poisson, run_simulated, serves

from policies import BatchRule, Controller, Deployment, Launch, Size, System
from policies.placement import ExclusivePlacement
from policies.routing import AdaptiveBatching, DeadlineBatching, ImmediateBatching
from policies.slots import FunctionView
from realgpu.board import Board
from realgpu.queueing import Queueing
from realgpu.served import ServedFunction, ServedInstance

Row = tuple[int, int, int, float, float]
"""Instance (-1: dropped), first request, their number, start, end."""


class UnequalRates:
    """A routing policy that gives each instance another rate in each second, and in turn one of them none."""

    adapts = False
    newest_idle_first = False

    def batching(self, function: FunctionView) -> BatchRule:
        """Wait for nothing."""
        return BatchRule(function.batch, 0.0)

    def weights(self, function: FunctionView) -> tuple[float, ...]:
        """Return 0, 1, 2 in some order."""
        return tuple(float((one.instance + int(function.now_s)) % 3) for one in function.instances)


ROUTINGS = {
    "immediate": ImmediateBatching(),
    "newest": ImmediateBatching(newest_idle_first=True),
    "adaptive": AdaptiveBatching(),
    "deadline": DeadlineBatching(),
    "weighed": UnequalRates(),
}


def queued(deployment: Deployment, system: System, folder: Path) -> list[Row]:
    """Drive the queue of the first function in exact time, each instance alone on its GPU."""
    controller = Controller(system, deployment)
    size = controller.sizes[0]
    rows: list[Row] = []
    ends: list[tuple[float, int, float]] = []
    instances: dict[int, ServedInstance] = {}
    now_s = 0.0

    def send(instance: ServedInstance, first: int, count: int, late_s: float) -> None:
        seconds = instance.function.spec.model.latency.seconds(count, size.limit)
        heapq.heappush(ends, (now_s + seconds, instance.instance, now_s))

    def drop(function: ServedFunction, first: int, count: int, at_s: float) -> None:
        rows.append((-1, first, count, at_s, at_s))

    with Board.create(folder, 8) as board:
        queueing = Queueing(system.routing, send=send, drop=drop, activate=lambda function, at_s: False)
        function = ServedFunction(0, deployment, size, 0.0, board, weighed=queueing.weighs)
        for row, launch in enumerate(controller.deploy(0, warm=True)):
            assert isinstance(launch, Launch)
            instance = ServedInstance(launch, function, 0.0, (row,))
            instance.ready_s = 0.0
            instances[launch.instance] = instance
            function.instances.append(instance)
        for instance in instances.values():
            queueing.join(instance, 0.0)
        while True:
            due_s = function.due_s
            if ends and ends[0][0] <= due_s:
                now_s, index, start_s = heapq.heappop(ends)
                if now_s >= deployment.duration_s:
                    return rows
                instance = instances[index]
                assert instance.running is not None
                first, count, _ = instance.running
                instance.running = None
                rows.append((index, first, count, start_s, now_s))
                queueing.note(function, first, count, now_s)
                queueing.done(instance, now_s, now_s)
            elif due_s < deployment.duration_s:
                now_s = due_s
                queueing.close(function, now_s)
            else:
                return rows


def simulated(deployment: Deployment, system: System) -> list[Row]:
    """Return the same of the simulated world."""
    batches = run_simulated(deployment, system).batches
    names = ("instance", "first", "count", "start_s", "end_s")
    return list(zip(*(batches[name].tolist() for name in names), strict=True))


@pytest.mark.parametrize("routing", ROUTINGS)
@given(
    rate_rps=st.sampled_from([5.0, 40.0, 150.0, 600.0]),
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 8),
    instances=st.integers(1, 3),
    timeout_s=st.sampled_from([None, 0.05, 0.3]),
)
@settings(max_examples=25, deadline=None)
def test_batches_close_as_in_the_simulated_world(
    routing: str,
    rate_rps: float,
    seed: int,
    batch: int,
    instances: int,
    timeout_s: float | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """In exact time, both worlds have the same batches, on the same instances, at the same times.

    Where another instance idles while a batch gathers, a rule that changes meanwhile holds at once here, and
    from the next batch on there: so adaptive batching is compared on one instance.
    """
    instances = 1 if routing == "adaptive" else instances
    profile = model(floor_s=0.02, slo_s=0.1)
    function = serves(profile, Size(batch, 1.0, 1.0), min_instances=instances, timeout_s=timeout_s)
    deployment = deployed([function], [poisson(rate_rps, 5.0, seed)], duration_s=5.0, gpus=3)
    system = plain_system(routing=ROUTINGS[routing], placement=ExclusivePlacement())
    expected = simulated(deployment, system)
    found = queued(deployment, system, tmp_path_factory.mktemp("board"))
    assert [row[:3] for row in sorted(found, key=lambda row: row[1])] == [
        row[:3] for row in sorted(expected, key=lambda row: row[1])
    ]
    for own, other in zip(sorted(found), sorted(expected), strict=True):
        assert own == pytest.approx(other, abs=1e-9)


def test_views_count_arrivals_as_the_simulated_world_does(tmp_path: Path) -> None:
    """Rates, history, the latest arrival and the queue are those of the time of the question."""
    from sim.functions import ServedFunction as SimulatedFunction

    profile = model()
    function = serves(profile, Size(4, 0.5, 0.5))
    deployment = deployed([function], [poisson(7.0, 30.0, seed=3)], duration_s=25.5)
    size = Size(4, 0.5, 0.5)
    with Board.create(tmp_path, 1) as board:
        ours = ServedFunction(0, deployment, size, 1.0, board, weighed=False)
        theirs = SimulatedFunction(0, function, size, deployment.arrivals[0], None, 25.5, 1.0)
        for now_s, cursor, since_s in ((0.0, 0, 0.0), (0.4, 1, 0.0), (7.0, 30, 3.0), (25.2, 100, 11.2)):
            for view in (ours, theirs):
                view.now_s, view.cursor, view.since_s = now_s, cursor, since_s
            names = ("waiting", "arrived", "last_arrival_s", "last_rate", "service_s", "throughput_rps")
            assert [getattr(ours, name) for name in names] == [getattr(theirs, name) for name in names]
            assert ours.rates(20).tolist() == theirs.rates(20).tolist()
            assert ours.history(9).tolist() == theirs.history(9).tolist()


def test_an_llm_batch_has_the_iterations_of_its_longest_answer(tmp_path: Path) -> None:
    """Static batching, with tokens of the trace and with the function's own."""
    function = serves(model(kind="llm"), Size(2, 0.5, 0.5), output_tokens=16)
    tokens: list[Any] = [np.array([5, 20, 3, 4], dtype=np.int32)]
    deployment = deployed([function], [np.arange(4.0)], duration_s=9.0, tokens=tokens)
    with Board.create(tmp_path, 1) as board:
        given_ = ServedFunction(0, deployment, Size(2, 0.5, 0.5), 0.0, board, weighed=False)
        own = ServedFunction(
            0, replace(deployment, output_tokens=(None,)), Size(2, 0.5, 0.5), 0.0, board, weighed=False
        )
        assert [given_.longest_answer(0, 2), given_.longest_answer(2, 2), own.longest_answer(2, 2)] == [
            20,
            4,
            16,
        ]
        assert (given_.iterations(2), own.iterations(2)) == (12.0, 16.0)
