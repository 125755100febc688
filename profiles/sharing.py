"""How the residents of a GPU share it: what a vertical policy's quotas mean.

A vertical policy names one of these, and a world carries it out: the simulated one by the law of contention
(`profiles.contention`), a device by MPS percentages, a launch gate, or the driver's time slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SpaceSharing:
    """All run at once, each on its quota of the SMs.

    Attributes
    ----------
    partitioned
        Quotas are caps on SMs (MPS active-thread percentages): residents meet only where caps exceed the GPU.
    gated
        Quotas are launch tokens: a resident launches only as busily as its quota.
    """

    partitioned: bool = False
    gated: bool = False


MPS_CAPS = SpaceSharing(partitioned=True)
"""NVIDIA MPS with an active-thread percentage for each client."""

LAUNCH_TOKENS = SpaceSharing(gated=True)
"""Plain co-location behind a launch gate: Dilu's kernel tokens (ASPLOS 2025, section 3.4)."""

UNMANAGED = SpaceSharing()
"""Plain co-location: everybody launches at will."""


@dataclass(frozen=True, slots=True)
class TimeSharing:
    """Residents take turns; a quota divided by the width is a share of time.

    Attributes
    ----------
    width
        SMs of a resident while it runs: the whole `gpu`, or its `limit`, an MPS partition, so that those
        whose partitions fit together run together.
    weights
        How contended time is divided: `equal`, or by `request`, so that every request is granted.
    caps
        Whom the quota caps: `all`, or `training` only. A cap on use over a window of seconds never stops a
        single batch, but always a job that does not pause.
    turn_s
        Length of a turn; a batch that begins beside others waits for the rest of one.
    switch_loss
        Part of the GPU lost to switching while several are active.
    """

    width: Literal["gpu", "limit"] = "gpu"
    weights: Literal["equal", "request"] = "equal"
    caps: Literal["all", "training"] = "training"
    turn_s: float = 0.0
    switch_loss: float = 0.0


@dataclass(frozen=True, slots=True)
class PrioritySharing:
    """SLO-sensitive residents run on their quotas as if alone; best-effort ones get what is left, at once.

    Attributes
    ----------
    beside
        What best-effort work gets while others are active: the SMs that are `left` over, or all of its quota
        for a `fraction` of the time, while kernels run that leave another resource free.
    fraction
        That fraction.
    intrusion
        Relative delay of SLO-sensitive work by best-effort work that is already running.
    preempt_s
        Delay of a batch that begins beside best-effort work, until that is out of the way.
    """

    beside: Literal["left", "fraction"] = "left"
    fraction: float = 0.0
    intrusion: float = 0.0
    preempt_s: float = 0.0


Sharing = SpaceSharing | TimeSharing | PrioritySharing
