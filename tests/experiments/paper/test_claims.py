from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.paper import Claim, Finding, Row, per_seed


def claim(**changed: object) -> Claim:
    """Return a claim of 1.5 times, no effect being 1."""
    values: dict[str, object] = {
        "what": "speed",
        "where": "Fig. 1",
        "unit": "ratio",
        "stated": "text",
        "paper": 1.5,
        "neutral": 1.0,
    }
    return Claim(**{**values, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ((1.5,), "agrees"),
        ((1.36, 1.64), "agrees"),
        ((1.64,), "agrees"),
        ((1.66,), "same direction"),
        ((1.1,), "same direction"),
        ((0.9,), "disagrees"),
        ((1.0,), "disagrees"),
        ((0.8, 1.6), "disagrees"),
    ],
)
def test_verdicts(ours: tuple[float, ...], verdict: str) -> None:
    """Within 10 % it agrees; else its whole interval has to be on the paper's side of no effect."""
    assert Row(claim(), Finding(ours)).verdict == verdict


def test_a_range_agrees_between_its_ends() -> None:
    """The tolerance is added at both."""
    ranged = claim(paper=(1.06, 1.29), tolerance=0.0, margin=0.01)
    assert [Row(ranged, Finding((x,))).verdict for x in (1.04, 1.05, 1.2, 1.3, 1.31)] == [
        "same direction",
        "agrees",
        "agrees",
        "agrees",
        "same direction",
    ]


def test_a_direction_is_all_that_some_claims_have() -> None:
    """Without a value nothing can agree."""
    lower = claim(paper=None, direction="below")
    assert Row(lower, Finding((0.9, 0.91))).verdict == "same direction"
    assert Row(lower, Finding((1.1,))).verdict == "disagrees"
    with pytest.raises(ValueError, match="a direction"):
        claim(paper=None)


def test_a_value_without_a_neutral_one_agrees_or_disagrees() -> None:
    """There is no direction to share."""
    assert Row(claim(neutral=None), Finding((2.0,))).verdict == "disagrees"


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12))
def test_the_interval_is_students(values: list[float]) -> None:
    """The same as SciPy's own."""
    finding = Finding(tuple(values))
    assert finding.interval is not None
    spread = stats.sem(values)
    low, high = (
        stats.t.interval(0.95, len(values) - 1, finding.mean, spread) if spread > 0 else (finding.mean,) * 2
    )
    assert finding.interval == pytest.approx((low, high), abs=1e-6)


def test_one_value_has_no_interval() -> None:
    """Nothing is random there."""
    assert Finding((3.0,)).interval is None


def test_a_seed_without_a_value_is_no_finding() -> None:
    """Rather than a mean over fewer seeds."""
    assert per_seed([1, 2.0]).values == (1.0, 2.0)
    with pytest.raises(ValueError, match="has no value"):
        per_seed([1.0, None])
    with pytest.raises(ValueError, match="finite"):
        Finding((float("nan"),))
