"""What the orchestrator tells the controller, and what the controller says at the end."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Place:
    """One GPU's part of an instance that sits down: its row on the board, and what it was promised there."""

    row: int
    gpu: int
    request: float
    limit: float
    part: float
    seat: Hashable


@dataclass(frozen=True, slots=True)
class SitDown:
    """An instance is ready, and gets its first quotas.

    `wanted` is `Scaling.share`; `cost_per_s` what its launches cost in a second when it has the whole GPU,
    where a launch gate holds it to its quota.
    """

    instance: int
    function: int
    batch: int
    places: tuple[Place, ...]
    wanted: float | None = None
    cost_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class StandUp:
    """An instance has left."""

    instance: int


@dataclass(frozen=True, slots=True)
class Want:
    """The horizontal policy wants an instance to use another share."""

    instance: int
    share: float


@dataclass(frozen=True, slots=True)
class Start:
    """Time 0, by CLOCK_MONOTONIC: the first tick."""

    start_ns: int


@dataclass(frozen=True, slots=True)
class End:
    """Report, and end."""


Message = SitDown | StandUp | Want | Start | End


@dataclass(frozen=True, slots=True)
class ControlReport:
    """What the controller did.

    Attributes
    ----------
    ticks
        The latest ticks (`records.TICK`), oldest first.
    ticks_done, ticks_missed
        How many there were, and how many were skipped because an earlier one, or the host, took too long.
    changes
        Every quota that was set (`records.CHANGE`), in the order of time.
    priority
        How the host runs this process.
    """

    ticks: NDArray[np.void]
    ticks_done: int
    ticks_missed: int
    changes: NDArray[np.void]
    priority: str


@dataclass(frozen=True, slots=True)
class Crashed:
    """Why the controller ended without being asked to."""

    reason: str
