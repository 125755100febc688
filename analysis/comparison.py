"""Systems side by side: the table of `comparison.csv` and of `dilu compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from recording import RecordingError

_MOST: Final = 1e300  # JSON has whole numbers that no float can hold


@dataclass(frozen=True, slots=True)
class Metric:
    """A number to compare systems by.

    `key` is its path in `summary.json`, `name` its column, `label` what people read. `scale` turns it into
    `unit` for the eye.
    """

    key: tuple[str, ...]
    name: str
    label: str
    unit: str = ""
    scale: float = 1.0
    digits: int = 2

    def of(self, summary: Mapping[str, Any]) -> float | None:
        """Look the number up; `None` where it does not apply.

        Raises
        ------
        RecordingError
            If something else stands there.
        """
        value: Any = summary
        for part in self.key:
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _MOST:
            raise RecordingError(f"{'.'.join(self.key)}: found {str(value)[:60]!r}, allowed is a number")
        return float(value)

    def shown(self, value: float | None) -> str:
        """Format the number for a table, in `unit`."""
        return "-" if value is None or pd.isna(value) else f"{value * self.scale:,.{self.digits}f}"


METRICS: Final = (
    Metric(("slo_violation_rate",), "slo_violation_rate", "SLO violation rate", "%", 100.0),
    Metric(("latency_s", "p50"), "latency_p50_s", "latency p50", "ms", 1e3, 1),
    Metric(("latency_s", "p95"), "latency_p95_s", "latency p95", "ms", 1e3, 1),
    Metric(("latency_s", "p99"), "latency_p99_s", "latency p99", "ms", 1e3, 1),
    Metric(("llm", "tpot_s", "p95"), "llm_tpot_p95_s", "LLM time per token p95", "ms", 1e3, 1),
    Metric(("throughput_rps",), "throughput_rps", "throughput", "req/s"),
    Metric(("throughput_rps_per_gpu",), "throughput_rps_per_gpu", "throughput per GPU", "req/s"),
    Metric(("training", "steps_per_s"), "training_steps_per_s", "training throughput", "steps/s"),
    Metric(("training", "jct_s"), "training_jct_s", "training completion time", "s", digits=1),
    Metric(("peak_gpus",), "peak_gpus", "GPUs, peak", digits=0),
    Metric(("mean_gpus",), "mean_gpus", "GPUs, mean"),
    Metric(("gpus_over_bound",), "gpus_over_bound", "GPUs over volume bound"),
    Metric(("gpu_seconds",), "gpu_seconds", "GPU time", "s", digits=0),
    Metric(("sm_fragmentation",), "sm_fragmentation", "SM fragmentation", "%", 100.0, 1),
    Metric(("memory_fragmentation",), "memory_fragmentation", "memory fragmentation", "%", 100.0, 1),
    Metric(("cold_starts",), "cold_starts", "cold starts", digits=0),
    Metric(("launches",), "launches", "launches", digits=0),
    Metric(("launches_refused",), "launches_refused", "launches refused", digits=0),
    Metric(("requests",), "requests", "requests", digits=0),
    Metric(("completed",), "completed", "completed", digits=0),
    Metric(("dropped",), "dropped", "dropped", digits=0),
    Metric(("unfinished",), "unfinished", "unfinished", digits=0),
)
"""In the order of the table. Wall-clock time is none of them: equal runs compare equally."""


def compare(summaries: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Put summaries side by side.

    Parameters
    ----------
    summaries
        What `summarise` returned, one a system; the first is the base of the ratios.

    Returns
    -------
    DataFrame
        A row a system (index `system`), a column a metric (`METRICS`), and for each a column `NAME_ratio`:
        its value divided by that of the first system. NaN where a number does not apply or the base is 0.
    """
    rows = [{metric.name: metric.of(summary) for metric in METRICS} for summary in summaries]
    index = pd.Index([str(summary["system"]) for summary in summaries], name="system")
    table = pd.DataFrame(rows, index=index, columns=[metric.name for metric in METRICS], dtype=float)
    base = table.iloc[0].where(table.iloc[0] != 0)
    return table.join(table.div(base).add_suffix("_ratio"))


def write_comparison(path: Path, comparison: pd.DataFrame) -> None:
    """Write `comparison.csv`, numbers to nine digits; empty where one does not apply."""
    comparison.to_csv(path, float_format="%.9g", lineterminator="\n")
