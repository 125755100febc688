"""The law of contention, against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import Load
from profiles.contention import PAUSED, Terms, contention, fair_division
from profiles.sharing import (
    LAUNCH_TOKENS,
    MPS_CAPS,
    UNMANAGED,
    PrioritySharing,
    Sharing,
    SpaceSharing,
    TimeSharing,
)


@dataclass
class Active:
    """A resident that is active."""

    quota: float
    request: float = 0.3
    limit: float = 1.0
    slo_sensitive: bool = True
    part: float = 1.0
    wave_s: float = 80e-6
    model: str = "model"
    batch: int = 1


def terms(sharing: Sharing, *active: Active) -> tuple[Terms, ...]:
    """Return the terms of each."""
    return contention(active, sharing)[1]


def delays(sharing: Sharing, *quotas: float) -> list[float]:
    """Return what each launch waits, of residents of these quotas."""
    return [term.delay_s for term in terms(sharing, *(Active(quota) for quota in quotas))]


QUOTAS = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6)


# ------------------------------------------------------------------------------------------------ space


@given(QUOTAS, st.booleans(), st.booleans())
def test_a_gpu_is_never_used_beyond_itself(quotas: list[float], partitioned: bool, gated: bool) -> None:
    """Shares add up to at most 1, none exceeds its quota, and nobody's launches get faster."""
    in_use, rows = contention([Active(quota) for quota in quotas], SpaceSharing(partitioned, gated))
    assert in_use <= 1.0 + 1e-9
    assert in_use == pytest.approx(sum(row.share for row in rows))
    for quota, row in zip(quotas, rows, strict=True):
        assert 0.0 < row.share <= quota
        assert row.alone == quota
        assert 0.0 <= row.delay_s <= 80e-6 * len(quotas)


def test_gated_launches_interfere_by_quota() -> None:
    """Under tokens a launch waits behind each neighbour for its quota times its wave."""
    assert delays(LAUNCH_TOKENS, 0.3, 0.9) == pytest.approx([0.9 * 80e-6, 0.3 * 80e-6])


def test_ungated_launches_interfere_in_full() -> None:
    """Without tokens an active neighbour is as busy as can be."""
    assert delays(UNMANAGED, 0.3, 0.9) == pytest.approx([80e-6, 80e-6])


def test_caps_that_fit_do_not_interfere() -> None:
    """Under MPS caps of 0.4 and 0.6 nobody waits; of 0.6 and 0.9, over the part of the SMs both may use."""
    assert delays(MPS_CAPS, 0.4, 0.6) == [0.0, 0.0]
    assert delays(MPS_CAPS, 0.6, 0.9) == pytest.approx([0.5 / 0.6 * 80e-6, 0.5 / 0.9 * 80e-6])


def test_the_paper_s_datum_on_launch_cycles() -> None:
    """300 launches behind 80 us waves of training at full speed double a 25 ms cycle (paper section 3.4)."""
    assert 0.025 + 300 * delays(LAUNCH_TOKENS, 0.4, 1.0)[0] == pytest.approx(0.050, rel=0.05)


# ------------------------------------------------------------------------------------------------- time


def test_time_slices_are_equal_and_switching_costs() -> None:
    """Three at once run a third of 97 % of the time each, on all SMs, whatever their quotas."""
    rows = terms(TimeSharing(switch_loss=0.03), Active(0.1), Active(0.5), Active(0.9))
    assert [row.share for row in rows] == [1.0, 1.0, 1.0]
    assert [row.stretch for row in rows] == pytest.approx([3 / 0.97] * 3)


def test_a_token_divides_time_by_request_up_to_the_limit_of_training() -> None:
    """Serving with request 0.2 beside training with request 0.6, capped at 0.7: 30 % are left for serving."""
    serving = Active(0.4, request=0.2)
    training = Active(0.7, request=0.6, slo_sensitive=False)
    rows = terms(TimeSharing(weights="request"), serving, training)
    assert [1.0 / row.stretch for row in rows] == pytest.approx([0.3, 0.7])
    (alone,) = terms(TimeSharing(weights="request"), training)
    assert 1.0 / alone.stretch == pytest.approx(0.7)
    (alone,) = terms(TimeSharing(weights="request"), serving)
    assert alone.stretch == 1.0


def test_a_batch_waits_half_a_turn_of_the_others() -> None:
    """Beside one that has half of the time, a quarter of a 300 ms turn; alone, nothing."""
    rows = terms(TimeSharing(turn_s=0.3), Active(1.0), Active(1.0))
    assert [row.wait_s for row in rows] == pytest.approx([0.075, 0.075])
    assert terms(TimeSharing(turn_s=0.3), Active(1.0))[0].wait_s == 0.0


def test_partitions_that_fit_together_run_together() -> None:
    """SM partitions of 0.4 and 0.6 are never in each other's way; of 0.6 and 0.9 they share the area."""
    sharing = TimeSharing(width="limit", weights="request", turn_s=0.1)
    rows = terms(sharing, Active(0.4, limit=0.4), Active(0.6, limit=0.6))
    assert [(row.share, row.stretch, row.wait_s) for row in rows] == [(0.4, 1.0, 0.0), (0.6, 1.0, 0.0)]
    rows = terms(sharing, Active(0.6, request=0.3, limit=0.6), Active(0.9, request=0.6, limit=0.9))
    assert [row.share / row.stretch for row in rows] == pytest.approx([1 / 3, 2 / 3])
    assert all(row.wait_s > 0.0 for row in rows)


@given(QUOTAS, st.data())
def test_every_request_is_granted_to_the_backlogged(requests: list[float], data: st.DataObject) -> None:
    """Where requests fit the GPU, each backlogged one gets at least its own, and nothing is wasted."""
    total = sum(requests)
    active = [
        Active(data.draw(st.floats(min(1.0, r / total), 1.0)), request=r / total, slo_sensitive=False)
        for r in requests
    ]
    in_use, rows = contention(active, TimeSharing(weights="request"))
    for one, row in zip(active, rows, strict=True):
        assert row.share / row.stretch >= one.request * (1.0 - 1e-9)
    assert in_use == pytest.approx(1.0)


@given(
    st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=6),
    st.floats(0.1, 1.0),
)
def test_a_fair_division_wastes_nothing(pairs: list[tuple[float, float]], capacity: float) -> None:
    """Nobody exceeds its cap; what is left over nobody could use; the uncapped divide by weight."""
    weights, caps = [w for w, _ in pairs], [c for _, c in pairs]
    got = fair_division(weights, caps, capacity)
    assert all(0.0 <= g <= c + 1e-12 for g, c in zip(got, caps, strict=True))
    assert sum(got) == pytest.approx(min(capacity, sum(caps)))
    levels = [g / w for g, w, c in zip(got, weights, caps, strict=True) if g < c - 1e-9]
    assert levels == pytest.approx([max(levels)] * len(levels)) if levels else True


# --------------------------------------------------------------------------------------------- priority


def test_best_effort_work_gets_what_is_left() -> None:
    """Serving on 0.7 leaves 0.3 of 0.9; a second one on 0.6 leaves nothing, and training pauses."""
    training = Active(0.9, slo_sensitive=False)
    rows = terms(PrioritySharing(preempt_s=30e-6), Active(0.7), training)
    assert [row.share for row in rows] == pytest.approx([0.7, 0.3])
    assert [row.wait_s for row in rows] == [30e-6, 0.0]
    rows = terms(PrioritySharing(), Active(0.7), Active(0.6), training)
    assert [row.share for row in rows[:2]] == pytest.approx([0.7 / 1.3, 0.6 / 1.3])
    assert rows[2].stretch == PAUSED
    assert terms(PrioritySharing(), training)[0] == Terms(0.9, 0.9)


def test_interleaved_kernels_run_beside_for_a_fraction() -> None:
    """Training keeps its share for a third of the time, serving is intruded upon by 2.5 %."""
    rows = terms(
        PrioritySharing("fraction", fraction=1 / 3, intrusion=0.025),
        Active(0.6),
        Active(0.9, slo_sensitive=False),
    )
    assert (rows[0].share, rows[0].stretch) == (0.6, 1.025)
    assert (rows[1].share, rows[1].stretch) == (0.9, pytest.approx(3.0))


# --------------------------------------------------------------------------------- further interference


class Doubles:
    """Everything takes twice as long for each neighbour."""

    def factor(self, me: Load, others: Sequence[Load]) -> float:
        """Return 1 + the number of others."""
        return 1.0 + len(others)


def test_further_interference_stretches_everybody() -> None:
    """It multiplies what sharing itself costs, and leaves the lonely alone."""
    _, rows = contention([Active(0.3), Active(0.3)], LAUNCH_TOKENS, Doubles())
    assert [row.stretch for row in rows] == [2.0, 2.0]
    assert all(row.disturbed for row in rows)
    partitions = TimeSharing(width="limit")
    _, rows = contention([Active(0.5, limit=0.5), Active(0.5, limit=0.5)], partitions, Doubles())
    assert [row.stretch for row in rows] == [2.0, 2.0]
    assert contention([Active(0.3)], LAUNCH_TOKENS, Doubles())[1][0].stretch == 1.0


def test_only_those_who_run_at_once_interfere() -> None:
    """Not those who take turns on the whole GPU, nor whoever is paused."""
    _, rows = contention([Active(1.0), Active(1.0)], TimeSharing(), Doubles())
    assert [row.stretch for row in rows] == [2.0, 2.0]
    paused = Active(0.9, slo_sensitive=False)
    _, rows = contention([Active(1.0), paused], PrioritySharing(), Doubles())
    assert [row.stretch for row in rows] == [1.0, PAUSED]
