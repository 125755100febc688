from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made import MODEL, function
from hypothesis import given
from hypothesis import strategies as st

from policies.start_up import FixedStartUp, PolledStartUp
from profiles import StartUp


@pytest.mark.parametrize(
    ("poll_s", "settle_s", "seconds"),
    [
        (1.0, 1.0, 4.0),
        (1.0, 0.0, 3.0),
        (0.5, 1.0, 3.5),
        (0.75, 0.0, 2.25),
        (0.0, 1.0, 3.25),
        (10.0, 1.0, 11.0),
    ],
)
def test_readiness_is_found_by_the_next_poll(poll_s: float, settle_s: float, seconds: float) -> None:
    """2.25 s of start-up are rounded up to the poll, and traffic follows when it has settled."""
    assert PolledStartUp(poll_s, settle_s).seconds(function()) == pytest.approx(seconds)


@given(container_s=st.floats(0.0, 100.0), poll_s=st.floats(0.01, 5.0))
def test_a_poll_costs_at_most_one_period(container_s: float, poll_s: float) -> None:
    """Readiness is never found before it is there, nor more than a period later."""
    slow = replace(MODEL, startup=StartUp(container_s, 0.0, 0.0, 0, 1.0, 0.0))
    seconds = PolledStartUp(poll_s, 0.0).seconds(function(model=slow))
    assert container_s - 1e-9 <= seconds <= container_s + poll_s + 1e-9


def test_a_fixed_start_up_is_fixed() -> None:
    """Every launch takes the same, by default nothing."""
    assert FixedStartUp().seconds(function()) == 0.0
    assert FixedStartUp(7.5).seconds(function()) == 7.5
