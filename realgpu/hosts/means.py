"""What a way of sharing means on a device: MPS or time slices, percentages, and whom gates hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from profiles.sharing import Sharing, SpaceSharing, TimeSharing


@dataclass(frozen=True, slots=True)
class Means:
    """How a device carries out what quotas mean.

    Attributes
    ----------
    mps
        Workers are clients of MPS, whose kernels run at once; otherwise the driver gives them time slices.
    percentage
        An MPS percentage keeps a worker to a part of the SMs: to its `limit`, for quotas that change below
        it, or to its `quota`, which does not change while it lives.
    held
        Whose launches a gate holds to quotas; those of everybody else it counts.
    prioritised
        Training gets the lower of the two priorities of MPS clients.
    notes
        What this leaves out of the way of sharing.
    """

    mps: bool
    percentage: Literal["limit", "quota"] | None = None
    held: Literal["all", "training", "nobody"] = "nobody"
    prioritised: bool = False
    notes: tuple[str, ...] = ()

    def holds(self, *, training: bool) -> bool:
        """Whether launches of a worker are held to its quota."""
        return self.held == "all" or (self.held == "training" and training)

    def without_mps(self) -> Means:
        """Return what is left where there is no MPS: a percentage becomes a rate of launches."""
        if not self.mps:
            return self
        notes = list(self.notes)
        if self.percentage == "quota":
            notes.append("quotas are rates of launches, not parts of the SMs, as they would be under MPS")
        if self.prioritised:
            notes.append("there are no priorities without MPS: training slows servers as one of them would")
        held = "all" if self.percentage == "quota" else self.held
        return replace(self, mps=False, percentage=None, held=held, prioritised=False, notes=tuple(notes))


def means_of(sharing: Sharing) -> Means:
    """Return how a device carries out a way of sharing.

    MPS percentages are fixed for as long as a process runs (NVIDIA, Multi-Process Service, 2.3.5.2): quotas
    that change are launch rates below a percentage of the limit. MPS knows two client priorities, as hints
    (there, 2.3.8).
    """
    if isinstance(sharing, SpaceSharing):
        if sharing.gated:
            return Means(mps=True, percentage="limit", held="all")
        return Means(mps=True, percentage="quota" if sharing.partitioned else None)
    if isinstance(sharing, TimeSharing):
        notes = []
        if sharing.weights == "request":
            notes.append("contended time is divided as the driver does, not by requests")
        if sharing.width == "limit":
            notes.append("partitions take no turns: those that do not fit together run at once")
            return Means(mps=True, percentage="limit", held=sharing.caps, notes=tuple(notes))
        return Means(mps=False, held=sharing.caps, notes=tuple(notes))
    note = "priority is the hint of MPS client priorities: nothing is preempted, and no quota enforced"
    return Means(mps=True, prioritised=True, notes=(note,))
