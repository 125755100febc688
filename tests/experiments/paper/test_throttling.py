from __future__ import annotations

import pytest

from experiments.cells import Cell
from experiments.load import load_experiment
from experiments.paper.studies.throttling import wave_bound
from policies.vertical import Rckm
from profiles.contention import contention
from profiles.sharing import LAUNCH_TOKENS


class _Resident:
    """What the law asks of a resident that is at its limit."""

    def __init__(self, limit: float, wave_s: float) -> None:
        self.slo_sensitive, self.model, self.batch, self.part = True, "", 1, 1.0
        self.request = self.limit = self.quota = limit
        self.wave_s = wave_s


@pytest.mark.parametrize("served", ["resnet152", "gpt2-large", "roberta-large", "llama2-7b"])
def test_at_the_bound_a_cycle_is_just_at_the_threshold(served: str) -> None:
    """By the law of contention itself."""
    experiment = load_experiment(f"paper-fig7-{served}", systems=["dilu"])
    bound = wave_bound(Cell(f"paper-fig7-{served}", "dilu", 0))
    training, serving = experiment.functions
    assert training.size is not None
    assert serving.size is not None
    residents = [_Resident(serving.size.limit, 0.0), _Resident(training.size.limit, bound.wave_s)]
    _, (terms, _) = contention(residents, LAUNCH_TOKENS)
    alone_s = serving.model.measure(1, serving.size.limit)
    cycle_s = serving.model.measure(1, terms.share) + serving.model.launches * terms.delay_s
    eta = Rckm().eta_violation_llm if serving.kind == "llm" else Rckm().eta_violation
    assert cycle_s / alone_s == pytest.approx(1.0 + eta)
    assert bound.assumed_s == training.model.training.wave_s  # type: ignore[union-attr]
