"""How much of each GPU was in use: worked out after a run from who was active when, and on which quotas.

The share in use is that of the law of contention (`profiles.contention`), as in the simulated world. It is
no measurement of a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from profiles import InterferenceModel
from profiles.contention import contention
from profiles.sharing import Sharing

QUOTA, INACTIVE, ACTIVE = range(3)


@dataclass
class Occupant:
    """One instance's part on a GPU (a `profiles.contention.Sharer`)."""

    slo_sensitive: bool
    request: float
    limit: float
    part: float
    wave_s: float
    model: str
    batch: int
    quota: float = 0.0


@dataclass
class GpuHistory:
    """What happened on one GPU."""

    occupants: dict[int, Occupant] = field(default_factory=dict)
    events: list[tuple[float, int, int, float]] = field(default_factory=list)
    """Time, what, instance, and the quota if it is one."""

    def active(self, instance: int, start_s: float, end_s: float) -> None:
        """Note that an instance was active from then to then."""
        if start_s < end_s:
            self.events.append((start_s, ACTIVE, instance, 0.0))
            self.events.append((end_s, INACTIVE, instance, 0.0))

    def quota(self, instance: int, time_s: float, quota: float) -> None:
        """Note that an instance had this quota from then on."""
        self.events.append((time_s, QUOTA, instance, quota))


def integrals(
    history: GpuHistory,
    times_s: Sequence[float],
    sharing: Sharing,
    interference: InterferenceModel | None,
) -> list[float]:
    """Return the integral of the share in use from 0 to each of these times, which ascend. Share seconds."""
    events = sorted(history.events)
    events.append((float("inf"), QUOTA, -1, 0.0))
    running: dict[int, Occupant] = {}
    found: list[float] = []
    position, now_s, total, in_use = 0, 0.0, 0.0, 0.0
    for time_s in times_s:
        while events[position][0] <= time_s:
            event_s, what, instance, quota = events[position]
            event_s = max(event_s, now_s)
            total += in_use * (event_s - now_s)
            now_s = event_s
            _apply(history.occupants[instance], what, instance, quota, running)
            active = [one for one in running.values() if one.quota > 0.0]
            in_use = contention(active, sharing, interference)[0] if active else 0.0
            position += 1
        total += in_use * max(0.0, time_s - now_s)
        now_s = max(now_s, time_s)
        found.append(total)
    return found


def _apply(occupant: Occupant, what: int, instance: int, quota: float, running: dict[int, Occupant]) -> None:
    if what == QUOTA:
        occupant.quota = quota
    elif what == ACTIVE:
        running[instance] = occupant
    else:
        running.pop(instance, None)
