"""Contention on a shared GPU: shares and launch interference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.cycles import CycleMeter
from sim.gpu import Agenda, Gpu, Resident, contention


class Bystander:
    """An owner that counts how often it was re-timed."""

    def __init__(self) -> None:
        self.retimed = 0

    def retime(self, now_s: float, agenda: Agenda) -> None:
        """Count."""
        self.retimed += 1


def resident(gpu: Gpu, quota: float, *, wave_s: float = 0.0, part: float = 1.0) -> Resident:
    """A resident with a quota."""
    one = Resident(
        Bystander(),
        gpu,
        instance=0,
        slo_sensitive=True,
        is_llm=False,
        request=quota,
        limit=quota,
        part=part,
        wave_s=wave_s,
        meter=CycleMeter("uncontended"),
    )
    one.quota = quota
    return one


def gpu_of(quotas: list[float], *, partitioned: bool = False, gated: bool = True, wave_s: float = 0.0) -> Gpu:
    """A GPU with residents of these quotas, none active."""
    gpu = Gpu(0, partitioned=partitioned, gated=gated)
    gpu.set_residents([resident(gpu, quota, wave_s=wave_s) for quota in quotas], 0.0, [])
    return gpu


def test_quotas_that_fit_are_shares() -> None:
    """Active quotas of 0.3 and 0.6 are the shares."""
    gpu = gpu_of([0.3, 0.6])
    gpu.switch(0b11, 0.0, [])
    assert [r.share for r in gpu.residents] == [0.3, 0.6]
    assert gpu.share_in_use == pytest.approx(0.9)


def test_quotas_beyond_the_gpu_are_scaled_to_fit() -> None:
    """Active quotas of 0.5 and 1.0 become shares of a third and two thirds."""
    gpu = gpu_of([0.5, 1.0])
    gpu.switch(0b11, 0.0, [])
    assert [r.share for r in gpu.residents] == pytest.approx([1 / 3, 2 / 3])


def test_an_inactive_resident_takes_nothing() -> None:
    """Quotas cap, they do not reserve: alone, the other one runs on its whole quota."""
    gpu = gpu_of([0.8, 0.7])
    gpu.switch(0b10, 0.0, [])
    assert gpu.residents[1].share == 0.7
    assert gpu.share_in_use == 0.7


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6), st.booleans(), st.booleans())
def test_a_gpu_is_never_used_beyond_itself(quotas: list[float], partitioned: bool, gated: bool) -> None:
    """Shares add up to at most 1, none exceeds its quota, and nobody's launches get faster."""
    gpu = gpu_of(quotas, wave_s=1e-4)
    in_use, rows = contention(gpu.residents, partitioned=partitioned, gated=gated)
    assert in_use <= 1.0 + 1e-9
    assert in_use == pytest.approx(sum(share for _, share, _ in rows))
    for one, share, delay_s in rows:
        assert 0.0 < share <= one.quota
        assert 0.0 <= delay_s <= 1e-4 * len(quotas)


def test_gated_launches_interfere_by_quota() -> None:
    """Under tokens a launch waits behind each neighbour for its quota times its wave."""
    gpu = gpu_of([0.3, 0.9], wave_s=80e-6)
    _, rows = contention(gpu.residents, partitioned=False, gated=True)
    assert [delay_s for _, _, delay_s in rows] == pytest.approx([0.9 * 80e-6, 0.3 * 80e-6])


def test_ungated_launches_interfere_in_full() -> None:
    """Without tokens an active neighbour is as busy as can be."""
    gpu = gpu_of([0.3, 0.9], wave_s=80e-6)
    _, rows = contention(gpu.residents, partitioned=False, gated=False)
    assert [delay_s for _, _, delay_s in rows] == pytest.approx([80e-6, 80e-6])


def test_caps_that_fit_do_not_interfere() -> None:
    """Under MPS caps of 0.4 and 0.6 nobody waits; of 0.6 and 0.9, over the part of the SMs both may use."""
    _, rows = contention(gpu_of([0.4, 0.6], wave_s=80e-6).residents, partitioned=True, gated=False)
    assert [delay_s for _, _, delay_s in rows] == [0.0, 0.0]
    _, rows = contention(gpu_of([0.6, 0.9], wave_s=80e-6).residents, partitioned=True, gated=False)
    assert [delay_s for _, _, delay_s in rows] == pytest.approx([0.5 / 0.6 * 80e-6, 0.5 / 0.9 * 80e-6])


def test_the_paper_s_datum_on_launch_cycles() -> None:
    """300 launches behind 80 us waves of training at full speed double a 25 ms cycle (paper section 3.4)."""
    _, rows = contention(gpu_of([0.4, 1.0], wave_s=80e-6).residents, partitioned=False, gated=True)
    assert 0.025 + 300 * rows[0][2] == pytest.approx(0.050, rel=0.05)


def test_only_those_whom_it_changes_are_retimed() -> None:
    """A neighbour that starts within the GPU's capacity re-times nobody where launches do not interfere."""
    gpu = gpu_of([0.3, 0.3, 0.9])
    gpu.switch(0b001, 0.0, [])
    owners = [r.owner for r in gpu.residents]
    before = [owner.retimed for owner in owners if isinstance(owner, Bystander)]
    gpu.switch(0b011, 1.0, [])
    gpu.switch(0b111, 2.0, [])
    after = [owner.retimed for owner in owners if isinstance(owner, Bystander)]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 2, 1]


def test_the_share_in_use_is_integrated() -> None:
    """0.3 for a second, 0.9 for two, nothing for one: 2.1 share seconds."""
    gpu = gpu_of([0.3, 0.6])
    gpu.switch(0b01, 0.0, [])
    gpu.switch(0b11, 1.0, [])
    gpu.switch(0b00, 3.0, [])
    assert gpu.active_share_until(4.0) == pytest.approx(2.1)


def test_a_pipeline_stage_is_busy_for_its_part() -> None:
    """Two stages that hold half a model each demand half of their quotas on a GPU."""
    gpu = Gpu(0, partitioned=False, gated=True)
    gpu.set_residents([resident(gpu, 0.8, part=0.5), resident(gpu, 0.6)], 0.0, [])
    gpu.switch(0b11, 0.0, [])
    assert [r.share for r in gpu.residents] == [0.8, 0.6]
    assert gpu.share_in_use == pytest.approx(1.0)
