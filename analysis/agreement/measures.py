"""What both worlds say of the same experiment, and what its error is counted in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from analysis.agreement.quota_paths import quota_paths
from analysis.metrics import summarise
from recording import Run


@dataclass(frozen=True, slots=True)
class Measure:
    """A number that both worlds have, for all functions together or for one.

    `relative` errors are fractions of the real world's value, the others are differences in the measure's
    own unit. `scale` turns a value into `unit` for the eye, and `error_scale` an error into `error_unit`.
    """

    name: str
    label: str
    unit: str = ""
    scale: float = 1.0
    digits: int = 2
    relative: bool = True
    error_unit: str = "%"
    error_scale: float = 100.0

    def error(self, sim: float, real: float) -> float | None:
        """Return the simulator's error; `None` where it is relative to nothing."""
        if not self.relative:
            return sim - real
        if real == 0.0:
            return 0.0 if sim == 0.0 else None
        return (sim - real) / real


MEASURES: Final = (
    Measure("throughput", "throughput", "req/s"),
    Measure("mean", "latency mean", "ms", 1e3, 1),
    Measure("p50", "latency p50", "ms", 1e3, 1),
    Measure("p95", "latency p95", "ms", 1e3, 1),
    Measure("p99", "latency p99", "ms", 1e3, 1),
    Measure("svr", "SLO violation rate", "%", 100.0, relative=False, error_unit="points"),
    Measure("batch", "mean batch"),
    Measure("cold_starts", "cold starts", digits=1, relative=False, error_unit="starts", error_scale=1.0),
    Measure("start_up", "start-up", "s"),
    Measure("training", "training throughput", "steps/s"),
    Measure("share", "share in use", "%", 100.0, 1),
    Measure("quota", "mean quota", digits=3),
)
"""In the order of tables and figures."""

Values = Mapping[tuple[str | None, str], float]
"""Values by function (`None`: all together) and name of the measure, where it applies."""


def find_measure(name: str) -> Measure:
    """Return the measure of a name; a KeyError if there is none."""
    return {measure.name: measure for measure in MEASURES}[name]


def values_of(run: Run) -> Values:
    """Measure a run: everything in `MEASURES` that applies, for each function and for all together.

    Raises
    ------
    RecordingError
        If a table is missing (quotas have to be recorded), corrupt, or contradicts another one.
    """
    summary = summarise(run)
    found: dict[tuple[str | None, str], float | None] = {
        (None, name): value for name, value in _common(summary).items()
    }
    found[None, "share"] = summary["sm_utilization"]
    for name, own in summary["functions"].items():
        trains = own["kind"] == "training"
        found |= {
            (name, measure): value
            for measure, value in _common(own).items()
            if not trains or measure in ("training", "cold_starts")
        }
    start_ups = _start_ups(run)
    paths = quota_paths(run)
    for index, function in enumerate(run.manifest.functions):
        found[function.name, "start_up"] = start_ups.get(index)
        own_paths = [path for path in paths if path.function == index and path.lasts_s > 0]
        lived_s = sum(path.lasts_s for path in own_paths)
        if lived_s > 0:
            found[function.name, "quota"] = sum(path.mean * path.lasts_s for path in own_paths) / lived_s
    return {key: float(value) for key, value in found.items() if value is not None}


def _common(summary: Mapping[str, Any]) -> dict[str, float | None]:
    """What a summary says alike of all functions and of one."""
    training = summary["training"]
    return {
        "throughput": summary["throughput_rps"],
        **summary["latency_s"],
        "svr": summary["slo_violation_rate"],
        "batch": summary["mean_batch"],
        "cold_starts": summary["cold_starts"],
        "training": training and training["steps_per_s"],
    }


def _start_ups(run: Run) -> Mapping[int, float]:
    """Seconds from launch to readiness of cold starts, in the mean, by function."""
    launched = run.instances
    ready_s = launched["ready_s"].to_numpy(dtype=np.float64)
    cold = launched["cold"].to_numpy(dtype=np.bool_) & ~np.isnan(ready_s)
    took_s, function = (
        (ready_s - launched["launch_s"].to_numpy())[cold],
        launched["function"].to_numpy()[cold],
    )
    return {int(index): float(took_s[function == index].mean()) for index in np.unique(function)}
