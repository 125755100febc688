from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces.synthesis.curves import Curve

RATES = Curve(values=(0.1, 1.0, 100.0), shares=(0.2, 0.5, 1.0))
CVS = Curve(values=(0.0, 1.0, 3.0), shares=(0.0, 0.6, 1.0), logarithmic=False)


@given(st.floats(0.0, 1.0), st.sampled_from([RATES, CVS]))
def test_the_share_at_a_value_is_the_share_it_was_found_for(share: float, curve: Curve) -> None:
    """Inverse and curve undo each other, but for the shares that lie on the first point."""
    there_and_back = float(curve.share_at(curve.value_at(share)))
    assert there_and_back == pytest.approx(max(share, curve.shares[0]), abs=1e-9)


def test_between_its_points_a_curve_is_straight_on_its_axis() -> None:
    """Half way in shares is the geometric mean on a log axis, the arithmetic mean on a linear one."""
    assert RATES.value_at([0.1, 0.2, 0.75, 1.0]) == pytest.approx([0.1, 0.1, 10.0, 100.0])
    assert CVS.value_at([0.3, 0.8]) == pytest.approx([0.5, 2.0])


def test_nothing_lies_below_the_first_point_and_everything_below_the_last() -> None:
    """The share at a value steps from 0 to that of the first point, and ends at 1."""
    assert RATES.share_at([0.09, 0.1, 1e9]).tolist() == [0.0, 0.2, 1.0]


@given(st.floats(0.2, 1.0))
def test_values_on_a_log_axis_have_twelve_digits(share: float) -> None:
    """What is left of an exponential does not depend on its last bits."""
    value = float(RATES.value_at(share))
    assert value == float(f"{value:.11e}")
    assert isinstance(RATES.value_at(np.array([share])), np.ndarray)
