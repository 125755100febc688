from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from simulated import model, plain_system, run, serves

from policies import Size
from policies.horizontal import ResidualRateScaling
from policies.keep_alive import FixedKeepAlive
from policies.start_up import FixedStartUp
from sim.functions import ServedFunction


def test_capacity_counts_the_longest_answer_of_a_batch() -> None:
    """Batches of two answers of 10 and 30 tokens take 30 iterations: 2 requests in 0.3 s, not in 0.2 s."""
    spec = serves(model(kind="llm", floor_s=0.01), Size(2, 1.0, 1.0), output_tokens=20)
    tokens = np.tile(np.array([10, 30], dtype=np.int32), 50)
    function = ServedFunction(0, spec, Size(2, 1.0, 1.0), np.arange(100.0), tokens, 100.0)
    assert function.service_s == pytest.approx(0.3)
    assert function.throughput_rps == pytest.approx(2 / 0.3)
    assert function.iterations(1) == 20.0
    assert function.iterations(4) == 30.0
    assert ServedFunction(0, spec, Size(2, 1.0, 1.0), np.arange(9.0), None, 9.0).service_s == pytest.approx(
        0.2
    )


def test_scaling_knows_how_long_answers_are() -> None:
    """One instance gets through half of the load if answers are as long as the trace has them: it scales."""
    system = dataclasses.replace(
        plain_system(horizontal=ResidualRateScaling(), keep_alive=FixedKeepAlive(600.0)),
        start_up=FixedStartUp(0.5),
    )
    arrivals = np.arange(0.0, 60.0, 0.25)
    tokens = np.full(arrivals.size, 50, dtype=np.int32)
    spec = serves(model(kind="llm", floor_s=0.01), Size(1, 0.5, 0.5), output_tokens=1)
    ran = run([spec], [arrivals], tokens=[tokens], duration_s=60.0, system=system)
    assert (ran.instances["cold"] & (ran.instances["launch_s"] < 10.0)).sum() >= 1
    starts_s, _ = ran.starts_and_ends()
    assert (starts_s - arrivals[: starts_s.size])[-20:].max() < 1.0
