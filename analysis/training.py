"""How fast training jobs went, and when they were done."""

from __future__ import annotations

from typing import Any

import numpy as np

from recording import Run


def training_of(run: Run, function: int) -> dict[str, Any]:
    """Progress of one training function.

    `steps_per_s` sums over its jobs the steps done divided by the time since the job was ready; `jct_s` is
    the mean completion time of finished jobs, from deployment (start-up included) to the last step, `None`
    before one is finished. A job that never became ready counts as a job without steps.
    """
    rows = run.training[run.training["function"] == function]
    time_s = (rows["end_s"] - rows["start_s"]).to_numpy()
    steps = rows["steps"].to_numpy()
    speed = np.divide(steps, time_s, out=np.zeros_like(time_s), where=time_s > 0)
    finished = rows.loc[rows["done"], "end_s"].to_numpy() - run.manifest.functions[function].start_s
    return {
        "jobs": max(len(rows), 1),
        "finished": len(finished),
        "steps": float(steps.sum()),
        "steps_per_s": float(speed.sum()),
        "jct_s": float(finished.mean()) if len(finished) else None,
    }


def training_total(jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Join what `training_of` says of every training function; `None` throughout if there is none."""
    if not jobs:
        return {"jobs": 0, "finished": 0, "steps": None, "steps_per_s": None, "jct_s": None}
    finished = sum(job["finished"] for job in jobs)
    completion_s = sum(job["jct_s"] * job["finished"] for job in jobs if job["finished"])
    return {
        "jobs": sum(job["jobs"] for job in jobs),
        "finished": finished,
        "steps": sum(job["steps"] for job in jobs),
        "steps_per_s": sum(job["steps_per_s"] for job in jobs),
        "jct_s": completion_s / finished if finished else None,
    }
