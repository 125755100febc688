"""Figure 15: violations, GPUs and training time end to end, with ablations of Dilu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.cells import Cell
from experiments.paper.claims import Claim, Finding, Row, per_seed
from experiments.paper.studies import end_to_end
from experiments.paper.studies.colours import COLOURS, PAPER
from experiments.paper.studies.end_to_end import SYSTEMS, difference, paired, ratio
from experiments.paper.studies.explained import explained
from experiments.paper.study import Results, Scope, Study, StudyResult

MEAN_SVR: Final = {
    "exclusive": 2.30,
    "infless+-l": 5.17,
    "infless+-r": 9.80,
    "dilu": 3.93,
    "dilu-rc": 3.27,
    "dilu-wa": 5.27,
    "dilu-vs": 10.10,
}
"""Percent (numbers printed in the figure)."""

_PLACE: Final = "Fig. 15"


def _cells(scope: Scope) -> Sequence[Cell]:
    return end_to_end.cells(scope)


def _result(results: Results, scope: Scope) -> StudyResult:
    rows = [_svr(results, scope)]
    rows += [_svr_above(results, scope, system) for system in SYSTEMS if system != "dilu"]
    rows += [*_without_vertical(results, scope), *_gpus(results, scope), *_training(results, scope)]
    table = _table(results, scope)
    return StudyResult(tuple(rows), table, lambda figure: _draw(figure, table), (_AFFINITY, _THROTTLING))


_AFFINITY: Final = (
    "-WA differs from Dilu only where a function that already shares a GPU with a training job gets another "
    "instance: with four training jobs that is seldom, and then best fit mostly chooses the same GPU."
)

_THROTTLING: Final = (
    "Training under Dilu pays more here than in the paper: in this model a launch cycle grows with the "
    "neighbour's tokens by a wait of 80 us a launch, which is assumed (docs/contention.md), so that "
    "emergencies throttle training often. Under MPS caps that fit beside each other nothing is disturbed at "
    "all, which flatters INFless+."
)

_LOAD: Final = (
    "Functions, rates and SLOs of the figure are not published, and the level of violations follows from "
    "them."
)

_CAPS: Final = (
    "MPS caps that fit beside each other cost nothing in this model, INFless+ launches in the first second "
    "of a burst, and lazy scaling after 20: on-off bursts, which rise at once, punish that."
)


def _svr(results: Results, scope: Scope) -> Row:
    claim = Claim("Dilu: mean SLO violation rate", _PLACE, "%", "bars", MEAN_SVR["dilu"], margin=1.0)
    return explained(claim, end_to_end.finding(results, scope, end_to_end.mean_svr, "dilu"), size=_LOAD)


def _svr_above(results: Results, scope: Scope, system: str) -> Row:
    claim = Claim(
        f"{SYSTEMS[system]}: mean SLO violation rate, points above Dilu's",
        _PLACE,
        "points",
        "bars",
        round(MEAN_SVR[system] - MEAN_SVR["dilu"], 2),
        neutral=0.0,
        margin=0.5,
    )
    found = paired(results, scope, end_to_end.mean_svr, system, "dilu", difference)
    reasons = {"dilu-wa": _AFFINITY, "infless+-l": _CAPS, "infless+-r": _CAPS}
    return explained(claim, found, size=_LOAD, direction=reasons.get(system, _LOAD))


def _without_vertical(results: Results, scope: Scope) -> list[Row]:
    why = (
        "Without vertical scaling training is never throttled, and a launch cycle beside it grows beyond the "
        "SLO of the LLM, whose stages all have training beside them; the paper's neighbours cost less."
    )
    rows = []
    for name, value, paper in (("mean", end_to_end.mean_svr, 2.58), ("worst", end_to_end.worst_svr, 3.03)):
        what = f"-VS over Dilu: {name} SLO violation rate"
        claim = Claim(what, "Section 5.4", "ratio", "text", paper, neutral=1.0)
        with_vertical = end_to_end.finding(results, scope, value, "dilu").values
        without = end_to_end.finding(results, scope, value, "dilu-vs").values
        pairs = [(base, other) for base, other in zip(with_vertical, without, strict=True) if base]
        if pairs:
            rows.append(explained(claim, per_seed([other / base for base, other in pairs]), size=why))
    return rows


def _gpus(results: Results, scope: Scope) -> list[Row]:
    why = (
        "GPUs follow the number of instances that the bursts call for, and our bursts are not the paper's; "
        "both are peaks."
    )
    exclusive = explained(
        Claim("Exclusive over Dilu: GPUs", "Section 5.4, Fig. 15", "ratio", "text", 1.5, neutral=1.0),
        paired(results, scope, end_to_end.peak_gpus, "exclusive", "dilu", ratio),
        size=why,
    )
    more = [
        explained(
            Claim(
                f"{SYSTEMS[system]}: GPUs above Dilu's",
                "Section 5.4, Fig. 15",
                "GPUs",
                "text",
                paper,
                neutral=0.0,
                margin=0.5,
            ),
            paired(results, scope, end_to_end.peak_gpus, system, "dilu", difference),
            size=why,
        )
        for system, paper in (("infless+-l", 3.0), ("dilu-rc", 1.0))
    ]
    return [exclusive, *more]


def _slow_down(results: Results, scope: Scope, system: str, base: str) -> Finding:
    """Return the time a step takes under one system over another, the mean over training functions."""
    values = []
    for seed in scope.seeds:
        ours = end_to_end.training_speed(results, end_to_end.cell(system, seed, scope))
        other = end_to_end.training_speed(results, end_to_end.cell(base, seed, scope))
        values.append(float(np.mean([other[name] / ours[name] for name in ours])))
    return per_seed(values)


def _training(results: Results, scope: Scope) -> list[Row]:
    return [
        explained(
            Claim("Dilu over Exclusive: time of training", _PLACE, "ratio", "bars", (1.0, 1.2), neutral=1.0),
            _slow_down(results, scope, "dilu", "exclusive"),
            size=(
                "Emergencies throttle training often here: how much a neighbour's launches wait is assumed "
                "(80 us each) and not measured."
            ),
        ),
        explained(
            Claim(
                "-VS over Dilu: time of training",
                "Section 5.4",
                "ratio",
                "text",
                neutral=1.0,
                direction="below",
            ),
            _slow_down(results, scope, "dilu-vs", "dilu"),
            size="The paper says slightly better, and no number.",
            direction="Static requests give training less here than tokens between request and limit.",
        ),
    ]


def _table(results: Results, scope: Scope) -> pd.DataFrame:
    records = []
    for system in SYSTEMS:
        record: dict[str, object] = {"system": system, "seeds": len(scope.seeds)}
        for name, found in (
            ("svr_percent", end_to_end.finding(results, scope, end_to_end.mean_svr, system)),
            ("worst_svr_percent", end_to_end.finding(results, scope, end_to_end.worst_svr, system)),
            ("peak_gpus", end_to_end.finding(results, scope, end_to_end.peak_gpus, system)),
            ("mean_gpus", end_to_end.finding(results, scope, end_to_end.mean_gpus, system)),
            ("training_time", _slow_down(results, scope, system, "exclusive")),
        ):
            low, high = found.interval or (found.mean, found.mean)
            record |= {name: found.mean, f"{name}_low": low, f"{name}_high": high}
        records.append(record | {"svr_percent_paper": MEAN_SVR[system]})
    return pd.DataFrame(records)


def _draw(figure: Figure, table: pd.DataFrame) -> None:
    svr, gpus, training = figure.subplots(1, 3)
    _bars(svr, table, "svr_percent", "mean SLO violation rate [%]")
    svr.set_yscale("symlog", linthresh=1.0)
    svr.set_ylim(bottom=0.0)
    svr.set_yticks([0, 1, 3, 10, 30, 100], ["0", "1", "3", "10", "30", "100"])
    svr.scatter(range(len(table)), table["svr_percent_paper"], marker="_", s=140, color=PAPER, zorder=3)
    svr.scatter([], [], marker="_", s=140, color=PAPER, label="paper")
    svr.legend(frameon=False, fontsize=8, loc="upper left")
    _bars(gpus, table, "peak_gpus", "GPUs at the peak")
    _bars(training, table, "training_time", "time of training over Exclusive")
    training.axhline(1.0, color="0.6", linewidth=0.8, zorder=0)


def _bars(axes: Axes, table: pd.DataFrame, name: str, label: str) -> None:
    errors = [table[name] - table[f"{name}_low"], table[f"{name}_high"] - table[name]]
    colours = [COLOURS[system] for system in table["system"]]
    axes.bar(range(len(table)), table[name], 0.75, yerr=errors, color=colours, ecolor="0.3")
    axes.set_xticks(
        range(len(table)), [SYSTEMS[system] for system in table["system"]], rotation=45, ha="right"
    )
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)


FIG15: Final = Study(
    name="fig15",
    title="Fig. 15: end to end, with ablations",
    source="Section 5.4, Fig. 15",
    setup=end_to_end.SETUP,
    cells=_cells,
    result=_result,
    size=(10.0, 3.8),
)
"""Registered in `experiments.paper.studies`."""
