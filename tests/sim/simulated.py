"""Small worlds for the tests: models of known cost, systems of known rules, runs in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies import Cluster, Deployment, Function, Size, System, find_system
from policies.horizontal import LazyScaling
from policies.placement import ComplementaryPlacement
from policies.routing import ImmediateBatching
from policies.sizing import DiluSizing
from policies.start_up import FixedStartUp
from policies.vertical import StaticQuota
from profiles import GpuType, LatencySurface, ModelProfile, StartUp, StepCurve, TrainingProfile
from recording import MemoryRecorder
from recording.schema import BATCHES, GPUS, INSTANCES, QUOTAS, TRAINING
from sim import Outcome, simulate

GIB = 2**30
NO_ARRIVALS = np.zeros(0)


def model(
    name: str = "model",
    *,
    floor_s: float = 0.001,
    floor_per_request_s: float = 0.0,
    work_s: float = 0.0,
    work_per_request_s: float = 0.0,
    kind: Any = "inference",
    launches: int = 0,
    wave_s: float = 0.0,
    step_floor_s: float = 0.0,
    step_work_s: float = 0.1,
) -> ModelProfile:
    """Return a model of known cost: max(floor, work / share) seconds a batch, near enough (g = 50)."""
    return ModelProfile(
        name=name,
        kind=kind,
        latency=LatencySurface(floor_s, floor_per_request_s, work_per_request_s, work_s, 50.0),
        slo_s=1.0,
        output_tokens=1,
        max_batch=64,
        memory_bytes=4 * GIB,
        weights_bytes=GIB,
        launches=launches,
        wave_s=wave_s,
        startup=StartUp(0.0, 0.0, 0.0, 0, 1.0, 0.0),
        training=TrainingProfile(1, 1, 8 * GIB, launches, wave_s, StepCurve(step_floor_s, step_work_s, 50.0)),
    )


def serves(profile: ModelProfile, size: Size, **changes: Any) -> Function:
    """Return a serving function of pinned size."""
    values: dict[str, Any] = {
        "name": profile.name,
        "kind": profile.kind,
        "model": profile,
        "memory_bytes": profile.memory_bytes,
        "slo_s": profile.slo_s,
        "size": size,
    }
    return Function(**(values | changes))


def trains(profile: ModelProfile, size: Size, **changes: Any) -> Function:
    """Return a training function of pinned size."""
    assert profile.training is not None
    values: dict[str, Any] = {
        "name": f"{profile.name}-training",
        "kind": "training",
        "model": profile,
        "memory_bytes": profile.training.memory_bytes,
        "size": size,
    }
    return Function(**(values | changes))


def plain_system(**slots: Any) -> System:
    """Return a system without batching delay, start-up time or vertical scaling, changed by `slots`."""
    values: dict[str, Any] = {
        "name": "plain",
        "title": "plain",
        "source": "these tests",
        "sizing": DiluSizing(),
        "placement": ComplementaryPlacement(),
        "horizontal": LazyScaling(),
        "vertical": StaticQuota(),
        "routing": ImmediateBatching(),
        "start_up": FixedStartUp(0.0),
    }
    return System(**(values | slots))


@dataclass
class Ran:
    """A finished run and its tables as NumPy columns."""

    outcome: Outcome
    deployment: Deployment
    recorder: MemoryRecorder
    batches: dict[str, NDArray[Any]] = field(init=False)
    instances: dict[str, NDArray[Any]] = field(init=False)
    gpus: dict[str, NDArray[Any]] = field(init=False)
    training: dict[str, NDArray[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.batches = self.recorder.columns(BATCHES)
        self.instances = self.recorder.columns(INSTANCES)
        self.gpus = self.recorder.columns(GPUS)
        self.training = self.recorder.columns(TRAINING)

    def of(self, function: int, *, dropped: bool = False) -> dict[str, NDArray[Any]]:
        """Batches of one function, served or dropped."""
        rows = (self.batches["function"] == function) & ((self.batches["instance"] < 0) == dropped)
        return {name: column[rows] for name, column in self.batches.items()}

    def starts_and_ends(self, function: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """When each completed request of a function began to be served, and when it was done; by arrival."""
        rows = self.of(function)
        order = np.argsort(rows["first"])
        counts = rows["count"][order]
        return np.repeat(rows["start_s"][order], counts), np.repeat(rows["end_s"][order], counts)

    def waits(self, function: int = 0) -> NDArray[np.float64]:
        """Waiting time of each completed request of a function, in the order of arrival."""
        starts, _ = self.starts_and_ends(function)
        return starts - self.deployment.arrivals[function][: len(starts)]

    def quotas(self) -> str:
        """Every quota that was recorded, for comparison."""
        return repr(self.recorder.table(QUOTAS).to_pylist())

    def tables(self) -> bytes:
        """Everything else that was recorded, for comparison."""
        columns = (self.batches, self.instances, self.gpus, self.training)
        return repr([{name: column.tolist() for name, column in table.items()} for table in columns]).encode()


def run(
    functions: Sequence[Function],
    arrivals: Sequence[NDArray[np.float64]],
    *,
    duration_s: float,
    system: System | str = "dilu",
    tokens: Sequence[NDArray[np.int32] | None] | None = None,
    nodes: int = 1,
    gpus_per_node: int = 1,
    memory_gib: int = 40,
    skip_idle_ticks: bool = True,
    quotas: bool = False,
) -> Ran:
    """Run functions on a small cluster and return its tables."""
    cluster = Cluster(nodes, gpus_per_node, GpuType("test", memory_gib * GIB, 100))
    deployment = Deployment(
        cluster, tuple(functions), tuple(arrivals), tuple(tokens or [None] * len(functions)), duration_s
    )
    recorder = MemoryRecorder(quotas=quotas)
    outcome = simulate(
        deployment,
        find_system(system) if isinstance(system, str) else system,
        seed=0,
        recorder=recorder,
        skip_idle_ticks=skip_idle_ticks,
    )
    return Ran(outcome, deployment, recorder)


def poisson(rate_rps: float, requests: int, seed: int) -> NDArray[np.float64]:
    """Return Poisson arrivals."""
    return np.cumsum(np.random.default_rng(seed).exponential(1.0 / rate_rps, requests))
