from __future__ import annotations

import pytest

from analysis.agreement import Agreement, find_measure
from experiments.validation.causes import Evidence
from experiments.validation.judged import Row, judge_measure
from experiments.validation.punctuality import Punctuality

NOTHING = Evidence((), {}, {}, {}, Punctuality(None, None, None))


def judged(sim: list[float | None], real: list[float | None], tolerance: float | None = 0.05) -> Row:
    """Judge a median by its repeats."""
    return judge_measure(
        Agreement("vision", find_measure("p50"), tuple(sim), tuple(real)), tolerance, NOTHING
    )


@pytest.mark.parametrize(
    ("sim", "verdict"), [(1.04, "within"), (0.96, "within"), (1.06, "missed"), (0.94, "missed")]
)
def test_the_error_is_held_against_the_tolerance(sim: float, verdict: str) -> None:
    """In both directions; what misses has a cause, what does not has none."""
    row = judged([sim, sim], [1.0, 1.0])
    assert row.verdict == verdict
    assert (row.cause is None) == (verdict == "within")


def test_errors_of_opposite_signs_do_not_cancel() -> None:
    """20 % more and 20 % less are no agreement, although their mean is."""
    row = judged([1.2, 0.8], [1.0, 1.0])
    assert row.agreement.mean_error == pytest.approx(0.0)
    assert row.verdict == "missed"


def test_what_one_world_lacks_misses() -> None:
    """However well the other repeats agree."""
    assert judged([1.0, None], [1.0, 1.0]).verdict == "missed"
    assert judged([None], [1.0]).verdict == "missed"


def test_what_nobody_asked_for_is_not_judged() -> None:
    """Without a tolerance there is no verdict."""
    assert judged([2.0], [1.0], None) == Row(judged([2.0], [1.0]).agreement, None, None, None, None)


@pytest.mark.parametrize(
    ("sim", "conclusive"),
    [
        ([1.01, 1.011, 1.012], True),
        ([1.2, 1.201, 1.202], True),
        ([0.8, 0.801, 0.802], True),
        ([1.04, 1.05, 1.03], False),
        ([1.1, 1.0, 1.2], False),
        ([1.2], None),
    ],
)
def test_a_verdict_is_conclusive_if_the_interval_is_on_one_side(
    sim: list[float | None], conclusive: bool | None
) -> None:
    """Inside the tolerance, or outside; one repeat cannot tell."""
    assert judged(sim, [1.0] * len(sim)).conclusive is conclusive
