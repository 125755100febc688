"""Workers without a controller: what they are given, how they fail, and that nothing of them stays."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from small_worlds import children, run_folders
from virtual_device import quick

from profiles.sharing import LAUNCH_TOKENS
from realgpu import household
from realgpu.calibration.failures import Failure, WorkError
from realgpu.calibration.measuring import Meter, Patience
from realgpu.calibration.resident import MOST_AHEAD
from realgpu.calibration.rig import GRACE_S, Rig
from realgpu.errors import RealGpuError
from realgpu.hosting import Hosting
from realgpu.interruption import Interruption

BERT, ROBERTA, LLAMA = quick("bert-base"), quick("roberta-large"), quick("llama2-7b")
MISBEHAVING = str(Path(__file__).parents[1] / "misbehaving_worker.py")


class Counted:
    """A throttle that keeps what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, ...]] = []
        self.beats: list[int] = []

    def sit_down(self, row: int, cost_per_s: float) -> None:
        """Take note."""
        self.calls.append(("sit_down", row, cost_per_s))

    def apply(self, row: int, quota: float) -> None:
        """Take note."""
        self.calls.append(("apply", row, quota))

    def stand_up(self, row: int) -> None:
        """Take note."""
        self.calls.append(("stand_up", row))

    def beat(self, now_ns: int) -> None:
        """Take note."""
        self.beats.append(now_ns)


@contextmanager
def rig_of(hosting: Hosting | None = None, backend: str = "virtual", **options: Any) -> Iterator[Rig]:
    """A rig for the three models."""
    models = [BERT.name, ROBERTA.name, LLAMA.name]
    with (
        Interruption() as interruption,
        Rig(
            backend,  # type: ignore[arg-type]
            hosting or Hosting(),
            interruption,
            sharing=LAUNCH_TOKENS,
            models=models,
            **options,
        ) as rig,
    ):
        yield rig


def wrong(what: str, **values: Any) -> Hosting:
    """A host whose workers do one thing wrong."""
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    return Hosting(
        command=(sys.executable, MISBEHAVING, what), environment=lambda launch, row: environment, **values
    )


def test_shares_change_and_jobs_differ() -> None:
    """One worker serves on one share after another; another trains; each takes what its profile says."""
    with rig_of() as rig:
        serving = rig.open(BERT, "serve", 8, 1.0)
        assert (serving.share_by, serving.changeable) == ("virtual", True)
        for share in (1.0, 0.25):
            rig.give(serving, share)
            assert rig.serve(serving, 8, 1, 0.01) == pytest.approx(BERT.latency.seconds(8, share), abs=1e-6)
        llm = rig.open(LLAMA, "serve", 4, 0.5)
        prompt, step = Meter(rig, Patience(least=6, most=6)).serve(llm, 4, 0.01)
        assert (prompt.job, step.job, len(prompt.seconds), len(step.seconds)) == ("prefill", "serve", 5, 6)
        assert step.median_s == pytest.approx(LLAMA.latency.seconds(4, 0.5), abs=1e-6)
        training = rig.open(ROBERTA, "train", 4, 0.5)
        assert ROBERTA.training is not None
        step_s = ROBERTA.training.step_s(0.5)
        rig.next_step(training, step_s)
        assert rig.next_step(training, step_s) == pytest.approx(step_s, abs=1e-6)
        rig.close_resident(training)
        assert rig.residents == [serving, llm]


def test_who_is_kept_busy_is_never_without_work() -> None:
    """Batches follow each other until rest is asked for, and then all that was sent is served."""
    with rig_of() as rig:
        serving = rig.open(BERT, "serve", 8, 1.0)
        assert not serving.busy
        serving.keep_busy(4, 1, 0.001)
        assert serving.busy
        assert serving.outstanding == MOST_AHEAD
        took_s = [rig.next_batch(serving, 0.001) for _ in range(30)]
        assert took_s == pytest.approx([BERT.latency.seconds(4, 1.0)] * 30, abs=1e-6)
        assert serving.outstanding == MOST_AHEAD - len(serving.took_s) or serving.outstanding > 0
        rig.let_rest(serving, 0.001)
        assert (serving.outstanding, list(serving.took_s), serving.busy) == (0, [], False)


def test_gates_are_given_rates_and_a_pulse() -> None:
    """A worker sits down with its capacity, has its share applied, and is let go before it ends."""
    throttle = Counted()
    hosting = wrong("nothing", throttle=throttle)
    with rig_of(hosting, backend="cuda") as rig:
        from realgpu.hosting import Host

        class Held(Host):
            def capacity(self, *arguments: Any, **options: Any) -> float:
                return 1000.0

        object.__setattr__(hosting, "host", Held())
        resident = rig.open(BERT, "serve", 8, 0.5)
        assert (resident.share_by, resident.changeable) == ("gate", True)
        beats = len(throttle.beats)
        rig.give(resident, 0.25)
        assert len(throttle.beats) > beats  # gates learn of it at once
        begun_ns = time.monotonic_ns()
        rig.pause(0.4)
        assert len([beat for beat in throttle.beats if beat > begun_ns]) >= 4  # of 8, every 50 ms
        row = resident.row
    expected = [("sit_down", row, 1000.0), ("apply", row, 0.5), ("apply", row, 0.25), ("stand_up", row)]
    assert throttle.calls == expected


def test_a_share_that_nothing_realises_is_refused() -> None:
    """On a device without MPS and without a gate there is only the whole of it."""
    with rig_of(wrong("nothing"), backend="cuda") as rig:
        whole = rig.open(BERT, "serve", 8, 1.0)
        assert (whole.share_by, whole.changeable) == ("whole", False)
        with pytest.raises(RealGpuError, match="its share cannot be changed"):
            rig.give(whole, 0.5)
        with pytest.raises(WorkError, match="neither MPS nor a launch gate") as refused:
            rig.open(BERT, "serve", 8, 0.5)
        assert refused.value.kind == "refused"
        assert rig.residents == [whole]


@pytest.mark.parametrize(
    ("what", "kind", "line"),
    [
        ("ends-at-once", "crashed", "ended unasked (exit status 3); its log ends with: first line"),
        ("failed", "oom", "out of memory: 7 GiB"),
        ("speaks-nonsense", "crashed", "which is not JSON"),
        ("gives-orders", "crashed", "sent Stop, which is no reply"),
        ("never-ready", "hung", "hangs: did not start up in time"),
    ],
)
def test_who_does_not_start_up_says_why(
    monkeypatch: pytest.MonkeyPatch, what: str, kind: str, line: str
) -> None:
    """In one line with model, job, batch and share; nothing is left, and the rig goes on."""
    monkeypatch.setattr(household, "TERMINATE_WITHIN_S", 0.3)
    with rig_of(wrong(what, ready_within_s=0.3 if what == "never-ready" else 20.0)) as rig:
        with pytest.raises(WorkError) as failure:
            rig.open(BERT, "serve", 8, 0.5)
        assert failure.value.kind == kind
        assert line in str(failure.value)
        assert str(failure.value).startswith("bert-base (serve, batch 8, share 0.5): ")
        assert rig.residents == []
        assert children(os.getpid()) == set()


@pytest.mark.parametrize(("what", "kind"), [("never-done", "hung"), ("killed", "crashed")])
def test_who_does_not_end_a_batch_says_why(monkeypatch: pytest.MonkeyPatch, what: str, kind: str) -> None:
    """A worker that is silent or killed is a failure of that batch, and can be closed."""
    monkeypatch.setattr(household, "TERMINATE_WITHIN_S", 0.3)
    with rig_of(wrong(what, reply_within_s=0.3, reply_within_expected=0.0)) as rig:
        resident = rig.open(BERT, "serve", 8, 1.0)
        with pytest.raises(WorkError) as failure:
            rig.serve(resident, 1, 1, 0.01)
        assert failure.value.kind == kind
        with pytest.raises(WorkError):
            rig.serve(resident, 1, 1, 0.01)
        rig.close_resident(resident)
        assert children(os.getpid()) == set()


def test_nobody_is_waited_for_beyond_the_time_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that never starts up costs what is left of the budget, not the minutes a start may take."""
    monkeypatch.setattr(household, "TERMINATE_WITHIN_S", 0.3)
    monkeypatch.setattr("realgpu.calibration.rig.GRACE_S", 0.2)
    assert GRACE_S > 0.2
    begun_s = time.monotonic()
    late = wrong("never-ready", ready_within_s=600.0)
    with (
        rig_of(late, left_s=lambda: 0.1) as rig,
        pytest.raises(WorkError, match="did not start up in time"),
    ):
        rig.open(BERT, "serve", 8, 1.0)
    assert time.monotonic() - begun_s < 20.0


def test_ctrl_c_ends_it_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a batch, the interruption comes out once the worker has ended."""
    monkeypatch.setattr(household, "STOP_WITHIN_S", 0.1)

    def interrupted() -> None:
        with rig_of(wrong("never-done")) as rig:
            resident = rig.open(BERT, "serve", 8, 1.0)
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            rig.serve(resident, 1, 1, 1.0)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert children(os.getpid()) == set()
    assert run_folders() == []


def test_who_hangs_up_is_not_asked_to_stop_first() -> None:
    """It has failed, so that leaving the rig does not wait for the end of its batch."""

    def left_behind() -> None:
        with rig_of(wrong("hangs-up")) as rig:
            rig.serve(rig.open(BERT, "serve", 8, 1.0), 1, 1, 0.01)

    begun_s = time.monotonic()
    with pytest.raises(WorkError, match="hung up"):
        left_behind()
    assert time.monotonic() - begun_s < household.STOP_WITHIN_S


def test_a_failure_is_of_a_known_kind() -> None:
    """What is read back from a file is checked."""
    with pytest.raises(RealGpuError, match=r"kind: found 'odd', allowed are oom, hung, crashed, refused"):
        Failure("bert-base", "serve", 1, 1.0, "odd", "because")  # type: ignore[arg-type]
