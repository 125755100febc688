"""Figure 17: GPUs and fragments of a large cluster, by the number of instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.cells import Cell
from experiments.paper.claims import Claim, Finding, Row, per_seed
from experiments.paper.studies.colours import COLOURS
from experiments.paper.studies.explained import explained
from experiments.paper.study import Results, Scope, Study, StudyResult

EXPERIMENT: Final = "cluster-3200"
INSTANCES: Final = (100, 200, 400, 800, 1600, 3200)
MOST: Final = 3200

SYSTEMS: Final = {
    "exclusive": "Exclusive",
    "infless+-l": "INFless+-l",
    "infless+-r": "INFless+-r",
    "dilu": "Dilu",
}

FEWER_GPUS: Final = {"exclusive": 30.0, "infless+-l": 23.0}
"""Percent that Dilu saves at 3,200 instances."""

METRICS: Final = {
    "peak_gpus": ("GPUs in use at the peak", 1.0),
    "sm_fragmentation": ("SM fragmentation [%]", 100.0),
    "memory_fragmentation": ("memory fragmentation [%]", 100.0),
}
"""By their name in a summary: what they are called, and the factor to the unit."""


def _counts(scope: Scope) -> tuple[int, ...]:
    return (100, 400) if scope.quick else INSTANCES


def _cell(system: str, instances: int, seed: int) -> Cell:
    return Cell(EXPERIMENT, system, seed, (f"workload.instances.generate.instances={instances}",))


def _cells(scope: Scope) -> Sequence[Cell]:
    return [
        _cell(system, instances, seed)
        for instances in _counts(scope)
        for seed in scope.seeds
        for system in SYSTEMS
    ]


Values = Mapping[tuple[str, int, str], tuple[float, ...]]
"""By system, number of instances and metric: a value a seed."""


def _result(results: Results, scope: Scope) -> StudyResult:
    values: dict[tuple[str, int, str], tuple[float, ...]] = {}
    for system in SYSTEMS:
        for instances in _counts(scope):
            runs = [results.summary(_cell(system, instances, seed)) for seed in scope.seeds]
            for metric, (_, factor) in METRICS.items():
                values[system, instances, metric] = tuple(factor * float(run[metric]) for run in runs)
    few, many = _counts(scope)[0], _counts(scope)[-1]
    rows = [_fewer(values, many, rival) for rival in FEWER_GPUS]
    rows += [_least_fragmentation(values, many, metric) for metric in list(METRICS)[1:]]
    rows += [_widening(values, few, many, rival) for rival in FEWER_GPUS]
    table = _table(values, scope)
    return StudyResult(
        tuple(rows), table, lambda figure: _draw(figure, table), (_packing(values, many), _AFFINITY)
    )


def _packing(values: Values, instances: int) -> str:
    """Say what of the gain is that of packing by request."""

    def more(rival: str) -> float:
        dilu, theirs = values["dilu", instances, "peak_gpus"], values[rival, instances, "peak_gpus"]
        return float(
            np.mean([100.0 * (other / ours - 1.0) for ours, other in zip(dilu, theirs, strict=True)])
        )

    return (
        f"At {instances:,} instances INFless+-l needs {more('infless+-l'):.1f} % more GPUs than Dilu, and "
        f"INFless+-r, which packs by request as Dilu does, {more('infless+-r'):.1f} %: what lies between is "
        "the gain of packing by request. Nothing runs in this experiment, so it does not show what "
        "INFless+-r pays when requests come in bursts."
    )


_AFFINITY: Final = (
    "Every instance is a service of its own, as in the artifact, so the affinity rule never fires. Sizes are "
    "drawn from the artifact's distributions with seeds of our own; its event files cannot be drawn again."
)


def _fewer(values: Values, instances: int, rival: str) -> Row:
    dilu, other = values["dilu", instances, "peak_gpus"], values[rival, instances, "peak_gpus"]
    saved = [100.0 * (1.0 - ours / theirs) for ours, theirs in zip(dilu, other, strict=True)]
    claim = Claim(
        f"GPUs that Dilu saves against {SYSTEMS[rival]}, {MOST:,} instances",
        "Section 5.5, Fig. 17",
        "%",
        "text",
        FEWER_GPUS[rival],
        neutral=0.0,
    )
    return explained(claim, per_seed(saved), size="Sizes and order of the instances are other draws.")


def _least_fragmentation(values: Values, instances: int, metric: str) -> Row:
    rivals = [values[rival, instances, metric] for rival in FEWER_GPUS]
    above = [
        min(theirs) - ours for ours, *theirs in zip(values["dilu", instances, metric], *rivals, strict=True)
    ]
    claim = Claim(
        f"{METRICS[metric][0].removesuffix(' [%]')} of the better rival, points above Dilu's",
        "Section 5.5, Fig. 17",
        "points",
        "text",
        neutral=0.0,
        direction="above",
    )
    return explained(claim, per_seed(above), size="The paper says lowest, and no number.")


def _widening(values: Values, few: int, many: int, rival: str) -> Row:
    def gap(instances: int) -> list[float]:
        dilu, other = values["dilu", instances, "peak_gpus"], values[rival, instances, "peak_gpus"]
        return [theirs - ours for ours, theirs in zip(dilu, other, strict=True)]

    claim = Claim(
        f"{SYSTEMS[rival]}: GPUs above Dilu's, how many more at {many:,} than at {few:,} instances",
        "Section 5.5, Fig. 17",
        "GPUs",
        "text",
        neutral=0.0,
        direction="above",
    )
    grown = [late - early for early, late in zip(gap(few), gap(many), strict=True)]
    return explained(claim, per_seed(grown), size="The paper says that the gap widens, and no number.")


def _table(values: Values, scope: Scope) -> pd.DataFrame:
    records = []
    for system in SYSTEMS:
        for instances in _counts(scope):
            record: dict[str, object] = {"system": system, "instances": instances, "seeds": len(scope.seeds)}
            for metric in METRICS:
                found = Finding(values[system, instances, metric])
                low, high = found.interval or (found.mean, found.mean)
                record |= {metric: found.mean, f"{metric}_low": low, f"{metric}_high": high}
            records.append(record)
    return pd.DataFrame(records)


def _draw(figure: Figure, table: pd.DataFrame) -> None:
    panels = figure.subplots(1, 3)
    for axes, (metric, (label, _)) in zip(panels, METRICS.items(), strict=True):
        for system, title in SYSTEMS.items():
            rows = table[table["system"] == system]
            weight = 2.2 if system == "dilu" else 1.3
            axes.plot(
                rows["instances"], rows[metric], "o-", color=COLOURS[system], linewidth=weight, label=title
            )
            axes.fill_between(
                rows["instances"],
                rows[f"{metric}_low"],
                rows[f"{metric}_high"],
                color=COLOURS[system],
                alpha=0.25,
                linewidth=0,
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(rows["instances"], [f"{count:g}" for count in rows["instances"]])
        axes.minorticks_off()
        axes.set_xlabel("instances")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0.0)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, ncols=4, loc="outside upper center", fontsize=8)


FIG17: Final = Study(
    name="fig17",
    title="Fig. 17: GPUs of a large cluster",
    source="Section 5.5, Fig. 17",
    setup=(
        "Up to 3,200 instances (training : LLM : other inference = 2:2:6), one start a second, a part of "
        "which stop again, on 1,000 nodes of four GPUs. Nothing is served: what counts is where they fit."
    ),
    cells=_cells,
    result=_result,
    size=(10.0, 3.6),
)
"""Registered in `experiments.paper.studies`."""
