"""What a neighbour costs, by the law of contention."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_device import quick

from profiles import Measurement
from profiles.contention import contention
from profiles.sharing import LAUNCH_TOKENS, MPS_CAPS, UNMANAGED, Sharing
from realgpu.calibration.interference import Part, effect_of, interference
from realgpu.workers.backends.neighbours import Sharer

BERT, ROBERTA = quick("bert-base", launches=50), quick("roberta-large", launches=80)


def measured(part: Part, seconds: float, launches: int | None = None) -> Measurement:
    """A measurement of a part."""
    return Measurement(
        part.profile.name, part.job, part.batch, part.share, "gate", (seconds,) * 6, launches=launches
    )


@given(
    st.sampled_from([LAUNCH_TOKENS, MPS_CAPS, UNMANAGED]),
    st.floats(0.2, 1.0),
    st.floats(0.2, 1.0),
    st.floats(1e-6, 2e-4),
)
def test_the_wave_that_the_law_had_comes_out(
    sharing: Sharing, ours: float, theirs: float, wave_s: float
) -> None:
    """A victim that takes what the law says gives the neighbour's wave back, wherever the two meet."""
    victim, neighbour = Part(BERT, "serve", 4, ours), Part(ROBERTA, "train", 4, theirs)
    sharers = [
        Sharer(True, ours, ours, ours, 1.0, 0.0, "bert-base", 4),
        Sharer(False, theirs, theirs, theirs, 1.0, wave_s, "roberta-large", 4),
    ]
    _, (terms, _) = contention(sharers, sharing)
    together_s = BERT.latency.seconds(4, terms.share) + 50 * terms.delay_s
    alone_s = BERT.latency.seconds(4, ours)
    row = interference(victim, neighbour, measured(victim, alone_s), measured(victim, together_s), sharing)
    if terms.delay_s == 0.0:
        assert row.wave_s is None
        assert (sharing, ours + theirs <= 1.0) == (MPS_CAPS, True)
    else:
        assert row.wave_s == pytest.approx(wave_s, rel=0.01, abs=2e-8 / terms.delay_s * wave_s)
    assert row.slowdown == pytest.approx(together_s / alone_s)
    assert (row.victim, row.neighbour) == (
        f"bert-base:serve@{ours:g}:b4",
        f"roberta-large:train@{theirs:g}:b4",
    )


def test_launches_that_were_counted_count() -> None:
    """The gate's counters come before the profile's launches, and noise makes no wave negative."""
    victim, neighbour = Part(BERT, "serve", 4, 0.5), Part(ROBERTA, "serve", 4, 0.5)
    alone, beside = measured(victim, 0.010), measured(victim, 0.014, launches=100)
    row = interference(victim, neighbour, alone, beside, LAUNCH_TOKENS)
    assert row.wave_s == pytest.approx(0.004 / (100 * 0.5))
    assert row.extra_s_per_launch == pytest.approx(0.004 / 100)
    faster = interference(victim, neighbour, alone, measured(victim, 0.009), LAUNCH_TOKENS)
    assert faster.wave_s == 0.0
    assert faster.extra_s_per_launch == pytest.approx(-0.001 / 50)


def test_training_is_a_victim_too() -> None:
    """Its share that is left is valued by its own step, its launches are those of a step."""
    assert ROBERTA.training is not None
    victim, neighbour = Part(ROBERTA, "train", 4, 1.0), Part(BERT, "serve", 4, 1.0)
    effect = effect_of(victim, neighbour, MPS_CAPS)
    assert (effect.share, effect.exposure) == (0.5, 1.0)
    assert victim.launches == ROBERTA.training.launches
    alone_s = ROBERTA.training.step_s(1.0)
    together_s = ROBERTA.training.step_s(0.5) + ROBERTA.training.launches * 3e-5
    row = interference(victim, neighbour, measured(victim, alone_s), measured(victim, together_s), MPS_CAPS)
    assert row.wave_s == pytest.approx(3e-5, rel=1e-3)
