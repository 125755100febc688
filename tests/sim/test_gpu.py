"""A GPU applies the law of contention to whoever is active, and re-times those it changes."""

from __future__ import annotations

import pytest

from policies.cycles import CycleMeter
from profiles.sharing import LAUNCH_TOKENS, TimeSharing
from sim.gpu import Agenda, Gpu, Resident


class Bystander:
    """An owner that counts how often it was re-timed."""

    def __init__(self) -> None:
        self.retimed = 0

    def retime(self, now_s: float, agenda: Agenda) -> None:
        """Count."""
        self.retimed += 1


def resident(gpu: Gpu, quota: float, *, part: float = 1.0) -> Resident:
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
        wave_s=0.0,
        meter=CycleMeter("uncontended"),
    )
    one.quota = quota
    return one


def gpu_of(quotas: list[float]) -> Gpu:
    """A GPU with residents of these quotas, none active."""
    gpu = Gpu(0, LAUNCH_TOKENS)
    gpu.set_residents([resident(gpu, quota) for quota in quotas], 0.0, [])
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
    gpu = Gpu(0, LAUNCH_TOKENS)
    gpu.set_residents([resident(gpu, 0.8, part=0.5), resident(gpu, 0.6)], 0.0, [])
    gpu.switch(0b11, 0.0, [])
    assert [r.share for r in gpu.residents] == [0.8, 0.6]
    assert gpu.share_in_use == pytest.approx(1.0)


def test_whoever_takes_turns_has_the_whole_gpu_for_a_while() -> None:
    """Alone on all SMs whatever the quota, then half of the time beside another, then alone again."""
    gpu = Gpu(0, TimeSharing())
    first, second = resident(gpu, 0.3), resident(gpu, 0.6)
    gpu.set_residents([first, second], 0.0, [])
    gpu.wake(first, 0.0, [])
    assert (first.share, first.stretch, first.disturbed) == (1.0, 1.0, False)
    gpu.wake(second, 1.0, [])
    assert (first.share, first.stretch, first.disturbed) == (1.0, 2.0, True)
    gpu.rest(second, 2.0, [])
    assert (first.stretch, first.disturbed) == (1.0, False)
    gpu.rest(first, 3.0, [])
    assert gpu.active_share_until(4.0) == pytest.approx(3.0)


def test_terms_of_old_company_do_not_outlast_it() -> None:
    """A resident that rested while contended starts its next batch undisturbed."""
    gpu = gpu_of([0.8, 0.7])
    first, second = gpu.residents
    gpu.wake(first, 0.0, [])
    gpu.wake(second, 1.0, [])
    assert first.disturbed
    gpu.rest(first, 2.0, [])
    gpu.rest(second, 2.0, [])
    gpu.wake(first, 3.0, [])
    assert (first.share, first.disturbed) == (0.8, False)
