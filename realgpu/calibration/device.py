"""What is known of the device that work is measured on: from the host, and from what its workers say."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from profiles import StartUpMeasurement
from realgpu.calibration.resident import Resident
from realgpu.workers.protocol import BackendName

CPU_CORE: Final = "cpu-core"
"""The type of GPU that the backend `cpu` is: one core in place of the SMs, and the host's memory."""

TIER: Final = "made on the device"
"""Where the weights of a worker come from: random numbers."""

WEIGHT_BYTES: Final = {"serve": 2, "train": 4}
"""Bytes of a weight on a GPU: half precision when it serves (`realgpu.workers.backends.cuda`)."""

CPU_WEIGHT_BYTES: Final = 4


def host_facts(backend: BackendName, sharing: str) -> dict[str, Any]:
    """Return what is known before any worker has started."""
    facts: dict[str, Any] = {"backend": backend, "sharing": sharing}
    if backend == "cpu":
        pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        facts |= {"gpu": CPU_CORE, "name": _cpu_name(), "sm_count": 1, "memory_bytes": pages * page_bytes}
    elif backend == "virtual":
        facts["name"] = "virtual workers"
    return facts


def today() -> str:
    """Return the date, as origins of values give it."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def worker_facts(backend: BackendName, resident: Resident) -> dict[str, Any]:
    """Return what a worker that has started up knows of the device."""
    loaded = resident.loaded
    facts = {name: loaded[name] for name in ("torch", "cuda", "scale", "prompt_tokens") if name in loaded}
    if backend != "cuda":
        return facts
    facts |= {
        "name": loaded["device"],
        "gpu": loaded["device"],
        "memory_bytes": loaded["device_memory_bytes"],
    }
    if resident.share >= 1.0:
        facts["sm_count"] = loaded["sm_count"]
    return facts


def start_up(backend: BackendName, resident: Resident) -> StartUpMeasurement | None:
    """Return the parts of a worker's start; `None` where starting takes no time by design.

    What is neither loading nor warming up is the process itself and its imports; finding out what a launch
    gate charges is no part of a start.
    """
    if backend == "virtual":
        return None
    loaded = resident.loaded
    context_s = float(loaded.get("context_s", 0.0))
    known_s = sum(float(loaded.get(name, 0.0)) for name in ("load_s", "warm_up_s", "waited_s"))
    whole_s = (resident.ready_ns - resident.launched_ns) / 1e9
    weight_bytes = CPU_WEIGHT_BYTES if backend == "cpu" else WEIGHT_BYTES[resident.job]
    return StartUpMeasurement(
        model=resident.profile.name,
        tier=TIER,
        runtime_s=max(0.0, whole_s - known_s - _finding_out_s(loaded)),
        context_s=context_s,
        weights_s=max(0.0, float(loaded["load_s"]) - context_s),
        warm_up_s=float(loaded["warm_up_s"]),
        weights_bytes=int(loaded["parameters"]) * weight_bytes,
    )


def _finding_out_s(loaded: Mapping[str, Any]) -> float:
    """Return how long it took to find out what launches cost."""
    batches, cost = loaded.get("measured_batches"), loaded.get("cost_per_batch")
    if not batches or not cost:
        return 0.0
    return float(batches * cost / loaded["cost_per_s"])


def _cpu_name() -> str:
    """Return what the processor is called."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names and names[0] else platform.machine()
