"""A host that poses as one with a GPU: its driver, NVML and MPS, and worlds to run on it."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from fake_pynvml import FakePynvml, NVMLError
from small_worlds import Ran, deployed, model, plain_system, serves, trains

from policies import Deployment, Launch, Size, System
from policies.slots import Shard
from profiles.sharing import Sharing
from realgpu.hosting import Hosting
from realgpu.hosts import open_host, open_host_for
from realgpu.world import run
from recording import MemoryRecorder

UUID = "GPU-00112233-4455-6677-8899-aabbccddeeff"
NS_PER_BLOCK = 10_000
BATCH_S = 20 * 50 * NS_PER_BLOCK / 1e9
"""What a batch, or step, of a posing worker takes on the whole GPU."""

CAPACITY = 1e9 / NS_PER_BLOCK
"""Blocks a second of the fake GPU."""


class PosedNvml(FakePynvml):
    """The fake binding, of the fake driver's GPU; it is found as a module is."""

    __spec__ = None

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        """Know the one GPU."""
        if uuid != UUID:
            raise NVMLError(6)
        return "handle"


def launch(instance: int = 0, *, gpu: int = 0, limit: float = 0.45, function: int = 0) -> Launch:
    """A launch on one GPU."""
    size = Size(4, 0.3, limit)
    return Launch(instance, function, (Shard(gpu, 0.3, limit, 0),), 0.0, False, size)


def opened(sharing: Sharing, **options: Any) -> Any:
    """The host for CUDA."""
    return open_host("cuda", sharing=sharing, **options)


def lab(
    duration_s: float = 1.0,
    *,
    rate_rps: float = 10.0,
    request: float = 0.2,
    limit: float = 0.2,
    jobs: int = 1,
) -> Deployment:
    """A server of small batches and training beside it, alike in size."""
    size = Size(1, request, limit)
    functions = [serves(model("a"), size), *(trains(model(f"job{n}"), size) for n in range(jobs))]
    arrivals = np.arange(0.05, duration_s, 1 / rate_rps)
    return deployed(functions, [arrivals, *([np.zeros(0)] * jobs)], duration_s=duration_s)


def run_posed(
    deployment: Deployment,
    *,
    vertical: Any,
    change: Callable[[Hosting], Hosting] = lambda hosting: hosting,
    spoil: Callable[[dict[str, str], Launch], None] = lambda environment, launch: None,
    folder: Path | None = None,
) -> Ran:
    """Run it on the posed host; `spoil` may change what a worker's environment is."""
    system: System = plain_system(vertical=vertical)
    recorder = MemoryRecorder(quotas=True)
    with open_host_for("cuda", deployment, system.vertical) as hosting:

        def environment(launch: Launch, row: int) -> Mapping[str, str]:
            found = dict(hosting.environment(launch, row))
            found["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
            spoil(found, launch)
            return found

        program = (sys.executable, str(Path(__file__).with_name("posing_worker.py")))
        posed = change(dataclasses.replace(hosting, command=program, environment=environment))
        outcome = run(deployment, system, seed=0, recorder=recorder, backend="cuda", hosting=posed)
        if folder is not None:
            hosting.host.write_samples(folder)
    return Ran(outcome, deployment, recorder)
