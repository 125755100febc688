"""The benchmark of the gate measures what it says it measures."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from realgpu.gate import Mode

LAUNCHES = 2_000


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """The script, as a module."""
    path = Path(__file__).parents[2] / "benchmarks" / "gate_cost.py"
    spec = importlib.util.spec_from_file_location("gate_cost", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(benchmark: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What it compiles."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    return benchmark.build(tmp_path_factory.mktemp("gate_cost"))


def test_every_scenario_launches_as_it_claims(benchmark: ModuleType, built: Any) -> None:
    """Each scenario runs through, its launches counted where the gate counts and none held up."""
    assert benchmark.bare_ns(built, LAUNCHES) > 0.0
    for scenario in benchmark.SCENARIOS:
        assert benchmark.gated_ns(built, scenario, LAUNCHES) > 0.0


def test_a_gate_that_does_not_catch_is_noticed(benchmark: ModuleType, built: Any, tmp_path: Path) -> None:
    """If launches pass beside the gate, the benchmark stops instead of praising it."""
    without = dataclasses.replace(built, gate=built.driver / "libcuda.so.1")
    with pytest.raises(RuntimeError, match="0 launches counted instead of 4000"):
        benchmark.gated_ns(without, benchmark.Scenario("counting", None, Mode.COUNT), LAUNCHES)
