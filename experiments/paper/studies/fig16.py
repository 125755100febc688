"""Figure 16: aggregate throughput, what a unit of the resources that are held brings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.cells import Cell
from experiments.paper.claims import Claim, Finding, Row, per_seed
from experiments.paper.studies import end_to_end
from experiments.paper.studies.colours import COLOURS, PAPER
from experiments.paper.studies.end_to_end import SERVED, SYSTEMS, TRAINED
from experiments.paper.studies.explained import explained
from experiments.paper.study import Results, Scope, Study, StudyResult

RIVALS: Final = ("exclusive", "infless+-l", "infless+-r")

PUBLISHED: Final = {
    ("inference", "exclusive"): 3.8,
    ("inference", "infless+-l"): 2.8,
    ("inference", "infless+-r"): 2.3,
    ("training", "exclusive"): 2.5,
    ("training", "infless+-l"): 2.1,
    ("training", "infless+-r"): 1.2,
}
"""Dilu's aggregate throughput over that of each."""

FUNCTIONS: Final = {"inference": SERVED, "training": TRAINED}


def _cells(scope: Scope) -> Sequence[Cell]:
    return end_to_end.cells(scope, (*RIVALS, "dilu"))


def _result(results: Results, scope: Scope) -> StudyResult:
    rows: list[Row] = []
    records = []
    for (kind, rival), paper in PUBLISHED.items():
        gains = _gains(results, scope, kind, rival)
        found = per_seed([float(np.mean(list(by_function.values()))) for by_function in gains])
        claim = Claim(
            f"Dilu over {SYSTEMS[rival]}: aggregate {kind} throughput",
            "Section 5.4, Fig. 16",
            "ratio",
            "text",
            paper,
            neutral=1.0,
        )
        rows.append(explained(claim, found, size=_WHY[kind], direction=_WHY_NOT[kind]))
        single = {name: [gain[name] for gain in gains if name in gain] for name in FUNCTIONS[kind]}
        for name, values in {"mean": found.values, **single}.items():
            if not values:
                continue
            one = Finding(tuple(values))
            low, high = one.interval or (one.mean, one.mean)
            records.append(
                {
                    "kind": kind,
                    "rival": rival,
                    "function": name,
                    "gain": one.mean,
                    "gain_low": low,
                    "gain_high": high,
                    "gain_paper": paper if name == "mean" else None,
                    "seeds": len(scope.seeds),
                }
            )
    table = pd.DataFrame(records)
    return StudyResult(tuple(rows), table, lambda figure: _draw(figure, table), (_DEFINITION, _SPLIT))


_DEFINITION: Final = (
    "The paper divides throughput by the resources that are occupied and does not say how these are counted. "
    "Here they are SM shares reserved, times time, summed over GPUs; it is the definition under which its "
    "ratios follow from its quotas (Dilu's training requests average 0.4, one over which is 2.5). The ratio "
    "is the mean over functions."
)

_SPLIT: Final = (
    "An LLM that Dilu splits over fragments reserves its request on every stage, as in the artifact: that "
    "saves a GPU and costs shares, which the count of shares charges in full."
)

_WHY: Final = {
    "inference": (
        "It follows the number of instances that each system keeps under this load, and the LLM, which Dilu "
        "splits, reserves its request on each stage."
    ),
    "training": "Training under Dilu is throttled more often than in the paper, at an assumed wait a launch.",
}

_WHY_NOT: Final = {
    "inference": "The LLM that Dilu splits reserves its request on each stage: that outweighs the others.",
    "training": (
        "Training under Dilu is throttled more often than in the paper, at an assumed wait a launch, while "
        "MPS caps that fit beside each other disturb nobody here."
    ),
}


def _gains(results: Results, scope: Scope, kind: str, rival: str) -> list[dict[str, float]]:
    """Return by seed and function what Dilu makes of a reserved share over what the rival does."""
    gains = []
    for seed in scope.seeds:
        ours = end_to_end.per_share(results, end_to_end.cell("dilu", seed, scope), FUNCTIONS[kind])
        other = end_to_end.per_share(results, end_to_end.cell(rival, seed, scope), FUNCTIONS[kind])
        gains.append({name: ours[name] / other[name] for name in ours if name in other})
    return gains


def _draw(figure: Figure, table: pd.DataFrame) -> None:
    for axes, kind in zip(figure.subplots(1, 2), FUNCTIONS, strict=True):
        rows = table[(table["kind"] == kind) & (table["function"] == "mean")]
        at = range(len(rows))
        errors = [rows["gain"] - rows["gain_low"], rows["gain_high"] - rows["gain"]]
        axes.bar(
            at, rows["gain"], 0.6, yerr=errors, color=[COLOURS[name] for name in rows["rival"]], ecolor="0.3"
        )
        axes.scatter(at, rows["gain_paper"], marker="_", s=300, color=PAPER, zorder=3, label="paper")
        single = table[(table["kind"] == kind) & (table["function"] != "mean")]
        place = [RIVALS.index(name) for name in single["rival"]]
        axes.scatter(place, single["gain"], s=14, color="0.25", zorder=2, label="one function")
        axes.axhline(1.0, color="0.6", linewidth=0.8, zorder=0)
        axes.set_xticks(at, [SYSTEMS[name] for name in rows["rival"]])
        axes.set_ylabel(f"{kind} throughput a reserved share,\nDilu over the other")
        axes.set_ylim(bottom=0.0)
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)


FIG16: Final = Study(
    name="fig16",
    title="Fig. 16: aggregate throughput",
    source="Section 5.4, Fig. 16",
    setup=f"{end_to_end.SETUP} The runs are those of Fig. 15.",
    cells=_cells,
    result=_result,
    size=(8.0, 3.6),
)
"""Registered in `experiments.paper.studies`."""
