from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from experiments.paper import Claim, Finding
from experiments.paper.studies.colours import COLOURS
from experiments.paper.studies.shared_gpu import TITLES, averaged, divided, grouped_bars, judged

VALUES = st.lists(st.floats(0.1, 10.0), min_size=2, max_size=5)


@given(VALUES)
def test_a_ratio_is_taken_seed_by_seed(values: list[float]) -> None:
    """Of itself it is 1 at every seed, however much seeds differ."""
    assert divided(Finding(tuple(values)), Finding(tuple(values))).values == pytest.approx(
        [1.0] * len(values)
    )


@given(VALUES, st.floats(0.1, 10.0))
def test_a_mean_of_findings_is_taken_seed_by_seed(values: list[float], factor: float) -> None:
    """The mean over settings keeps a value a seed."""
    other = Finding(tuple(factor * value for value in values))
    means = averaged([Finding(tuple(values)), other]).values
    assert means == pytest.approx([value * (1.0 + factor) / 2.0 for value in values])


@pytest.mark.parametrize(
    ("values", "why"),
    [((2.0, 2.1), ""), ((1.4, 1.41), "size"), ((0.8, 0.81), "direction"), ((1.0, 1.8), "seeds differ")],
)
def test_a_row_says_what_its_verdict_asks_for(values: tuple[float, ...], why: str) -> None:
    """Also where only the spread of seeds is in the way."""
    claim = Claim("latency", "Fig. 0", "ratio", "text", 2.0, neutral=1.0)
    row = judged(claim, Finding(values), size="the size", direction="the direction")
    assert why in row.why
    assert bool(row.why) == bool(why)


def test_every_system_has_a_colour_of_its_own() -> None:
    """Among those that stand in one figure."""
    assert len({COLOURS[system] for system in TITLES}) == len(TITLES)


def test_a_bar_that_is_cut_off_says_how_high_it_is() -> None:
    """And the others say nothing."""
    axes = Figure().add_subplot()
    heights = {"tgs": [Finding((1234.0,)), Finding((2.0,))], "dilu": [Finding((1.0,)), Finding((1.5,))]}
    grouped_bars(axes, ["a", "b"], heights, {}, top=4.0)
    assert [text.get_text() for text in axes.texts] == ["1,234"]
