"""What happened in a run: the numbers of `summary.json`, from its tables and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.bounds import volume_bound
from analysis.latency import all_latencies, distribution, latencies, violations
from analysis.llm import first_tokens, time_per_output_token, time_to_first_token
from analysis.occupancy import active_share_seconds, holding
from analysis.training import training_of, training_total
from recording import Run


def summarise(run: Run, *, wall_s: float | None = None) -> dict[str, Any]:
    """Summarise the run of one system.

    Parameters
    ----------
    run
        The run; its tables are read in pieces, and about 50 bytes a request are in memory at once.
    wall_s
        How long the world took, which no table says.

    Returns
    -------
    dict
        The keys of `summary.json`; numbers are `None` where they do not apply. Always
        `requests == completed + dropped + unfinished`. Numbers are rounded to nine digits, below which sums
        may depend on the machine.

    Raises
    ------
    RecordingError
        If a table is missing, corrupt, or contradicts another one.
    """
    manifest = run.manifest
    first_s = first_tokens(run)
    functions = _functions(run, first_s)
    llms = [index for index, function in enumerate(manifest.functions) if function.kind == "llm"]
    simulated_s = manifest.simulated_s
    counts = {key: sum(f[key] for f in functions.values()) for key in ("requests", *_OUTCOMES)}
    missed = [f["slo_violations"] for f in functions.values() if f["slo_violations"] is not None]
    serves = not manifest.placement_only
    throughput_rps = _ratio(counts["completed"], simulated_s) if serves else None
    held = holding(run)
    mean_gpus = _ratio(held.gpu_seconds, simulated_s)
    bound = volume_bound(held)
    mean_bound, sm_bound, memory_bound = (
        _ratio(bound.gpu_seconds(gpus), simulated_s) for gpus in (bound.gpus, bound.sm, bound.memory)
    )
    jobs = [f["training"] for f in functions.values() if f["training"] is not None]
    summary = {
        "system": manifest.system,
        "title": manifest.title,
        "world": manifest.world,
        "seed": manifest.seed,
        "simulated_s": simulated_s,
        "wall_s": wall_s,
        **counts,
        "slo_violations": sum(missed) if missed else None,
        "slo_violation_rate": _ratio(sum(missed), counts["requests"]) if missed else None,
        "latency_s": distribution(all_latencies(run)),
        "throughput_rps": throughput_rps,
        "throughput_rps_per_gpu": _ratio(throughput_rps, mean_gpus),
        "mean_batch": _ratio(counts["completed"], int(run.request_columns.batches.sum())),
        "cold_starts": int(run.instances["cold"].sum()) if serves else None,
        "launches": len(run.instances),
        "launches_refused": manifest.launches_refused,
        "peak_gpus": held.peak_gpus,
        "mean_gpus": mean_gpus,
        "gpu_seconds": held.gpu_seconds,
        "gpus_bound": {
            "peak": bound.peak,
            "mean": mean_bound,
            "sm_mean": sm_bound,
            "memory_mean": memory_bound,
        },
        "gpus_over_bound": _ratio(mean_gpus, mean_bound),
        "sm_fragmentation": held.sm_fragmentation,
        "sm_fragmentation_reserved": held.sm_fragmentation_reserved,
        "memory_fragmentation": held.memory_fragmentation,
        "sm_utilization": _ratio(active_share_seconds(run), held.gpu_seconds),
        "training": training_total(jobs),
        "llm": _llm(run, llms, first_s),
        "functions": functions,
    }
    rounded: dict[str, Any] = _rounded(summary)
    return rounded


_OUTCOMES = ("completed", "dropped", "unfinished")


def _functions(run: Run, first_s: NDArray[np.float64]) -> dict[str, dict[str, Any]]:
    """Summarise each function; none where only instances were placed, each of a service of its own."""
    if run.manifest.placement_only:
        return {}
    functions = run.manifest.functions
    launched = run.instances["function"].to_numpy()
    launches = np.bincount(launched, minlength=len(functions))
    cold_starts = np.bincount(
        launched[run.instances["cold"].to_numpy(dtype=np.bool_)], minlength=len(functions)
    )
    return {
        function.name: {
            **_requests(run, index),
            "launches": int(launches[index]),
            "cold_starts": int(cold_starts[index]),
            "llm": _llm(run, [index], first_s) if function.kind == "llm" else None,
            "training": training_of(run, index) if function.kind == "training" else None,
        }
        for index, function in enumerate(functions)
    }


def _requests(run: Run, index: int) -> dict[str, Any]:
    """Summarise the requests of one function."""
    recorded = run.manifest.functions[index]
    here = run.arrivals.of(index)
    requests = here.stop - here.start
    completed = int(np.count_nonzero(run.request_columns.completed(here)))
    dropped = int(np.count_nonzero(run.request_columns.dropped[here]))
    missed = violations(run, index)
    return {
        "kind": recorded.kind,
        "requests": requests,
        "completed": completed,
        "dropped": dropped,
        "unfinished": requests - completed - dropped,
        "slo_s": recorded.slo_s,
        "slo_violations": missed,
        "slo_violation_rate": None if missed is None else _ratio(missed, requests),
        "latency_s": distribution(latencies(run, index)),
        "throughput_rps": _ratio(completed, run.manifest.simulated_s),
        "mean_batch": _ratio(completed, int(run.request_columns.batches[index])),
    }


def _llm(run: Run, functions: list[int], first_s: NDArray[np.float64]) -> dict[str, Any]:
    """Time to first token and per output token over the requests of these functions, in seconds."""
    none = np.empty(0)
    ttft_s = np.concatenate([none, *(time_to_first_token(run, index, first_s) for index in functions)])
    tpot_s = np.concatenate([none, *(time_per_output_token(run, index) for index in functions)])
    return {"ttft_s": distribution(ttft_s), "tpot_s": distribution(tpot_s)}


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _rounded(value: Any) -> Any:
    """Round every float in a document to nine significant digits."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return float(f"{value:.9g}") if isinstance(value, float) else value
