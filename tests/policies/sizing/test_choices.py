from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hand_made import function
from hypothesis import given
from hypothesis import strategies as st

from policies.functions import Function, Size
from policies.sizing import InflessSizing, NonUniformSizing, SizingError
from policies.slots import OffersChoices
from policies.testing import check_policy
from profiles import LatencySurface, load_catalog

CATALOG = load_catalog()
SIZING = NonUniformSizing()


def served(name: str) -> Function:
    """Return a serving function with the model's defaults."""
    model = CATALOG.model(name)
    return Function(name, model.kind, model, model.memory_bytes, model.slo_s, model.output_tokens)


def by_hand(batch: int, share: float) -> float:
    """10 ms a request on a tenth of the GPU, and less on more of it."""
    return batch * 0.001 / share


def test_choices_by_hand() -> None:
    """SLO 27.5 ms, no margin: a batch of 1 within it, larger ones within half; rates as INFless's."""
    sizing = NonUniformSizing(shares=(0.1, 0.2), batches=(1, 2, 4), margin=0.0)
    choices = sizing.choices(function(slo_s=0.0275), by_hand)
    found = {(c.size.batch, c.size.request): (c.service_s, c.least_rps, c.most_rps) for c in choices}
    assert list(found) == [(1, 0.1), (1, 0.2), (2, 0.2)]
    assert found[1, 0.1] == pytest.approx((0.010, 1.0, 100.0))
    assert found[1, 0.2] == pytest.approx((0.005, 1.0, 200.0))
    assert found[2, 0.2] == pytest.approx((0.010, 2 / 0.0175, 200.0))


def test_the_margin_is_in_the_times() -> None:
    """Predictions exceed measurements by a tenth: one tenth of the GPU takes 11 ms, and serves less."""
    (choice,) = NonUniformSizing(shares=(0.1,), batches=(1,)).choices(function(slo_s=0.012), by_hand)
    assert (choice.service_s, choice.most_rps) == pytest.approx((0.011, 1 / 0.011))
    with pytest.raises(SizingError, match="serves"):
        NonUniformSizing(shares=(0.1,), batches=(1,)).choices(function(slo_s=0.0109), by_hand)


def test_an_answer_takes_as_many_steps_as_it_has_tokens() -> None:
    """The SLO is per token, the rates are of requests: ten tokens, a tenth of the rates."""
    sizing = NonUniformSizing(shares=(0.2,), batches=(1, 2), margin=0.0)
    llm = function(kind="llm", slo_s=0.0275, output_tokens=10)
    one, two = sizing.choices(llm, by_hand)
    assert (one.service_s, one.least_rps, one.most_rps) == pytest.approx((0.05, 1.0, 20.0))
    assert (two.service_s, two.least_rps, two.most_rps) == pytest.approx((0.1, 2 / 0.175, 20.0))
    long = replace(llm, output_tokens=1000)
    slow = sizing.choices(long, by_hand)[0]
    assert (slow.least_rps, slow.most_rps) == pytest.approx((0.2, 0.2))


@pytest.mark.parametrize("name", sorted(CATALOG.models))
def test_the_most_efficient_choice_is_infless_s_size(name: str) -> None:
    """`size` is that of `InflessSizing`, is on offer, and none on offer serves more per share."""
    measure = CATALOG.model(name).measure
    size = SIZING.size(served(name), measure)
    assert size == InflessSizing().size(served(name), measure)
    choices = SIZING.choices(served(name), measure)
    assert replace(size, trials=0) in [choice.size for choice in choices]
    best = max(choice.most_rps / choice.size.request for choice in choices)
    chosen = next(c for c in choices if c.size == replace(size, trials=0))
    assert chosen.most_rps / size.request == pytest.approx(best)


@given(
    floor_s=st.floats(1e-4, 0.2),
    per_request_s=st.floats(1e-4, 0.05),
    slo_s=st.floats(1e-3, 2.0),
    tokens=st.integers(1, 500),
)
def test_every_point_in_time_is_on_offer_and_none_else(
    floor_s: float, per_request_s: float, slo_s: float, tokens: int
) -> None:
    """The grid's points that meet the SLO, once each, in order, with rates from the least to the most."""
    measure = LatencySurface(floor_s, 0.0, per_request_s, 0.0, 4.0).seconds
    asked = function(slo_s=slo_s, output_tokens=tokens)
    grid = product((1, 2, 4, 8), (0.1, 0.2, 0.3, 0.4, 0.5))  # the model's largest batch is 8
    in_time = [(b, s) for b, s in grid if measure(b, s) * 1.1 <= (slo_s if b == 1 else slo_s / 2)]
    if not in_time:
        with pytest.raises(SizingError, match="serves"):
            SIZING.choices(asked, measure)
        return
    choices = SIZING.choices(asked, measure)
    assert [(c.size.batch, c.size.request) for c in choices] == in_time
    for choice in choices:
        assert choice.size.limit == choice.size.request
        assert 0.0 < choice.least_rps <= choice.most_rps
        assert choice.most_rps == pytest.approx(choice.size.batch / choice.service_s)


def test_a_pinned_size_is_the_only_choice() -> None:
    """Also one that nobody would choose; too slow to wait for a batch, it is for its full rate alone."""
    pinned = Size(2, 0.2, 0.4)
    sizing = NonUniformSizing(margin=0.0)
    (choice,) = sizing.choices(function(size=pinned, slo_s=0.05), by_hand)
    assert choice.size == pinned
    assert (choice.service_s, choice.least_rps, choice.most_rps) == pytest.approx((0.01, 50.0, 200.0))
    (late,) = sizing.choices(function(size=pinned, slo_s=0.005), by_hand)
    assert late.least_rps == late.most_rps == pytest.approx(200.0)
    (free,) = sizing.choices(function(size=pinned, slo_s=None), by_hand)
    assert (free.least_rps, free.most_rps) == pytest.approx((0.0, 200.0))


def test_choices_need_an_slo() -> None:
    """Without one, nothing says what is in time."""
    with pytest.raises(SizingError, match="serves: slo_s: found none"):
        SIZING.choices(function(slo_s=None), by_hand)


def test_non_uniform_sizing_conforms() -> None:
    """It keeps the sizing slot's contract, and offers the same choices when asked again."""
    assert check_policy(SIZING) == ("sizing",)
    assert isinstance(SIZING, OffersChoices)
    measure = CATALOG.model("resnet152").measure
    assert SIZING.choices(served("resnet152"), measure) == SIZING.choices(served("resnet152"), measure)
