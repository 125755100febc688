"""The stories that the shipped experiments on one GPU tell, in orders rather than numbers (Dilu, 5.2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from experiments import load_experiment, run_experiment

Summaries = Mapping[str, Mapping[str, Any]]
"""The summary of each system by its label."""


def story(name: str, seed: int, folder: Path) -> Summaries:
    """Run two minutes of a shipped experiment."""
    experiment = load_experiment(name, changes=("duration_s=120",), seed=seed)
    return {
        summary["system"]: summary for summary in run_experiment(experiment, out=folder / "run").summaries
    }


def steps(summaries: Summaries, system: str) -> float:
    """What training did."""
    return float(summaries[system]["training"]["steps"])


def p95_s(summaries: Summaries, system: str, function: str = "roberta-large") -> float:
    """95th percentile of a function's latency."""
    return float(summaries[system]["functions"][function]["latency_s"]["p95"])


@pytest.mark.parametrize("seed", [0, 1])
def test_training_beside_inference(seed: int, tmp_path: Path) -> None:
    """TGS leaves training a tenth of a GPU at most; all who share by quotas leave it far more, Dilu too.

    Nobody's inference is better off than alone, and nobody with Dilu's limits beats the bound.
    """
    ran = story("training-beside-inference", seed, tmp_path)
    alone = steps(ran, "exclusive")
    assert steps(ran, "tgs") < 0.1 * alone
    for system in ("mps-l", "mps-r", "fast-gs", "dilu", "dilu-vs", "oracle"):
        assert steps(ran, system) > 0.5 * alone
        assert p95_s(ran, system) > p95_s(ran, "exclusive")
        assert system == "oracle" or p95_s(ran, system) > p95_s(ran, "oracle")


@pytest.mark.parametrize("seed", [0, 1])
def test_inference_beside_inference(seed: int, tmp_path: Path) -> None:
    """Under TGS the second function starves for the first; under Dilu both meet their SLOs."""
    ran = story("inference-beside-inference", seed, tmp_path)
    alone_s = p95_s(ran, "exclusive", "gpt2-large")
    assert p95_s(ran, "tgs", "gpt2-large") >= 50 * alone_s
    assert p95_s(ran, "tgs") < 1.5 * p95_s(ran, "exclusive")
    for system in ("mps-l", "mps-r", "fast-gs", "dilu", "dilu-vs", "oracle"):
        assert p95_s(ran, system, "gpt2-large") < 10 * alone_s
    assert ran["dilu"]["slo_violation_rate"] < 0.01 < ran["tgs"]["slo_violation_rate"]


@pytest.mark.parametrize("seed", [0, 1])
def test_bursts_beside_training(seed: int, tmp_path: Path) -> None:
    """In bursts Dilu's p95 and violations lie between exclusive GPUs and both kinds of static MPS, and its
    training keeps a good part of what it has alone, unlike under TGS.
    """
    ran = story("bursts-beside-training", seed, tmp_path)
    assert p95_s(ran, "exclusive") < p95_s(ran, "oracle") < p95_s(ran, "dilu") < p95_s(ran, "mps-r")
    assert p95_s(ran, "mps-r") < p95_s(ran, "mps-l")
    violated = {system: ran[system]["functions"]["roberta-large"]["slo_violation_rate"] for system in ran}
    assert violated["exclusive"] < violated["dilu"] < min(violated["mps-r"], violated["mps-l"])
    assert steps(ran, "tgs") < 0.1 * steps(ran, "exclusive")
    assert steps(ran, "dilu") > 0.25 * steps(ran, "exclusive")
