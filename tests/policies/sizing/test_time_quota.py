from __future__ import annotations

import math

import pytest

from policies import Function, PolicyError, Size
from policies.sizing import DiluSizing, TimeQuotaSizing
from policies.testing import check_policy
from profiles import ModelProfile, load_catalog

CATALOG = load_catalog().models.values()


def serves(model: ModelProfile, size: Size | None = None) -> Function:
    """A function with the model's own SLO."""
    return Function(
        model.name, model.kind, model, model.memory_bytes, model.slo_s, model.output_tokens, size=size
    )


@pytest.mark.parametrize("model", CATALOG, ids=lambda model: model.name)
def test_the_quota_is_the_least_step_in_time(model: ModelProfile) -> None:
    """With that share of time on the limit a batch takes half the SLO at most; with a step less, more."""
    function = serves(model)
    size = TimeQuotaSizing().size(function, model.measure)
    dilu = DiluSizing().size(function, model.measure)
    assert (size.batch, size.limit, size.trials) == (dilu.batch, dilu.limit, dilu.trials + 1)
    quota = size.request / size.limit
    assert quota == pytest.approx(round(quota, 1))
    batch_s, target_s = model.measure(size.batch, size.limit), model.slo_s / 2
    assert batch_s / quota <= target_s + 1e-9 or quota == 1.0
    assert quota == pytest.approx(0.1) or batch_s / (quota - 0.1) > target_s - 1e-9


def test_a_pinned_size_stays() -> None:
    """What an experiment pins is not measured again."""
    model = next(iter(CATALOG))
    assert TimeQuotaSizing().size(serves(model, Size(2, 0.3, 0.6)), lambda batch, share: math.nan) == Size(
        2, 0.3, 0.6
    )


def test_it_keeps_the_contract() -> None:
    """And refuses a step that is none."""
    assert check_policy(TimeQuotaSizing()) == ("sizing",)
    with pytest.raises(PolicyError, match=r"quota_step: found 0.0, allowed are numbers in \(0, 1\]"):
        TimeQuotaSizing(quota_step=0.0)
