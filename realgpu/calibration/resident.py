"""A worker on the rig, as who measures holds it: what it said, how long its batches took, how it failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any, Final

from profiles import ModelProfile
from profiles.measurements import ShareBy
from realgpu.calibration.failures import WorkError
from realgpu.errors import RealGpuError
from realgpu.hosted import HostedWorker
from realgpu.workers.backends.own_gate import OwnGate
from realgpu.workers.protocol import Done, Failed, Finished, Job, Message, Ready, Run, Stopped

EXIT_WITHIN_S: Final = 1.0
"""A worker that has closed its socket ends within so long."""

AHEAD_S: Final = 0.02
"""Work that is sent ahead to who is kept busy: longer than this process is away on a machine in use."""

MOST_AHEAD: Final = 16
"""Batches that are sent ahead at most."""


class Resident:
    """One worker.

    Attributes
    ----------
    batch
        The largest it serves.
    share, share_by
        Its share of the GPU, and how that is realised.
    changeable
        The share can be changed while it lives.
    loaded
        What it said when it was ready; nothing before.
    launched_ns, ready_ns
        When it was started, and when it was ready. CLOCK_MONOTONIC.
    gate
        Its launch gate's counters, where there are any.
    took_s
        Seconds of the batches that were served and not asked about yet.
    outstanding
        Batches that were sent and not served yet.
    failure
        Why it does nothing any more.
    """

    def __init__(
        self,
        instance: int,
        row: int,
        profile: ModelProfile,
        job: Job,
        batch: int,
        share: float,
        worker: HostedWorker,
        gate: OwnGate | None,
    ) -> None:
        self.instance = instance
        self.row = row
        self.profile = profile
        self.job = job
        self.batch = batch
        self.share = share
        self.share_by: ShareBy = "whole"
        self.changeable = False
        self.worker = worker
        self.gate = gate
        self.loaded: Mapping[str, Any] = {}
        self.launched_ns = 0
        self.ready_ns = 0
        self.took_s: deque[float] = deque()
        self.failure: WorkError | None = None
        self.outstanding = 0
        self._busy: Run | None = None
        self._sent = 0

    @property
    def busy(self) -> bool:
        """It works all the time."""
        return self._busy is not None or self.job == "train"

    def send(self, count: int, iterations: int) -> None:
        """Have it serve a batch."""
        self.worker.tell(Run(self._sent, count, iterations))
        self._sent += count
        self.outstanding += 1

    def keep_busy(self, count: int, iterations: int, expected_s: float) -> None:
        """Have it serve batch after batch until `let_rest`; the next ones are always there."""
        self._busy = Run(0, count, iterations)
        for _ in range(min(max(2, ceil(AHEAD_S / expected_s)), MOST_AHEAD)):
            self.send(count, iterations)

    def let_rest(self) -> None:
        """Send nothing more; what was sent is still to be served."""
        self._busy = None

    def hear(self) -> None:
        """Read what it has to say, and see whether it lives."""
        ended = self.worker.ended  # before reading: whatever it said, it had said by then
        try:
            while (message := self.worker.channel.receive(0.0)) is not None:
                self._take(message)
        except RealGpuError as error:
            self._fail(WorkError("crashed", str(self.worker.fault(str(error)))))
        if (ended or self.worker.channel.closed) and self.failure is None:
            what = "ended unasked" if self.worker.wait(EXIT_WITHIN_S) else "hung up"
            self._fail(WorkError("crashed", str(self.worker.fault(what))))

    def hangs(self, what: str) -> WorkError:
        """Take note that it did not do something in time, and return that."""
        self._fail(WorkError("hung", str(self.worker.fault(f"hangs: did not {what} in time"))))
        assert self.failure is not None
        return self.failure

    def memory_bytes(self) -> int | None:
        """Return what it took of the device at most, as its allocator says; on the CPU, of the host."""
        peak = self.loaded.get("peak_memory_bytes")
        if peak is not None:
            return int(peak)
        if self.loaded.get("backend") != "cpu":
            return None
        try:
            status = Path(f"/proc/{self.worker.pid}/status").read_text()
        except OSError:
            return None
        peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(peaks[0]) * 1024 if peaks else None

    def _take(self, message: Message) -> None:
        if isinstance(message, Ready):
            self.loaded, self.ready_ns = message.loaded, message.at_ns
        elif isinstance(message, Done):
            self.took_s.append((message.end_ns - message.start_ns) / 1e9)
            self.outstanding -= 1
            if self._busy is not None:
                self.send(self._busy.count, self._busy.iterations)
        elif isinstance(message, Failed):
            self._fail(WorkError.said(f"{self.worker.label}: {message.reason}"))
        elif not isinstance(message, Stopped | Finished):
            self._fail(
                WorkError("crashed", f"{self.worker.label}: sent {type(message).__name__}, which is no reply")
            )

    def _fail(self, failure: WorkError) -> None:
        """Keep the first reason."""
        self.failure = self.failure or failure
