"""Figures 13 and 14: what lets kernels through, over time, under Dilu and under static requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.cells import Cell
from experiments.paper.claims import Row
from experiments.paper.studies.colours import COLOURS
from experiments.paper.studies.shared_gpu import (
    MODELS,
    TITLES,
    Measured,
    Setting,
    columns,
    latency,
    training_speed,
)
from experiments.paper.study import Results, Scope, StudyResult
from recording import Run

SYSTEMS: Final = ("exclusive", "mps-r", "dilu")
TRACED: Final = ("dilu", "mps-r")

SERVED: Final = "roberta-large"
TRAINED: Final = "llama2-7b-training"

SHOWN_S: Final = (20.0, 40.0)
"""What is drawn of a run."""


def cells_of(setting: Setting, scope: Scope) -> Sequence[Cell]:
    """Return the runs of a figure."""
    return [setting.cell(system, seed, scope) for system in SYSTEMS for seed in scope.seeds]


def result_of(
    results: Results, scope: Scope, setting: Setting, rows: Callable[[Measured], tuple[Row, ...]]
) -> StudyResult:
    """Return the result of a figure, with the rows that are made of what was measured."""
    measured = Measured(results, scope, [setting], SYSTEMS)
    runs = {system: results.run(setting.cell(system, scope.seeds[0], scope)) for system in TRACED}
    records = [
        {
            "system": system,
            **columns("p50_s", measured.value(setting, system, latency(SERVED, "p50"))),
            **columns("p95_s", measured.value(setting, system, latency(SERVED, "p95"))),
            **columns("p95_ratio", measured.ratio(setting, system, "exclusive", latency(SERVED, "p95"))),
            **columns("training_ratio", measured.ratio(setting, system, "exclusive", training_speed)),
            "mean_quota_serving": _mean_quota(runs, system, SERVED),
            "mean_quota_training": _mean_quota(runs, system, TRAINED),
        }
        for system in SYSTEMS
    ]
    return StudyResult(
        rows=rows(measured),
        table=pd.DataFrame(records),
        draw=lambda figure: _draw(figure, runs),
        remarks=(_DRAWN.format(*SHOWN_S, scope.seeds[0]),),
    )


_DRAWN: Final = (
    "The paper draws how many kernels are launched over time; the simulator has no kernels, but the quotas "
    "that let them through. Drawn are seconds {:g} to {:g} of seed {}. Dilu lowers what training may use "
    "at each batch that takes too long, and raises it again at healthy ones and in pauses; static quotas "
    "never move."
)


def _quotas(run: Run, function: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return when the quota of a function's only instance changed, and to what."""
    names = [one.name for one in run.manifest.functions]
    instances = run.instances[run.instances["function"] == names.index(function)]
    (instance,) = instances["instance"].tolist()
    rows = run.quotas[run.quotas["instance"] == instance]
    return rows["time_s"].to_numpy(), rows["quota"].to_numpy()


def _mean_quota(runs: dict[str, Run], system: str, function: str) -> float:
    """Return the mean over time of a function's quota in the first run; the whole GPU under Exclusive."""
    if system not in runs:
        return 1.0
    time_s, quota = _quotas(runs[system], function)
    ends_s = np.append(time_s[1:], runs[system].manifest.simulated_s)
    held_s = ends_s - time_s
    return float((quota * held_s).sum() / held_s.sum())


def _draw(figure: Figure, runs: dict[str, Run]) -> None:
    load, *panels = figure.subplots(1 + len(runs), 1, sharex=True, height_ratios=(0.7, 1.0, 1.0))
    run = runs["dilu"]
    names = [one.name for one in run.manifest.functions]
    arrival_s = run.arrivals.arrival_s[run.arrivals.of(names.index(SERVED))]
    edges_s = np.arange(SHOWN_S[0], SHOWN_S[1] + 1.0)
    counts, _ = np.histogram(arrival_s, edges_s)
    load.stairs(counts, edges_s, color="0.4", fill=True)
    load.set_ylabel("load\n[req/s]")
    for axes, (system, traced) in zip(panels, runs.items(), strict=True):
        _steps(axes, traced, system)
    panels[-1].set_xlabel("time [s]")
    load.spines[["top", "right"]].set_visible(False)


def _steps(axes: Axes, run: Run, system: str) -> None:
    """Draw the quotas of both functions."""
    styles = ((SERVED, COLOURS[system], MODELS[SERVED]), (TRAINED, "0.3", "training"))
    for function, colour, label in styles:
        time_s, quota = _quotas(run, function)
        time_s, quota = np.append(time_s, run.manifest.simulated_s), np.append(quota, quota[-1])
        axes.step(time_s, quota, where="post", color=colour, linewidth=0.9, label=label)
    axes.legend(frameon=False, ncols=2, loc="upper left", fontsize=8)
    axes.set_ylabel(f"{TITLES[system]}\nquota [share of SMs]")
    axes.set_xlim(*SHOWN_S)
    axes.set_ylim(0.0, 1.0)
    axes.spines[["top", "right"]].set_visible(False)
