"""The benchmark measures what it says it measures."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from policies import Size, find_system
from recording import MemoryRecorder
from recording.schema import BATCHES, INSTANCES
from sim import simulate


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """The script, as a module."""
    path = Path(__file__).parents[2] / "benchmarks" / "replay_speed.py"
    spec = importlib.util.spec_from_file_location("replay_speed", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_yardstick_serves_every_request(benchmark: ModuleType) -> None:
    """Bare SimPy gets through its queue and reports a rate."""
    assert benchmark.bare_simpy(200) > 0.0


@pytest.mark.parametrize(
    ("largest", "rate_rps", "least", "most"), [(16, 400.0, 4.0, 16.0), (1, 16.0, 1.0, 1.0)]
)
def test_scenarios_batch_as_they_claim(
    benchmark: ModuleType, largest: int, rate_rps: float, least: float, most: float
) -> None:
    """At batching load the mean batch is at least 4; at batch size 1 it is 1."""
    model = "resnet152" if largest > 1 else "roberta-large"
    deployment = benchmark.one_function(
        rate_rps, 4_000, size=Size(largest, 0.3, 0.6), model=model, training=False
    )
    recorder = MemoryRecorder()
    simulate(deployment, find_system("dilu"), seed=0, recorder=recorder)
    counts = recorder.columns(BATCHES)["count"]
    assert least <= counts.mean() <= most
    assert counts.sum() >= 3_990


def test_idle_functions_share_no_gpu_with_the_busy_one(benchmark: ModuleType) -> None:
    """What idle functions cost is measured where they are nobody's neighbours."""
    deployment = benchmark.one_function(
        60.0, 100, size=Size(4, 0.3, 0.6), model="roberta-large", training=False, gpus=16, idle=5
    )
    recorder = MemoryRecorder()
    simulate(deployment, find_system("dilu"), seed=0, recorder=recorder)
    gpus = [tuple(gpu) for gpu in recorder.columns(INSTANCES)["gpus"]]
    assert len(set(gpus)) == len(gpus) == 6
