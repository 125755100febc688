"""Functions that share a GPU: what each system makes of them, over Exclusive with a GPU for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, StrMethodFormatter

from experiments.cells import Cell
from experiments.paper.claims import Claim, Finding, Row, per_seed
from experiments.paper.studies.colours import COLOURS, PAPER
from experiments.paper.studies.explained import explained
from experiments.paper.study import Results, Scope

TITLES: Final = {
    "exclusive": "Exclusive",
    "mps-l": "MPS-l",
    "mps-r": "MPS-r",
    "tgs": "TGS",
    "fast-gs": "FaST-GS",
    "dilu": "Dilu",
    "oracle": "bound",
}
"""As the paper calls the systems; the bound is ours."""

MODELS: Final = {
    "bert-base": "BERT-base",
    "gpt2-large": "GPT2-large",
    "llama2-7b": "LLaMA2-7B",
    "resnet152": "ResNet152",
    "roberta-large": "RoBERTa-large",
    "vgg19": "VGG19",
}
"""As people write the models."""

QUICK: Final = ("duration_s=60",)
"""What shortens an experiment."""

Summary = Mapping[str, Any]
Metric = Callable[[Summary], float | None]
"""A number of a summary; `None` where it does not apply."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A shipped experiment, perhaps with something changed, and what it is called in tables and figures."""

    experiment: str
    title: str
    changes: tuple[str, ...] = ()

    def cell(self, system: str, seed: int, scope: Scope) -> Cell:
        """Return its run under a system."""
        return Cell(self.experiment, system, seed, self.changes + (QUICK if scope.quick else ()))


class Measured:
    """Summaries of settings under systems, and ratios over seeds: both sides of one have the same seed.

    `summary` reads what a cell's `summary.json` has of what is asked for.
    """

    def __init__(
        self,
        results: Results,
        scope: Scope,
        settings: Sequence[Setting],
        systems: Sequence[str],
        summary: Callable[[Results, Cell], Summary] = Results.summary,
    ) -> None:
        self._seeds = scope.seeds
        self._summaries = {
            (setting, system, seed): summary(results, setting.cell(system, seed, scope))
            for setting in settings
            for system in systems
            for seed in scope.seeds
        }

    def value(self, setting: Setting, system: str, metric: Metric) -> Finding:
        """Return a metric itself."""
        return per_seed([metric(self._summaries[setting, system, seed]) for seed in self._seeds])

    def ratio(self, setting: Setting, system: str, base: str, metric: Metric) -> Finding:
        """Return a metric of a system over that of another one."""
        return divided(self.value(setting, system, metric), self.value(setting, base, metric))


def divided(above: Finding, below: Finding) -> Finding:
    """Divide seed by seed."""
    return Finding(tuple(a / b for a, b in zip(above.values, below.values, strict=True)))


def averaged(findings: Sequence[Finding]) -> Finding:
    """Return the mean of several findings, seed by seed."""
    return Finding(tuple(float(mean) for mean in np.mean([one.values for one in findings], axis=0)))


def judged(claim: Claim, finding: Finding, *, size: str, direction: str | None = None) -> Row:
    """Return the row with the sentence that belongs to its verdict, as `explained` does.

    Where the mean is on the paper's side of no effect and its interval is not, that is what is said.
    """
    row = explained(claim, finding, size=size, direction=direction)
    leans = claim.neutral is not None and (finding.mean - claim.neutral) * claim.side > 0.0
    return Row(claim, finding, _UNSETTLED) if leans and row.verdict == "disagrees" else row


_UNSETTLED: Final = "The mean is on the paper's side, but seeds differ too much to be sure."


def latency(function: str, percentile: str) -> Metric:
    """Return the metric of a percentile of a function's latency: `p50`, `p95`. Seconds."""

    def metric(summary: Summary) -> float | None:
        found: float | None = summary["functions"][function]["latency_s"][percentile]
        return found

    return metric


def training_speed(summary: Summary) -> float | None:
    """Return the steps a second of all training."""
    found: float | None = summary["training"]["steps_per_s"]
    return found


def gpus(summary: Summary) -> float | None:
    """Return the GPUs in use at the peak."""
    found: float | None = summary["peak_gpus"]
    return found


def columns(name: str, finding: Finding) -> dict[str, float]:
    """Return a finding as three columns of a table: mean and interval."""
    low, high = finding.interval or (finding.mean, finding.mean)
    return {name: finding.mean, f"{name}_low": low, f"{name}_high": high}


def grouped_bars(
    axes: Axes,
    groups: Sequence[str],
    heights: Mapping[str, Sequence[Finding]],
    paper: Mapping[tuple[int, str], tuple[float, float]],
    *,
    top: float | None = None,
) -> None:
    """Draw a bar for each group and system with its interval, and the paper's values, or ranges, in black.

    `paper` gives the least and the largest value of a group, by its index, and a system. A bar that is higher
    than `top` is cut off there and says how high it is.
    """
    width = 0.84 / len(heights)
    for place, (system, findings) in enumerate(heights.items()):
        at = [group + (place - (len(heights) - 1) / 2) * width for group in range(len(groups))]
        means = [one.mean for one in findings]
        ends = [one.interval or (one.mean, one.mean) for one in findings]
        spread = [
            [mean - low for mean, (low, _) in zip(means, ends, strict=True)],
            [high - mean for mean, (_, high) in zip(means, ends, strict=True)],
        ]
        axes.bar(
            at,
            means,
            width,
            yerr=spread,
            color=COLOURS[system],
            ecolor="0.35",
            error_kw={"elinewidth": 0.8},
            label=TITLES[system],
        )
        for group, (x, mean) in enumerate(zip(at, means, strict=True)):
            if top is not None and mean > top:
                axes.text(x, 1.01 * top, f"{mean:,.0f}", ha="center", va="bottom", fontsize=8)
            if (group, system) in paper:
                axes.vlines(x, *paper[group, system], color=PAPER, linewidth=1.5, zorder=4)
                axes.scatter([x, x], paper[group, system], marker="_", s=60, color=PAPER, zorder=4)
    if top is not None:
        axes.set_ylim(top=top)
    axes.set_xticks(range(len(groups)), groups, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def name_paper(axes: Axes) -> None:
    """Give the paper's marks an entry in the legend."""
    axes.scatter([], [], marker="_", s=60, color=PAPER, label="paper")


def logarithmic(axes: Axes, ticks: Sequence[float]) -> None:
    """Make the vertical axis logarithmic, with just these ticks, written out."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
