from typing import Any

import pytest

from profiles import Capacity, Prefill, ProfileError


def test_a_line_gives_the_cost_of_any_batch() -> None:
    """A fixed part and one for each request."""
    assert Capacity("blocks", 1e6, line=(100.0, 20.0)).batch_cost(4) == 180.0


def test_measured_costs_are_met_and_joined() -> None:
    """At a batch that was measured its own cost, between two a part of the way, outside the line goes on."""
    capacity = Capacity("blocks", 1e6, measured=((1, 100.0), (4, 160.0), (8, 320.0)))
    assert [capacity.batch_cost(batch) for batch in (1, 4, 8)] == [100.0, 160.0, 320.0]
    assert (capacity.batch_cost(2), capacity.batch_cost(6)) == (120.0, 240.0)
    assert capacity.batch_cost(16) == 640.0
    assert Capacity("blocks", 1e6, measured=((4, 160.0), (8, 320.0), (9, 990.0))).batch_cost(2) == 80.0
    assert Capacity("time", 1e9, measured=((4, 160.0),)).batch_cost(8) == 320.0


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"cost_model": " "}, "cost_model"),
        ({"cost_per_s": 0.0}, "cost_per_s"),
        ({"line": None}, "batch_cost"),
        ({"measured": ((1, 1.0),)}, "batch_cost"),
        ({"line": (0.0, 0.0)}, "line"),
        ({"line": (-1.0, 2.0)}, "line"),
        ({"line": None, "measured": ((4, 1.0), (4, 2.0))}, "batch_cost: found batches"),
        ({"line": None, "measured": ((0, 1.0),)}, "batch_cost: found batches"),
        ({"line": None, "measured": ((1, 0.0),)}, "batch_cost: batch 1: found 0.0"),
    ],
)
def test_an_impossible_capacity_is_refused(values: dict[str, Any], field: str) -> None:
    """A gate that charges nothing, twice or in nothing is refused by the name of the field."""
    with pytest.raises(ProfileError, match=field):
        Capacity(**({"cost_model": "blocks", "cost_per_s": 1.0, "line": (1.0, 1.0)} | values))


def test_an_impossible_prefill_is_refused() -> None:
    """A prompt has tokens, and takes some time at some batch."""
    assert Prefill(128, ((1, 0.01), (4, 0.03))).seconds[1] == (4, 0.03)
    with pytest.raises(ProfileError, match="tokens: found 0"):
        Prefill(0, ((1, 0.01),))
    with pytest.raises(ProfileError, match="prefill: found no seconds"):
        Prefill(128, ())
    with pytest.raises(ProfileError, match="prefill: batch 1: found -1"):
        Prefill(128, ((1, -1.0),))
