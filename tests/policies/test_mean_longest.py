from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.functions import mean_longest

tokens = st.lists(st.integers(1, 2000), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("answers", "batch", "expected"),
    [
        ([3, 1, 2, 8], 1, 3.5),
        ([3, 1, 2, 8], 2, 5.5),
        ([3, 1, 2, 8, 99], 2, 5.5),
        ([3, 1], 4, 3.0),
        ([], 4, 1.0),
    ],
)
def test_a_batch_takes_as_long_as_its_longest_answer(answers: list[int], batch: int, expected: float) -> None:
    """Batches are consecutive requests; the rest that fills none counts only where it is all there is."""
    assert mean_longest(np.array(answers, dtype=np.int32), batch) == expected


@given(answers=tokens, batch=st.integers(1, 20))
def test_it_lies_between_the_shortest_and_the_longest(answers: list[int], batch: int) -> None:
    """Equal answers take what each of them takes; a batch of all takes the longest."""
    column = np.array(answers, dtype=np.int32)
    assert min(answers) <= mean_longest(column, batch) <= max(answers)
    assert mean_longest(column, len(answers)) == max(answers)
    assert mean_longest(np.full(7, answers[0], dtype=np.int32), batch) == answers[0]
