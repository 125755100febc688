from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.cycles import CYCLE_BASELINES, CycleMeter

SECONDS = st.floats(1e-4, 10.0)


def pressures(baseline: str, *cycles: tuple[float, int, float]) -> list[float]:
    """Return the pressure of each (cycle_s, batch, uncontended_s), one after the other."""
    meter = CycleMeter(baseline)
    return [meter.pressure(*cycle) for cycle in cycles]


def test_uncontended_compares_with_the_profile_alone() -> None:
    """Neither a shorter cycle seen before nor a larger batch moves the baseline."""
    cycles = [(0.020, 1, 0.020), (0.050, 1, 0.025), (0.010, 4, 0.020), (0.040, 4, 0.040)]
    assert pressures("uncontended", *cycles) == pytest.approx([1.0, 2.0, 0.5, 1.0])


def test_minimum_confounds_batch_size_with_contention() -> None:
    """The paper's T_min: after a single request of 20 ms, an undisturbed 40 ms batch is at 2."""
    assert pressures("minimum", (0.020, 1, 0.020), (0.040, 4, 0.040)) == pytest.approx([1.0, 2.0])


def test_batch_minimum_keeps_one_baseline_a_batch_size() -> None:
    """The same batch of four is at pressure 1; a slower one of its own size is not."""
    cycles = [(0.020, 1, 0.020), (0.040, 4, 0.040), (0.060, 4, 0.040)]
    assert pressures("batch-minimum", *cycles) == pytest.approx([1.0, 1.0, 1.5])


@pytest.mark.parametrize("baseline", ["minimum", "batch-minimum"])
def test_a_minimum_starts_from_the_profile(baseline: str) -> None:
    """Beside training from the start, the first cycle seen is already a contended one."""
    assert pressures(baseline, (0.050, 1, 0.025)) == pytest.approx([2.0])


@pytest.mark.parametrize("baseline", ["minimum", "batch-minimum"])
def test_a_shorter_cycle_lowers_a_minimum_for_good(baseline: str) -> None:
    """A cycle shorter than the profile says is the new T_min."""
    assert pressures(baseline, (0.020, 2, 0.025), (0.030, 2, 0.025)) == pytest.approx([1.0, 1.5])


@given(
    baseline=st.sampled_from(["minimum", "batch-minimum"]),
    cycles=st.lists(st.tuples(SECONDS, st.integers(1, 8), SECONDS), min_size=1),
)
def test_no_cycle_is_shorter_than_the_minimum(baseline: str, cycles: list[tuple[float, int, float]]) -> None:
    """Against a minimum, pressure never falls below 1."""
    assert min(pressures(baseline, *cycles)) >= 1.0


def test_an_unknown_baseline_names_the_known_ones() -> None:
    """A typing error in the configuration is answered with what is allowed."""
    with pytest.raises(ValueError, match="found 'average', allowed are uncontended, batch-minimum, minimum"):
        CycleMeter("average")
    assert CYCLE_BASELINES == ("uncontended", "batch-minimum", "minimum")
