from __future__ import annotations

import pytest

from experiments.paper import Claim, per_seed
from experiments.paper.studies.explained import UNDECIDED, explained

CLAIM = Claim("a ratio", "Fig. 0", "ratio", "text", 2.0, neutral=1.0)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ((2.0, 2.1), ""),
        ((3.0, 3.1), "size"),
        ((0.5, 0.6), "direction"),
        ((1.0, 1.0), "direction"),
        ((0.9, 1.8), UNDECIDED),
    ],
)
def test_the_sentence_is_that_of_the_verdict(values: tuple[float, ...], why: str) -> None:
    """None where it agrees; else why the size differs, why the direction, or that seeds do not say."""
    assert explained(CLAIM, per_seed(values), size="size", direction="direction").why == why


def test_one_sentence_may_do_for_both() -> None:
    """Without one for the direction it is that for the size."""
    assert explained(CLAIM, per_seed((0.5, 0.6)), size="size").why == "size"
