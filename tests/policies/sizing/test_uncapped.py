from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made import training

from policies.functions import Function, Size
from policies.sizing import DiluSizing, UncappedSizing
from policies.testing import check_policy
from profiles import load_catalog

CATALOG = load_catalog()


@pytest.mark.parametrize("name", sorted(CATALOG.models))
def test_only_the_limit_differs_from_dilu_s_size(name: str) -> None:
    """Batch, request, need and trials are those of growth search; nobody is capped."""
    model = CATALOG.model(name)
    function = Function(name, model.kind, model, model.memory_bytes, model.slo_s, model.output_tokens)
    size = UncappedSizing().size(function, model.measure)
    profiled = DiluSizing().size(function, model.measure)
    assert size == replace(profiled, limit=1.0)
    assert size.needed == profiled.request


def test_training_is_not_capped_either() -> None:
    """The request is what bisection found."""
    function = training()
    measure = function.model.measurement("training")
    profiled = DiluSizing().size(function, measure)
    assert UncappedSizing().size(function, measure) == replace(profiled, limit=1.0)
    assert profiled.limit < 1.0


def test_a_pinned_size_loses_its_cap() -> None:
    """Pinned or profiled, the system reserves a request alone; a need stays what it was."""
    assert UncappedSizing().reserve(Size(2, 0.3, 0.6)) == Size(2, 0.3, 1.0)
    assert UncappedSizing().reserve(Size(2, 0.5, 0.6, need=0.3)).needed == 0.3


def test_uncapped_sizing_conforms() -> None:
    """It keeps the sizing slot's contract."""
    assert check_policy(UncappedSizing()) == ("sizing",)
