"""Table 2: how many profiling runs each sizing method needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from experiments.cells import Cell
from experiments.paper.claims import Claim, Finding, Row
from experiments.paper.study import Results, Scope, Study, StudyResult
from policies import Function
from policies.sizing import DiluSizing, GpuletSizing, InflessSizing, TraversalSizing
from profiles import load_catalog

MODELS: Final = ("resnet152", "roberta-large", "gpt2-large", "llama2-7b")

PUBLISHED: Final = {
    "traversal": (60, 60, 60, 60),
    "infless": (20, 40, 40, 30),
    "gpulet": (16, 16, 16, 16),
    "hgss": (8, 6, 6, 9),
}
"""Trials of the models in this order (Table 2)."""

METHODS: Final = {
    "traversal": TraversalSizing(),
    "infless": InflessSizing(),
    "gpulet": GpuletSizing(),
    "hgss": DiluSizing(),
}

TITLES: Final = {"traversal": "Traversal", "infless": "INFless", "gpulet": "GPUlet", "hgss": "Dilu (HGSS)"}


def _cells(scope: Scope) -> Sequence[Cell]:
    return ()


def _result(results: Results, scope: Scope) -> StudyResult:
    catalog = load_catalog()
    records = []
    for index, name in enumerate(MODELS):
        model = catalog.model(name)
        function = Function(
            name=name,
            kind=model.kind,
            model=model,
            memory_bytes=model.memory_bytes,
            slo_s=model.slo_s,
            output_tokens=model.output_tokens,
        )
        for method, sizing in METHODS.items():
            size = sizing.size(function, model.measure)
            records.append(
                {
                    "method": method,
                    "model": name,
                    "trials": size.trials,
                    "trials_paper": PUBLISHED[method][index],
                    "batch": size.batch,
                    "request": size.request,
                    "limit": size.limit,
                }
            )
    table = pd.DataFrame(records)
    return StudyResult(tuple(_row(record) for record in records), table, lambda figure: _draw(figure, table))


def _row(record: dict[str, object]) -> Row:
    claim = Claim(
        what=f"{TITLES[str(record['method'])]}: trials for {record['model']}",
        where="Table 2",
        unit="trials",
        stated="table",
        paper=float(str(record["trials_paper"])),
        neutral=60.0 if record["method"] != "traversal" else None,
    )
    row = Row(claim, Finding((float(str(record["trials"])),)))
    if row.verdict == "agrees":
        return row
    return Row(claim, row.finding, WHY[str(record["method"])])


WHY: Final = {
    "traversal": "",
    "infless": "INFless predicts; the paper does not say on which grid its predictor learned.",
    "gpulet": "",
    "hgss": (
        "The search of section 3.2, run on the measurements that the authors published, takes one step more "
        "than they count; it ends at the operating point that they deployed."
    ),
}


def _draw(figure: Figure, table: pd.DataFrame) -> None:
    axes = figure.add_subplot()
    width = 0.2
    for place, method in enumerate(METHODS):
        rows = table[table["method"] == method]
        at = [index + (place - 1.5) * width for index in range(len(MODELS))]
        bars = axes.bar(at, rows["trials"], width, label=TITLES[method])
        axes.bar_label(bars, fontsize=8)
        axes.scatter(at, rows["trials_paper"], marker="_", s=160, color="black", zorder=3)
    axes.scatter([], [], marker="_", s=160, color="black", label="paper")
    axes.set_xticks(range(len(MODELS)), MODELS)
    axes.set_ylabel("profiling trials")
    axes.legend(frameon=False, ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.16), fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


TABLE2 = Study(
    name="table2",
    title="Table 2: profiling trials",
    source="Section 3.2, Table 2",
    setup=(
        "The paper counts the trials, of some 30 s each, until a method has found batch and SM share of a "
        "model. We run the same searches on the latencies that the authors published for these models "
        "on an A100."
    ),
    cells=_cells,
    result=_result,
)
