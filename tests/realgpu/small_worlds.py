"""Small worlds for the tests: models of known cost, systems of known rules, runs in memory; who is left."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies import Cluster, Deployment, Function, Size, System, find_system
from policies.horizontal import LazyScaling
from policies.outcome import Outcome
from policies.placement import ComplementaryPlacement
from policies.routing import ImmediateBatching
from policies.sizing import DiluSizing
from policies.slots import FunctionView, Scaling
from policies.start_up import FixedStartUp
from policies.vertical import StaticQuota
from profiles import GpuType, LatencySurface, ModelProfile, StartUp, StepCurve, TrainingProfile
from realgpu.world import run
from recording import MemoryRecorder
from recording.schema import BATCHES, GPUS, INSTANCES, QUOTAS, TRAINING
from sim import simulate

GIB = 2**30
NO_ARRIVALS = np.zeros(0)


def model(name: str = "model", **values: Any) -> ModelProfile:
    """Return a model of known cost: max(floor_s, work_s / share) seconds a batch, near enough (g = 50)."""
    launches, wave_s = values.get("launches", 0), values.get("wave_s", 0.0)
    return ModelProfile(
        name=name,
        kind=values.get("kind", "inference"),
        latency=LatencySurface(values.get("floor_s", 0.001), 0.0, 0.0, values.get("work_s", 0.0), 50.0),
        slo_s=values.get("slo_s", 1.0),
        output_tokens=1,
        max_batch=64,
        memory_bytes=4 * GIB,
        weights_bytes=GIB,
        launches=launches,
        wave_s=wave_s,
        startup=StartUp(0.0, 0.0, 0.0, 0, 1.0, 0.0),
        training=TrainingProfile(
            1, 1, 8 * GIB, launches, wave_s, StepCurve(0.0, values.get("step_work_s", 0.02), 50.0)
        ),
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


def deployed(
    functions: Sequence[Function],
    arrivals: Sequence[NDArray[np.float64]],
    *,
    duration_s: float,
    gpus: int = 1,
    tokens: Sequence[NDArray[np.int32] | None] | None = None,
) -> Deployment:
    """Return a deployment on one node."""
    cluster = Cluster(1, gpus, GpuType("test", 40 * GIB, 100))
    tokens = [None] * len(functions) if tokens is None else tokens
    return Deployment(cluster, tuple(functions), tuple(arrivals), tuple(tokens), duration_s)


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
    quotas: dict[str, NDArray[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.batches = self.recorder.columns(BATCHES)
        self.instances = self.recorder.columns(INSTANCES)
        self.gpus = self.recorder.columns(GPUS)
        self.training = self.recorder.columns(TRAINING)
        self.quotas = self.recorder.columns(QUOTAS)

    def of(self, function: int, *, dropped: bool = False) -> dict[str, NDArray[Any]]:
        """Batches of one function, served or dropped."""
        rows = (self.batches["function"] == function) & ((self.batches["instance"] < 0) == dropped)
        return {name: column[rows] for name, column in self.batches.items()}

    def latencies(self, function: int = 0) -> NDArray[np.float64]:
        """Latency of each completed request of a function."""
        rows = self.of(function)
        requests = [np.arange(f, f + c) for f, c in zip(rows["first"], rows["count"], strict=True)]
        arrivals = self.deployment.arrivals[function][np.concatenate([*requests, np.zeros(0, int)])]
        return np.repeat(rows["end_s"], rows["count"]) - arrivals


def run_virtually(deployment: Deployment, system: System | str = "dilu", **options: Any) -> Ran:
    """Run it for real, with virtual workers."""
    recorder = MemoryRecorder(quotas=True)
    outcome = run(deployment, _found(system), seed=0, recorder=recorder, backend="virtual", **options)
    return Ran(outcome, deployment, recorder)


def run_simulated(deployment: Deployment, system: System | str = "dilu") -> Ran:
    """Run it in the simulated world."""
    recorder = MemoryRecorder(quotas=True)
    outcome = simulate(deployment, _found(system), seed=0, recorder=recorder)
    return Ran(outcome, deployment, recorder)


def _found(system: System | str) -> System:
    return find_system(system) if isinstance(system, str) else system


def poisson(rate_rps: float, duration_s: float, seed: int) -> NDArray[np.float64]:
    """Return Poisson arrivals of a duration."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0.0, duration_s, rng.poisson(rate_rps * duration_s)))


@dataclass
class Targets:
    """A horizontal policy that wants so many instances after each second, and keeps what it was shown."""

    targets: Sequence[int]
    shown: list[tuple[float, int, int]] = field(default_factory=list)

    def scale(self, function: FunctionView) -> Scaling:
        """Take note of time, live instances and seconds in the window."""
        self.shown.append((function.now_s, function.live, len(function.rates(60))))
        return Scaling(self.targets[min(len(self.shown), len(self.targets)) - 1])


# ------------------------------------------------------------------------------------- who is left


def children(pid: int) -> set[int]:
    """Processes that are, or were started by, children of a process.

    Not the one in which Python counts this process's semaphores: once it is there, it stays.
    """
    found: set[int] = set()
    for child in _children(pid):
        found |= {child} | children(child)
    return found


def _children(pid: int) -> list[int]:
    try:
        pids = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    tracker = getattr(resource_tracker, "_resource_tracker")._pid  # noqa: B009 - there is no public name
    return [pid for pid in pids if pid != tracker]


def is_alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def run_folders(pid: int | None = None) -> list[Path]:
    """Folders of the runs of a process, by default this one."""
    return list(Path("/dev/shm").glob(f"dilu-run-{os.getpid() if pid is None else pid}-*"))


def descriptors() -> dict[str, str]:
    """Open file descriptors of this process."""
    found = {}
    for one in Path("/proc/self/fd").iterdir():
        try:
            found[one.name] = str(one.readlink())
        except OSError:
            continue  # that of the listing itself
    return found
