"""How a host runs workers: what the real world is told beside what it is to run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from policies import Launch
from realgpu.control.throttle import Throttle
from realgpu.errors import RealGpuError


@dataclass(frozen=True, slots=True)
class HostReport:
    """What a host says of a run.

    Attributes
    ----------
    record
        For the manifest, as JSON.
    notes
        What a reader of the results should know, a sentence each.
    """

    record: Mapping[str, Any]
    notes: tuple[str, ...]


class Host:
    """What a host does beside a run; this one does nothing. The world calls each when its time has come."""

    def capacity(self, launch: Launch, loaded: Mapping[str, Any], *, alone: bool) -> float | None:
        """Return what a worker's work costs in a second on the whole GPU; `None`: nobody holds it to quotas.

        Parameters
        ----------
        loaded
            What it said when it was ready (`Ready.loaded`).
        alone
            Nobody else worked on its GPUs meanwhile.

        Raises
        ------
        RealGpuError
            If it has to be held to quotas and cannot be.
        """
        cost_per_s = loaded.get("cost_per_s")
        return None if cost_per_s is None else float(cost_per_s)

    def begin(self, start_ns: int) -> None:
        """Take note of time 0, by CLOCK_MONOTONIC."""

    def let_go(self) -> None:
        """Hold no worker back any more: all are to end, and nobody keeps their rates alive."""

    def explain(self, error: RealGpuError) -> RealGpuError:
        """Return what ended a run, with what the host knows of it; workers still live."""
        return error

    def conclude(self, start_ups: Sequence[Mapping[str, Any]]) -> HostReport | None:
        """Say what the run ran on, after all workers have ended; `start_ups` is what they said when ready."""
        return None

    def write_samples(self, folder: Path) -> None:
        """Write what was sampled beside the run."""


def _plain_environment(launch: Launch, row: int) -> Mapping[str, str]:
    return os.environ


@dataclass(frozen=True)
class Hosting:
    """How workers are started, watched and ended on this host.

    Attributes
    ----------
    command
        The worker's program; the number of its socket's descriptor is added.
    environment
        Environment of the worker of a launch whose first seat is this row of the board: where MPS and a
        launch gate come in. May raise `RealGpuError`.
    worker_options
        Options of the backend (`Begin.options`).
    throttle
        What holds workers to their quotas beyond the board.
    gpus_available
        GPUs of this host; `None`: as many as anybody likes.
    before_kill
        Called with the process id of a worker that has to be killed (a client of MPS is to be told first).
    ready_within_s
        A worker that does not start up within so long hangs. 120 s, assumed.
    reply_within_s, reply_within_expected
        One that does not end its batch hangs after the longer of 10 s and 20 times what the profile expects:
        assumed.
    host
        What it does beside a run.
    """

    command: tuple[str, ...] = (sys.executable, "-m", "realgpu.workers")
    environment: Callable[[Launch, int], Mapping[str, str]] = _plain_environment
    worker_options: Mapping[str, Any] = field(default_factory=dict)
    throttle: Throttle | None = None
    gpus_available: int | None = None
    before_kill: Callable[[int], None] | None = None
    ready_within_s: float = 120.0
    reply_within_s: float = 10.0
    reply_within_expected: float = 20.0
    host: Host = field(default_factory=Host)
