"""How long instances of a function were held, and how much of the GPUs they reserved meanwhile."""

from __future__ import annotations

import pandas as pd

from recording import Run


def instance_seconds(run: Run, function: str) -> float:
    """Return the seconds from launch to retirement, summed over the instances of a function."""
    return float(_held(run, function)["held_s"].sum())


def reserved_share_seconds(run: Run, function: str) -> float:
    """Return the integral of the SM shares that a system reserved for a function, over all of its GPUs.

    A stage of a split LLM and a training worker each reserve the share of the instance on their GPU.
    """
    held = _held(run, function)
    return float((held["held_s"] * held["request"] * held["gpus"].map(len)).sum())


def _held(run: Run, function: str) -> pd.DataFrame:
    index = [one.name for one in run.manifest.functions].index(function)
    rows = run.instances[run.instances["function"] == index]
    until_s = rows["retire_s"].fillna(run.manifest.simulated_s)
    return rows.assign(held_s=until_s - rows["launch_s"])
