"""Figure 11: what vertical scaling costs those that it scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.cells import Cell
from experiments.paper.claims import Claim, Finding, Row
from experiments.paper.studies.colours import COLOURS, PAPER
from experiments.paper.studies.shared_gpu import MODELS, judged, logarithmic
from experiments.paper.study import Results, Scope, Study, StudyResult
from profiles import load_catalog

TRAINING: Final = {"bert-base": 0.992, "roberta-large": 0.987, "gpt2-large": 0.996, "llama2-7b": 0.997}
"""Throughput with Dilu over that without (Fig. 11)."""

LATENCY: Final = {1: 1.003, 2: 1.008, 4: 1.008, 8: 1.001}
"""Latency of inference with Dilu over that without, by instances on the GPU (Fig. 11)."""

SERVED: Final = "roberta-large"
"""Assumed: the text does not name the model."""

BARE_LAUNCH_NS: Final = 2.5
"""A call of a driver that does nothing (`benchmarks/gate_cost.py`, benchmarks/README.md)."""

GATED: Final = 13.0
"""The dearest gate, which charges kernels by their time: times the bare call (the same)."""

LAUNCH_S: Final = (GATED - 1.0) * BARE_LAUNCH_NS * 1e-9
"""What our gate adds to a launch that finds its tokens. Seconds."""

GIVEN_PERCENT: Final = 0.1
"""The paper gives its values to a tenth of a percent."""


def _cells(scope: Scope) -> Sequence[Cell]:
    return ()


def _result(results: Results, scope: Scope) -> StudyResult:
    catalog = load_catalog()
    rows: list[Row] = []
    records: list[dict[str, object]] = []
    for name, paper in TRAINING.items():
        training = catalog.model(name).training
        assert training is not None, "all of these are trained"
        added = training.launches * LAUNCH_S / training.step_s(1.0)
        claim = _claim(f"{MODELS[name]}: training throughput lost", 100.0 * (1.0 - paper))
        rows.append(judged(claim, Finding((100.0 * added / (1.0 + added),)), size=_CHEAPER))
        records.append(_record("training", name, 1, training.launches, training.step_s(1.0), paper))
    served = catalog.model(SERVED)
    added = served.launches * LAUNCH_S / served.measure(1, 1.0)
    for instances, paper in LATENCY.items():
        claim = _claim(f"latency of inference added, {instances} on the GPU", 100.0 * (paper - 1.0))
        rows.append(judged(claim, Finding((100.0 * added,)), size=_CHEAPER))
        records.append(
            _record("inference", SERVED, instances, served.launches, served.measure(1, 1.0), paper)
        )
    table = pd.DataFrame(records)
    return StudyResult(tuple(rows), table, lambda figure: _draw(figure, table), (_DERIVED, _CONTROLLER))


def _claim(what: str, paper_percent: float) -> Claim:
    value = round(paper_percent, 1)
    return Claim(what, "Fig. 11", "%", "text", value, neutral=0.0, tolerance=0.0, margin=GIVEN_PERCENT)


_CHEAPER: Final = (
    "Ours charges a token bucket in shared memory; the paper's library counts blocks and asks a server by "
    "a socket every 5 ms. And ours is of a driver that does nothing on an idle CPU: what a busy one adds "
    "is not in it."
)

_DERIVED: Final = (
    "A simulator cannot measure overhead, and ours has none. What is set beside the paper's is worked out: "
    f"{1e9 * LAUNCH_S:.0f} ns a launch (our launch gate, charging by time, over a bare call of "
    f"{BARE_LAUNCH_NS} ns; benchmarks/gate_cost.py), times the launches of a step or of a batch of one, "
    "over how long that takes on a whole GPU. Launches are those of the profiles, counted as operators, "
    "not on a device."
)

_CONTROLLER: Final = (
    "The number of instances on a GPU changes nothing in it, since each charges a bucket of its own; the "
    "controller that ticks every 5 ms runs on a CPU beside them. The paper's is no function of their "
    "number either."
)


def _record(
    kind: str, model: str, instances: int, launches: int, iteration_s: float, paper: float
) -> dict[str, object]:
    added = launches * LAUNCH_S / iteration_s
    return {
        "kind": kind,
        "model": model,
        "instances": instances,
        "launches": launches,
        "iteration_s": iteration_s,
        "added_percent": 100.0 * added,
        "added_percent_paper": 100.0 * (1.0 / paper - 1.0 if kind == "training" else paper - 1.0),
    }


def _draw(figure: Figure, table: pd.DataFrame) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    training = table[table["kind"] == "training"]
    inference = table[table["kind"] == "inference"]
    _bars(left, training, [MODELS[name] for name in training["model"]])
    left.set_title("training", fontsize=9)
    left.set_ylabel("time added by vertical scaling [%]")
    logarithmic(left, (0.001, 0.01, 0.1, 1.0))
    left.set_ylim(0.001, 5.0)
    _bars(right, inference, [f"{instances}" for instances in inference["instances"]])
    right.set_title("inference", fontsize=9)
    right.set_xlabel("instances on the GPU")
    left.legend(frameon=False, fontsize=8, ncols=2, loc="upper right")


def _bars(axes: Axes, rows: pd.DataFrame, names: Sequence[str]) -> None:
    at = range(len(rows))
    bars = axes.bar(at, rows["added_percent"], 0.5, color=COLOURS["dilu"], label="our gate, worked out")
    axes.bar_label(bars, fmt="%.2g", fontsize=8, padding=1)
    axes.scatter(at, rows["added_percent_paper"], marker="_", s=200, color=PAPER, label="paper", zorder=3)
    axes.set_xticks(list(at), names, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


FIG11: Final = Study(
    name="fig11",
    title="Fig. 11: what vertical scaling costs",
    source="Section 5.2, Fig. 11",
    setup=(
        "The paper runs training and inference with Dilu's interception library and without. We cannot: "
        "this is our own launch gate, measured on a CPU, for as many launches as a step or a batch has."
    ),
    cells=_cells,
    result=_result,
    size=(8.0, 3.4),
)
"""Registered in `experiments.paper.studies`."""
