"""Figure 8: inference beside inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.cells import Cell
from experiments.paper.claims import Claim, Finding, Row
from experiments.paper.studies.shared_gpu import (
    MODELS,
    Measured,
    Setting,
    Summary,
    averaged,
    columns,
    grouped_bars,
    judged,
    latency,
)
from experiments.paper.study import Results, Scope, Study, StudyResult

AZURE: Final = {
    Setting("paper-fig8a-roberta-bert", "8a"): ("roberta-large", "bert-base"),
    Setting("paper-fig8a-vgg19-gpt2", "8a"): ("vgg19", "gpt2-large"),
}
POISSON: Final = {
    Setting("paper-fig8b-roberta-gpt2", "8b"): ("roberta-large", "gpt2-large"),
    Setting("paper-fig8b-vgg19-llama2", "8b"): ("vgg19", "llama2-7b"),
}
"""Pairs and their functions; the first is TGS's production job."""

SYSTEMS: Final = ("exclusive", "mps-l", "mps-r", "tgs", "fast-gs", "dilu")

STARVED_P50: Final = 442.0
STARVED_P95: Final = 405.0
"""TGS over Dilu (section 5.2)."""

NEGLIGIBLE: Final = ("bert-base", "vgg19")
"""Where FaST-GS is hardly behind MPS-l (section 5.2)."""

TOP: Final = 4.0
"""Where bars are cut off: those of starved functions would hide the others."""

Pairs = Mapping[Setting, tuple[str, str]]


def _cells(scope: Scope) -> Sequence[Cell]:
    return [
        setting.cell(system, seed, scope)
        for setting in (*AZURE, *POISSON)
        for system in SYSTEMS
        for seed in scope.seeds
    ]


def _result(results: Results, scope: Scope) -> StudyResult:
    measured = Measured(results, scope, (*AZURE, *POISSON), SYSTEMS, _with_unfinished)
    records = [
        _record(measured, setting, function, system)
        for setting, functions in {**AZURE, **POISSON}.items()
        for function in functions
        for system in SYSTEMS
    ]
    return StudyResult(
        rows=_rows(measured),
        table=pd.DataFrame(records),
        draw=lambda figure: _draw(figure, measured),
        remarks=(_said_of_starving(measured, scope), _READINGS),
    )


def _with_unfinished(results: Results, cell: Cell) -> Summary:
    """Return percentiles of latency over all requests; one that is not finished has waited until the end."""
    run = results.run(cell)
    functions = {}
    for index, function in enumerate(run.manifest.functions):
        here = run.arrivals.of(index)
        end_s = run.request_columns.end_s[here]
        until_s = np.where(np.isnan(end_s), run.manifest.simulated_s, end_s)
        p50_s, p95_s = np.percentile(until_s - run.arrivals.arrival_s[here], [50, 95])
        functions[function.name] = {"latency_s": {"p50": float(p50_s), "p95": float(p95_s)}}
    return {"functions": functions}


def _over(measured: Measured, pairs: Pairs, system: str, base: str, percentile: str) -> list[Finding]:
    """Return the ratio of a system's latency to another's, for each function of some pairs."""
    return [
        measured.ratio(setting, system, base, latency(function, percentile))
        for setting, functions in pairs.items()
        for function in functions
    ]


def _rows(measured: Measured) -> tuple[Row, ...]:
    where_a, where_b = "Section 5.2, Fig. 8a", "Section 5.2, Fig. 8b"
    rows = []
    for percentile, value in (("p50", STARVED_P50), ("p95", STARVED_P95)):
        claim = Claim(
            f"TGS's {percentile} over Dilu's, mean of functions", where_b, "ratio", "text", value, neutral=1.0
        )
        found = averaged(_over(measured, POISSON, "tgs", "dilu", percentile))
        rows.append(judged(claim, found, size=_STARVED))
    claim = Claim(
        "Dilu's p95 over that of MPS-l, mean of functions", where_b, "ratio", "text", 0.75, neutral=1.0
    )
    found = averaged(_over(measured, POISSON, "dilu", "mps-l", "p95"))
    rows.append(judged(claim, found, size=_LESS_AHEAD, direction=_BEHIND))
    claim = Claim(
        "LLaMA2-7B: Dilu's p95 over that of MPS-l",
        where_b,
        "ratio",
        "text",
        (1.0, 1.06),
        neutral=1.0,
        tolerance=0.0,
        margin=0.03,
    )
    setting = next(setting for setting, functions in POISSON.items() if "llama2-7b" in functions)
    found = measured.ratio(setting, "dilu", "mps-l", latency("llama2-7b", "p95"))
    rows.append(judged(claim, found, size=_BEHIND))
    claim = Claim(
        "p95 of MPS-r over that of MPS-l, mean of functions",
        where_a,
        "ratio",
        "text",
        neutral=1.0,
        direction="above",
    )
    found = averaged(_over(measured, AZURE, "mps-r", "mps-l", "p95"))
    rows.append(judged(claim, found, size=_ONLY_A_DIRECTION, direction=_REQUESTS_SUFFICE))
    return (*rows, *_fast_gs_rows(measured))


def _fast_gs_rows(measured: Measured) -> list[Row]:
    """Set FaST-GS beside MPS-l, over both figures: in most cases, and where the gap is negligible."""
    by_function: dict[str, list[Finding]] = {}
    for setting, functions in {**AZURE, **POISSON}.items():
        for function in functions:
            ratio = measured.ratio(setting, "fast-gs", "mps-l", latency(function, "p95"))
            by_function.setdefault(function, []).append(ratio)
    where = "Section 5.2, Fig. 8"
    most = averaged([one for name, some in by_function.items() if name not in NEGLIGIBLE for one in some])
    claim = Claim(
        "p95 of FaST-GS over that of MPS-l, mean of functions but BERT-base and VGG19",
        where,
        "ratio",
        "text",
        neutral=1.0,
        direction="above",
    )
    rows = [judged(claim, most, size=_ONLY_A_DIRECTION, direction=_FREE_EVENTS)]
    for name in NEGLIGIBLE:
        claim = Claim(
            f"{MODELS[name]}: p95 of FaST-GS over that of MPS-l, 'negligible'",
            where,
            "ratio",
            "text",
            1.0,
            tolerance=0.05,
        )
        rows.append(judged(claim, averaged(by_function[name]), size=_PARTITION_SHARED))
    return rows


_STARVED: Final = (
    "TGS gives the job that is not its production job next to nothing, and a queue that is never served "
    "grows for as long as the run lasts: the ratio is a measure of the run's length (see the remark)."
)

_LESS_AHEAD: Final = (
    "Two light functions are seldom active together: how they share matters less than in the paper."
)

_BEHIND: Final = (
    "Dilu runs two busy functions on their requests, and tokens let their launches meet; MPS-l has the "
    "limit all the time, and in our law caps interfere only where they overlap. What else MPS leaves "
    "contended on a device (caches, memory bandwidth, the launch queue) is not modelled."
)

_ONLY_A_DIRECTION: Final = "The paper gives no number."

_REQUESTS_SUFFICE: Final = (
    "Here the peaks of the load do not exceed what the functions serve at their requests."
)

_FREE_EVENTS: Final = (
    "The paper blames CUDA events, which FaST-GShare records around every burst of kernels; they are not "
    "modelled, and its fluid turns flatter it."
)

_PARTITION_SHARED: Final = (
    "Partitions that do not fit beside each other take turns here, and a short batch waits for its turn; "
    "which windows of FaST-GShare the paper set is not published."
)

_READINGS: Final = (
    "Which functions are paired is only in the paper's picture. Loads of 8a are bursts of the mean and peak "
    "of the trace, not the trace; BERT-base's profile is the time of its tokenizer rather than the GPU's."
)


def _said_of_starving(measured: Measured, scope: Scope) -> str:
    """Say how long a run would have to starve a function to have the paper's ratio."""
    lengths = []
    for setting, (_, starved) in POISSON.items():
        p95_s = measured.value(setting, "dilu", latency(starved, "p95")).mean
        lengths.append(f"{MODELS[starved]} for {STARVED_P95 * p95_s / 0.95:.0f} s")
    duration_s = next(iter(POISSON)).cell("tgs", scope.seeds[0], scope).load().section.duration_s
    return (
        "A request that is unfinished at the end counts with the time that it has waited until then. "
        f"Without any service, p95 is thus 95 % of the time that has passed: {STARVED_P95:.0f} times Dilu's "
        f"p95 means starving {' or '.join(lengths)}; our runs last {duration_s:g} s."
    )


def _record(measured: Measured, setting: Setting, function: str, system: str) -> dict[str, object]:
    return {
        "figure": setting.title,
        "pair": " + ".join({**AZURE, **POISSON}[setting]),
        "function": function,
        "system": system,
        **columns("p50_s", measured.value(setting, system, latency(function, "p50"))),
        **columns("p95_s", measured.value(setting, system, latency(function, "p95"))),
        **columns("p50_ratio", measured.ratio(setting, system, "exclusive", latency(function, "p50"))),
        **columns("p95_ratio", measured.ratio(setting, system, "exclusive", latency(function, "p95"))),
    }


def _draw(figure: Figure, measured: Measured) -> None:
    panels = figure.subplots(2, 2, sharex="col", sharey=True)
    drawn = [system for system in SYSTEMS if system != "exclusive"]
    titles = ("8a: Azure, bursty", "8b: Poisson")
    for column, (pairs, title) in enumerate(zip((AZURE, POISSON), titles, strict=True)):
        functions = [MODELS[function] for some in pairs.values() for function in some]
        for row, percentile in enumerate(("p50", "p95")):
            axes = panels[row][column]
            heights = {system: _over(measured, pairs, system, "exclusive", percentile) for system in drawn}
            grouped_bars(axes, functions, heights, {}, top=TOP)
            axes.axhline(1.0, color="0.6", linewidth=0.8, zorder=0)
            axes.axvline(1.5, color="0.85", linewidth=0.8, zorder=0)
        panels[0][column].set_title(title, fontsize=9, pad=14)
    panels[0][0].set_ylabel("p50 [Exclusive = 1]")
    panels[1][0].set_ylabel("p95 [Exclusive = 1]")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, ncols=6, loc="outside upper center", fontsize=8)


FIG8: Final = Study(
    name="fig8",
    title="Fig. 8: inference beside inference",
    source="Section 5.2, Fig. 8",
    setup=(
        "The paper lets two functions share a GPU, under load as on Azure (8a) and Poisson load (8b). We "
        "do so with two pairs each; every number is of single functions, over the same function with a GPU "
        "of its own."
    ),
    cells=_cells,
    result=_result,
    size=(9.0, 5.0),
)
"""Registered in `experiments.paper.studies`."""
