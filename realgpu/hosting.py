"""How a host runs workers: what the real world is told beside what it is to run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from policies import Launch
from realgpu.control.throttle import Throttle


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
        launch gate come in.
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
