"""Figure 12: a surge, second by second."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.cells import Cell
from experiments.paper.claims import Claim, per_seed
from experiments.paper.studies import infless_series
from experiments.paper.studies.colours import COLOURS
from experiments.paper.studies.explained import explained
from experiments.paper.studies.infless_series import SERIES
from experiments.paper.studies.rated_scaling import STATED_RPS
from experiments.paper.study import Results, Scope, Study, StudyResult
from recording import Run

EXPERIMENT: Final = "paper-fig12"
FUNCTION: Final = "roberta-large"
SCALE: Final = 25.0
WINDOW_S: Final = 40
"""Of lazy scaling."""

QUICK_S: Final = 200
"""What the short version plays."""

SHOWN_S: Final = (45, 30)
"""What is drawn before and after the launch."""

SAMPLED_S: Final = 0.02

SYSTEMS: Final = ("dilu", "dilu-vs")


@dataclass(frozen=True, slots=True)
class Surge:
    """From the first second above what the instances are scaled by, to the launch of one more.

    `quiet_s` is how long it had been below before, as far as lazy scaling looked back.
    """

    quiet_s: int
    onset_s: int
    launch_s: float
    ready_s: float

    @property
    def waited_s(self) -> float:
        """How long the surge lasted before scaling out answered."""
        return self.launch_s - self.onset_s


def _cell(system: str, seed: int, scope: Scope) -> Cell:
    changes = [f"duration_s={QUICK_S if scope.quick else SERIES['bursty'].values}"]
    if infless_series.at_hand():
        trace = {"trace": infless_series.replayed("bursty", SCALE)}
        changes.append(f"workload={json.dumps(trace)}")
    return Cell(EXPERIMENT, system, seed, tuple(changes))


def _seeds(scope: Scope) -> tuple[int, ...]:
    return scope.seeds[:1] if infless_series.at_hand() else scope.seeds


def _cells(scope: Scope) -> Sequence[Cell]:
    return [_cell(system, seed, scope) for seed in _seeds(scope) for system in SYSTEMS]


def _result(results: Results, scope: Scope) -> StudyResult:
    waits, ratios, records = [], [], []
    shown: tuple[Run, Surge] | None = None
    for seed in _seeds(scope):
        runs = {system: results.run(_cell(system, seed, scope)) for system in SYSTEMS}
        found = surges(runs["dilu"])
        if not found:
            continue
        shown = shown or (runs["dilu"], max(found, key=lambda surge: surge.quiet_s))
        p95_s = {system: _p95_within(run, found) for system, run in runs.items()}
        waits.append(float(np.mean([surge.waited_s for surge in found])))
        ratios.append(p95_s["dilu"] / p95_s["dilu-vs"])
        records.append(
            {
                "seed": seed,
                "surges": len(found),
                "waited_s": waits[-1],
                "p95_in_surge_s": p95_s["dilu"],
                "p95_in_surge_without_vertical_s": p95_s["dilu-vs"],
            }
        )
    assert shown is not None, "no surge of any seed made lazy scaling launch"
    rows = (
        explained(
            Claim(
                "from the beginning of a surge to the new instance",
                "Fig. 12",
                "s",
                "bars",
                25.0,
                neutral=0.0,
                margin=5.0,
            ),
            per_seed(waits),
            size=(
                "The rule launches after 20 s above capacity in a window of 40 s; surges of this load come "
                "with gaps or are met half-way through a window that an earlier action has emptied."
            ),
        ),
        explained(
            Claim(
                "p95 in surges until the new instance is ready, Dilu over Dilu without vertical scaling",
                "Section 3.5, Fig. 12",
                "ratio",
                "text",
                neutral=1.0,
                direction="below",
            ),
            per_seed(ratios),
            size=_NO_RELIEF,
        ),
    )
    run, surge = shown
    series = timeline(run, surge)
    remarks = (
        infless_series.named(),
        _READING,
    )
    return StudyResult(rows, pd.DataFrame(records), lambda figure: _draw(figure, series, surge), remarks)


_READING: Final = (
    "The figure has no numbers of its own beside its axes: a surge framed from 200 to 240 s, a new instance "
    "at about 225 s. The second row is what the text claims: vertical scaling absorbs a burst before "
    "horizontal scaling does."
)

_NO_RELIEF: Final = (
    "Where a surge is more than the running instances can serve even at their limits, latency is that of the "
    "queue, and shares change little about it."
)


def _function(run: Run) -> int:
    return [one.name for one in run.manifest.functions].index(FUNCTION)


def _rates(run: Run) -> NDArray[np.int64]:
    """Return the requests that arrive in each second."""
    arrivals_s = run.arrivals.arrival_s[run.arrivals.of(_function(run))]
    return np.bincount(arrivals_s.astype(np.int64), minlength=int(run.manifest.simulated_s))


def surges(run: Run) -> list[Surge]:
    """Return what made scaling launch: a surge for each cold start."""
    rates = _rates(run)
    instances = run.instances[run.instances["function"] == _function(run)].sort_values("launch_s")
    actions_s = sorted({*instances["launch_s"], *instances["retire_s"].dropna()})
    found = []
    cold = instances[instances["cold"]]
    for launch_s, ready_s in zip(cold["launch_s"].to_numpy(), cold["ready_s"].to_numpy(), strict=True):
        before = instances[instances["launch_s"] < launch_s]
        live = int((before["retire_s"].isna() | (before["retire_s"] >= launch_s)).sum())
        earlier_s = max((time_s for time_s in actions_s if time_s < launch_s), default=0.0)
        first = max(int(launch_s) - WINDOW_S, int(earlier_s), 0)
        above = np.flatnonzero(rates[first : int(launch_s)] > live * STATED_RPS[FUNCTION])
        if len(above):
            until_s = run.manifest.simulated_s if np.isnan(ready_s) else float(ready_s)
            found.append(Surge(int(above[0]), first + int(above[0]), float(launch_s), until_s))
    return found


def _p95_within(run: Run, found: Sequence[Surge]) -> float:
    """Return the 95th percentile of the latency of requests that arrived in surges, in seconds."""
    function = _function(run)
    here = run.arrivals.of(function)
    arrivals_s = run.arrivals.arrival_s[here]
    end_s = run.request_columns.end_s[here]
    within = np.zeros(len(arrivals_s), dtype=np.bool_)
    for surge in found:
        within |= (arrivals_s >= surge.onset_s) & (arrivals_s < surge.ready_s)
    latency_s = (end_s - arrivals_s)[within]
    return float(np.nanpercentile(latency_s, 95))


def timeline(run: Run, surge: Surge) -> pd.DataFrame:
    """Return what happened around a surge, a row a second.

    Its columns: `rate_rps`, `capacity_rps` (what the instances are scaled by), `ready` instances, `p95_s` of
    the requests that arrived, and `quota`, the mean over instances of the share that they might use.
    """
    function = _function(run)
    begin_s = max(0, int(surge.launch_s) - SHOWN_S[0])
    end_s = min(int(run.manifest.simulated_s), int(surge.launch_s) + SHOWN_S[1])
    here = run.arrivals.of(function)
    arrivals_s = run.arrivals.arrival_s[here]
    latency_s = pd.Series(run.request_columns.end_s[here] - arrivals_s)
    p95_s = latency_s.groupby(arrivals_s.astype(np.int64)).quantile(0.95)
    instances = run.instances[run.instances["function"] == function]
    rates = _rates(run)
    records = []
    for second in range(begin_s, end_s):
        stays = instances["retire_s"].isna() | (instances["retire_s"] > second)
        live = stays & (instances["launch_s"] <= second)
        ready = stays & (instances["ready_s"] <= second)
        records.append(
            {
                "second": second,
                "rate_rps": int(rates[second]),
                "capacity_rps": int(live.sum()) * STATED_RPS[FUNCTION],
                "ready": int(ready.sum()),
                "p95_s": float(p95_s.get(second, np.nan)),
                "quota": _mean_quota(run, instances["instance"][ready].tolist(), second),
            }
        )
    return pd.DataFrame(records)


def _mean_quota(run: Run, instances: Sequence[int], second: int) -> float:
    """Return the mean quota of some instances over a second."""
    if not instances:
        return float("nan")
    at_s = second + np.arange(0.0, 1.0, SAMPLED_S)
    means = []
    for instance in instances:
        rows = run.quotas[run.quotas["instance"] == instance]
        last = np.searchsorted(rows["time_s"].to_numpy(), at_s, side="right") - 1
        means.append(float(rows["quota"].to_numpy()[np.maximum(last, 0)].mean()))
    return float(np.mean(means))


def _draw(figure: Figure, series: pd.DataFrame, surge: Surge) -> None:
    load, shares, latency = figure.subplots(3, 1, sharex=True)
    second, colour = series["second"], COLOURS["dilu"]
    load.step(second, series["rate_rps"], where="post", color="0.4", label="requests")
    load.step(
        second,
        series["capacity_rps"],
        where="post",
        color=colour,
        label=f"instances x {STATED_RPS[FUNCTION]:g}",
    )
    load.set_ylabel("[req/s]")
    load.set_ylim(bottom=0.0)
    load.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.08), ncols=2)
    shares.step(second, series["quota"], where="post", color=colour)
    shares.set_ylabel("quota\n[share of SMs]")
    shares.set_ylim(0.0, 0.7)
    latency.step(second, 1e3 * series["p95_s"], where="post", color=colour)
    latency.set_ylim(bottom=0.0)
    latency.set_ylabel("p95 [ms]")
    latency.set_xlabel("time [s]")
    marks = ((surge.onset_s, "surge"), (surge.launch_s, "launched"), (surge.ready_s, "ready"))
    for axes in (load, shares, latency):
        for at_s, _ in marks:
            axes.axvline(at_s, color="0.7", linewidth=0.8, zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
    for at_s, name in marks:
        load.text(at_s, 1.02, name, transform=load.get_xaxis_transform(), ha="center", fontsize=8)


FIG12: Final = Study(
    name="fig12",
    title="Fig. 12: a surge, second by second",
    source="Section 5.3, Fig. 12",
    setup=(
        "The paper follows one function through a surge. We serve RoBERTa-large beside a training job on "
        "four GPUs, traces times 25, and look at each launch: when its surge began, when it came, and what "
        "the running instances did meanwhile. Drawn is the one with most quiet before it."
    ),
    cells=_cells,
    result=_result,
    size=(8.0, 5.0),
)
"""Registered in `experiments.paper.studies`."""
