from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_parent import model

from profiles.contention import PAUSED, Terms
from realgpu.workers.backends.progress import Place, batch_s, step_s

ROBERTA = model("roberta-large")
LLAMA = model("llama2-7b")
SHARES = st.floats(0.05, 1.0)


@given(st.integers(1, 32), SHARES, st.floats(1, 5), st.floats(0, 1e-3))
def test_an_iteration_takes_its_work_and_its_launches(
    count: int, share: float, stretch: float, delay_s: float
) -> None:
    """Beside others a batch takes ``L(share) stretch + n delay``, a paused one for ever."""
    terms = Terms(share, 1.0, stretch, delay_s)
    wanted_s = ROBERTA.latency.seconds(count, share) * stretch + ROBERTA.launches * delay_s
    assert batch_s(ROBERTA, count, 1, [Place(1.0, terms)], fresh=True) == pytest.approx(wanted_s)
    for paused in (terms._replace(share=0.0), terms._replace(stretch=PAUSED)):
        assert math.isinf(batch_s(ROBERTA, count, 1, [Place(1.0, paused)], fresh=True))


@given(st.integers(1, 8), st.integers(1, 200), st.lists(SHARES, min_size=2, max_size=4))
def test_a_split_model_takes_each_stage_after_the_other(count: int, tokens: int, shares: list[float]) -> None:
    """A stage takes its part of an iteration on its own GPU; an answer of many tokens takes each in turn."""
    part = 1 / len(shares)
    places = [Place(part, Terms(share, share)) for share in shares]
    token_s = sum(part * LLAMA.latency.seconds(count, share) for share in shares)
    assert batch_s(LLAMA, count, tokens, places, fresh=True) == pytest.approx(tokens * token_s)


def test_only_a_fresh_batch_waits_for_its_turn() -> None:
    """A batch that begins after a pause takes its work and the wait; one that follows has its turn."""
    alone_s = ROBERTA.latency.seconds(4, 1.0)
    waiting = [Place(1.0, Terms(1.0, 1.0, stretch=2.0, wait_s=0.3))]
    assert batch_s(ROBERTA, 4, 1, waiting, fresh=True) == pytest.approx(alone_s + 0.3)
    assert batch_s(ROBERTA, 4, 1, waiting, fresh=False) == pytest.approx(2.0 * alone_s)
    assert batch_s(ROBERTA, 4, 3, waiting, fresh=True) == pytest.approx(
        max(6.0 * alone_s, 3.0 * alone_s + 0.3)
    )
    split = [Place(0.5, waiting[0].terms), Place(0.5, Terms(1.0, 1.0, stretch=2.0, wait_s=0.1))]
    assert batch_s(ROBERTA, 4, 1, split, fresh=True) == pytest.approx(alone_s + 0.3)
    short = [Place(1.0, Terms(1.0, 1.0, stretch=2.0, wait_s=alone_s / 2))]
    assert batch_s(ROBERTA, 4, 1, short, fresh=True) == pytest.approx(2.0 * alone_s)


def test_a_step_waits_for_its_slowest_worker() -> None:
    """Data-parallel training goes at the pace of the worst of its GPUs, and stops with it."""
    training = ROBERTA.training
    assert training is not None
    places = [Place(1.0, Terms(0.9, 0.9)), Place(1.0, Terms(0.4, 0.4, 1.5, 1e-4))]
    slow_s = training.step_s(0.4) * 1.5 + training.launches * 1e-4
    assert step_s(training, places) == pytest.approx(slow_s)
    assert math.isinf(step_s(training, [*places, Place(1.0, Terms(0.0, 0.0))]))
