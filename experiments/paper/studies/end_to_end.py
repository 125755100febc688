"""What Figs. 15 and 16 share: the testbed's functions under each system and each ablation of Dilu."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from experiments.cells import Cell
from experiments.paper.claims import Finding, per_seed
from experiments.paper.studies.instance_time import reserved_share_seconds
from experiments.paper.study import Results, Scope

EXPERIMENT: Final = "paper-fig15"

SYSTEMS: Final = {
    "exclusive": "Exclusive",
    "infless+-l": "INFless+-l",
    "infless+-r": "INFless+-r",
    "dilu": "Dilu",
    "dilu-rc": "-RC",
    "dilu-wa": "-WA",
    "dilu-vs": "-VS",
}

SERVED: Final = ("roberta-large", "bert-base", "llama2-7b")
TRAINED: Final = ("bert-base-training", "roberta-large-training", "resnet152-training", "llama2-7b-training")

_QUICK: Final = ("duration_s=200",)

SETUP: Final = (
    "Four training and three inference functions (bursty, periodic and Poisson load) on five nodes of four "
    "GPUs, with the sizes, memory and stated throughputs of the artifact. Which functions and rates the "
    "paper had is not published; ours are assumed, the load is synthesized, and training goes on for the "
    "whole run."
)

Value = Callable[[Results, Cell], float]


def cell(system: str, seed: int, scope: Scope) -> Cell:
    """Return the run of a system."""
    return Cell(EXPERIMENT, system, seed, _QUICK if scope.quick else ())


def cells(scope: Scope, systems: Sequence[str] = tuple(SYSTEMS)) -> list[Cell]:
    """Return the runs of some systems, every seed."""
    return [cell(system, seed, scope) for seed in scope.seeds for system in systems]


def finding(results: Results, scope: Scope, value: Value, system: str) -> Finding:
    """Return a value of a system, one a seed."""
    return per_seed([value(results, cell(system, seed, scope)) for seed in scope.seeds])


def paired(
    results: Results, scope: Scope, value: Value, one: str, other: str, how: Callable[[float, float], float]
) -> Finding:
    """Return how a value of one system compares with that of another under the same load, one a seed."""
    ours = finding(results, scope, value, one).values
    theirs = finding(results, scope, value, other).values
    return per_seed([how(first, second) for first, second in zip(ours, theirs, strict=True)])


def difference(one: float, other: float) -> float:
    """Return by how much `one` is above `other`."""
    return one - other


def ratio(one: float, other: float) -> float:
    """Return how many times `other` goes into `one`."""
    return one / other


def mean_svr(results: Results, cell: Cell) -> float:
    """Return the SLO violation rate, the mean over functions, in percent."""
    return float(np.mean(_svrs(results, cell)))


def worst_svr(results: Results, cell: Cell) -> float:
    """Return the SLO violation rate of the function that has most, in percent."""
    return max(_svrs(results, cell))


def peak_gpus(results: Results, cell: Cell) -> float:
    """Return the most GPUs that were in use at once."""
    return float(results.summary(cell)["peak_gpus"])


def mean_gpus(results: Results, cell: Cell) -> float:
    """Return the GPUs in use, the mean over time."""
    return float(results.summary(cell)["mean_gpus"])


def training_speed(results: Results, cell: Cell) -> Mapping[str, float]:
    """Return the steps a second of each training function."""
    return {name: float(_functions(results, cell)[name]["training"]["steps_per_s"]) for name in TRAINED}


def per_share(results: Results, cell: Cell, functions: Sequence[str]) -> Mapping[str, float]:
    """Return requests, or steps, that a function completed for each GPU-second that was reserved for it.

    A function that completed nothing is left out: under other systems it had nothing to do either.
    """
    run = results.run(cell)
    completed = {name: _completed(_functions(results, cell)[name]) for name in functions}
    return {name: done / reserved_share_seconds(run, name) for name, done in completed.items() if done}


def _completed(function: Mapping[str, Any]) -> float:
    training = function["training"]
    return float(function["completed"] if training is None else training["steps"])


def _svrs(results: Results, cell: Cell) -> list[float]:
    functions = _functions(results, cell)
    return [100.0 * float(functions[name]["slo_violation_rate"] or 0.0) for name in SERVED]


def _functions(results: Results, cell: Cell) -> Mapping[str, Any]:
    functions: Mapping[str, Any] = results.summary(cell)["functions"]
    return functions
