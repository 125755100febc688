"""Whole runs on a host that poses as one with a GPU: throttled by their gates, labelled by their evidence."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_mps import FakeMps
from posed_host import BATCH_S, CAPACITY, UUID, lab, run_posed

from policies import Launch
from policies.vertical import Rckm, StaticQuota
from profiles.sharing import LAUNCH_TOKENS, MPS_CAPS, UNMANAGED, TimeSharing
from realgpu import household, staff
from realgpu.errors import RealGpuError
from realgpu.gate import GateFile, Mode
from realgpu.hosting import Hosting
from realgpu.running_world import LEAD_S

UNHELD = StaticQuota(sharing=UNMANAGED)
TOKENS = StaticQuota(quota="request", sharing=LAUNCH_TOKENS)


def took_s(ran: Any) -> float:
    """Median seconds of a served batch."""
    return float(np.median(ran.of(0)["end_s"] - ran.of(0)["start_s"]))


def test_quotas_are_rates_of_launches_under_mps(fake_mps: FakeMps, tmp_path: Path) -> None:
    """An eighth of the GPU makes a batch eight times as long; what ran, on what, is in the outcome."""
    ran = run_posed(lab(1.2, rate_rps=5, request=0.125, limit=0.25), vertical=TOKENS, folder=tmp_path)
    assert 5.0 * BATCH_S < took_s(ran) < 16.0 * BATCH_S
    assert ran.training["steps"][0] * BATCH_S < 0.125 * 1.2 * 1.4 + BATCH_S
    host = ran.outcome.further["host"]
    assert host["mechanism"] == "mps+gate"
    assert (host["workers"], host["workers_under_mps"]) == (2, 2)
    assert ran.outcome.notes[0] == "ran on NVIDIA H100 80GB HBM3 by mps+gate"
    assert host["gpus"][0]["uuid"] == UUID
    assert host["sampling"][0]["inventory"]["driver"] == "580.159.03"
    assert host["mps"]["last_ending"]["how"] == "quit"
    assert host["notes"] == [note for note in ran.outcome.notes if note in host["notes"]]
    for row in host["capacities"]:
        assert (row["sm_count"], row["alone"]) == (2 * int(66 * 0.25), True)
        assert 0.5 * CAPACITY < row["cost_per_s"] < 1.1 * CAPACITY
    rows = pq.read_table(tmp_path / "device_samples.parquet").to_pydict()
    assert 3 <= len(rows["time_s"]) <= 30
    assert -LEAD_S <= rows["time_s"][0] < 0.5
    assert (tmp_path / "device_activity.parquet").exists()


def test_a_policy_that_scales_is_carried_out_in_time_slices(gpu: str) -> None:
    """Without MPS the gate alone holds quotas, up to the limit and never above."""
    ran = run_posed(lab(1.0, request=0.25, limit=0.25), vertical=Rckm())
    host = ran.outcome.further["host"]
    assert (host["mechanism"], host["workers_under_mps"]) == ("time slicing+gate", 0)
    assert took_s(ran) > 0.6 * BATCH_S / 0.25
    assert len(ran.of(0)["count"]) >= 3
    assert all(row["launches"] > 100 and row["blocked"] > 0 for row in host["gate"]["seats"])
    assert not [note for note in ran.outcome.notes if "starved" in note]
    for row in ran.outcome.further["start_ups"]:
        assert 0.5 * CAPACITY < row["cost_per_s"] < 1.1 * CAPACITY
        assert (row["launches_per_batch"], row["cost_per_batch"]) == (20, 1000)


def test_turns_hold_training_alone(gpu: str) -> None:
    """A server is as fast as it is alone; the job waits for its quota before its first step."""
    turns = StaticQuota(sharing=TimeSharing(caps="training"))
    ran = run_posed(lab(0.8, request=0.1, limit=0.1), vertical=turns)
    assert ran.outcome.further["host"]["mechanism"] == "time slicing+gate"
    assert took_s(ran) < 4.0 * BATCH_S
    assert ran.training["steps"][0] * BATCH_S < 0.1 * 0.8 * 1.4 + BATCH_S


def test_a_gate_that_is_not_preloaded_is_noticed(gpu: str) -> None:
    """The worker's counter stays 0: the line says what of the driver is loaded."""

    def spoil(environment: dict[str, str], launch: Launch) -> None:
        del environment["LD_PRELOAD"]

    with pytest.raises(
        RealGpuError,
        match=r"^instance \d \(.*\): backend cuda: the launch gate counts nothing \(mode 1, state 0\); "
        r"LD_PRELOAD=''; loaded are: .*libcuda\.so\.1",
    ):
        run_posed(lab(jobs=0), vertical=TOKENS, spoil=spoil)


def test_a_worker_that_misses_the_daemon_denies_the_label(fake_mps: FakeMps) -> None:
    """It is told nothing, but its driver knows; it is held by its gate, as the percentage is no use."""

    def spoil(environment: dict[str, str], launch: Launch) -> None:
        if launch.instance == 0:
            environment["FAKE_CUDA_MPS"] = "0"

    ran = run_posed(lab(0.5), vertical=StaticQuota(sharing=MPS_CAPS), spoil=spoil)
    host = ran.outcome.further["host"]
    assert host["mechanism"] == "partly mps+gate"
    assert (host["workers"], host["workers_under_mps"]) == (2, 1)
    assert any(note.startswith("1 of 2 workers were no clients of MPS") for note in ran.outcome.notes)


def test_a_fault_of_the_device_ends_the_run_invalid(
    fake_mps: FakeMps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line: whose fault it was, and that every client was hit."""
    monkeypatch.setenv("POSE", "faults")
    with pytest.raises(
        RealGpuError,
        match=r"^instance 0 \(a\): RuntimeError: CUDA error: an illegal memory access.*; a fault of the "
        r"device hit every client of MPS: the run is invalid$",
    ):
        run_posed(lab(jobs=0), vertical=UNHELD, change=lambda one: _faulting(one, fake_mps))


def _faulting(hosting: Hosting, fake_mps: FakeMps) -> Hosting:
    """Have the server be in FAULT once the worker was told its environment."""

    def environment(launch: Launch, row: int) -> Any:
        found = hosting.environment(launch, row)
        fake_mps.set_mode("fault")
        return found

    return dataclasses.replace(hosting, environment=environment)


def test_a_worker_that_hangs_is_told_to_mps_before_it_is_killed(
    fake_mps: FakeMps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its gate is opened first; then Stop, SIGTERM, terminate_client, SIGKILL."""
    monkeypatch.setenv("POSE", "hangs")
    monkeypatch.setattr(household, "STOP_WITHIN_S", 0.1)
    monkeypatch.setattr(household, "TERMINATE_WITHIN_S", 0.3)
    monkeypatch.setattr(staff, "CHECK_S", 0.1)
    clients: list[int] = []
    gates: list[Path] = []

    def note(environment: dict[str, str], launch: Launch) -> None:
        gates.append(Path(environment["GATE_FILE"]))

    def change(hosting: Hosting) -> Hosting:
        before_kill = hosting.before_kill
        assert before_kill is not None

        def told(pid: int) -> None:
            with GateFile.attach(gates[0]) as file:
                assert file.slots[0].read("mode") == Mode.OFF
            clients.append(pid)
            fake_mps.set_clients(pid)
            before_kill(pid)

        return dataclasses.replace(hosting, before_kill=told, reply_within_s=0.2, reply_within_expected=0.0)

    with pytest.raises(RealGpuError, match=r"^instance 0 \(a\): hangs: did not end its batch in time"):
        run_posed(lab(4.0, jobs=0), vertical=TOKENS, change=change, spoil=note)
    assert [call.split()[-1] for call in fake_mps.calls() if "terminate_client" in call] == [str(clients[0])]


def test_a_worker_held_by_an_empty_bucket_ends_at_once(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a run opens gates before anybody is waited for: a hundredth of a GPU keeps no one."""
    monkeypatch.setattr(household, "STOP_WITHIN_S", 60.0)
    stopped_s: list[float] = []

    def change(hosting: Hosting) -> Hosting:
        let_go = hosting.host.let_go

        def note() -> None:
            stopped_s.append(time.monotonic())
            let_go()

        monkeypatch.setattr(hosting.host, "let_go", note)
        return hosting

    slow = lab(0.4, request=0.001, limit=0.001, jobs=0)
    ran = run_posed(slow, vertical=TOKENS, change=change)
    # The batch that runs would take 10 s at this rate, and half of that by the deadline of launches alone.
    assert time.monotonic() - stopped_s[0] < 3.0
    assert len(ran.of(0)["count"]) == 0


def test_an_instance_on_several_gpus_is_refused(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line: a process runs on one device."""
    deployment = lab(jobs=1)
    job = dataclasses.replace(deployment.functions[1], workers=2)
    two = dataclasses.replace(
        deployment,
        functions=(deployment.functions[0], job),
        cluster=dataclasses.replace(deployment.cluster, gpus_per_node=2),
    )
    from realgpu.hosts.gpus import find_gpus

    (one,) = find_gpus()
    monkeypatch.setattr("realgpu.hosts.cuda.find_gpus", lambda: (one, one))
    with pytest.raises(RealGpuError, match=r"seats: found 2, on a device an instance has one GPU"):
        run_posed(two, vertical=TOKENS)
