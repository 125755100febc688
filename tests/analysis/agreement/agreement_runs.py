"""Runs made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from recording import BATCH, Arrivals, Manifest, MemoryRecorder, RecordedCluster, RecordedFunction, Run

SERVES = RecordedFunction(name="vision", kind="inference", slo_s=0.5)
TRAINS = RecordedFunction(name="job", kind="training")


def recorder(*batches: tuple[int, int, int, int, float, float]) -> MemoryRecorder:
    """Keep batches (function, instance, first, count, start_s, end_s), and the quotas."""
    made = MemoryRecorder(quotas=True)
    made.batches(b"".join(BATCH.pack(*row) for row in batches))
    return made


def launched(to: MemoryRecorder, instance: int, function: int = 0, **changes: Any) -> None:
    """Add an instance that is warm from the start and stays."""
    values: dict[str, Any] = {
        "launch_s": 0.0,
        "ready_s": 0.0,
        "retire_s": None,
        "cold": False,
        "batch": 4,
        "request": 0.3,
        "limit": 0.6,
        "gpus": [0],
        "memory_bytes": [10],
    }
    to.instance(instance=instance, function=function, **(values | changes))


def run_of(
    tables: MemoryRecorder,
    arrivals: list[list[float]],
    functions: tuple[RecordedFunction, ...] = (SERVES,),
    simulated_s: float = 10.0,
) -> Run:
    """Make a run of them."""
    manifest = Manifest(
        system="dilu",
        world="sim",
        seed=0,
        simulated_s=simulated_s,
        cluster=RecordedCluster(nodes=1, gpus_per_node=1, gpu="A100", gpu_memory_bytes=100),
        functions=functions,
    )
    return Run(manifest, tables, Arrivals.from_functions([np.array(own) for own in arrivals]))
