"""What work costs in a second on the whole GPU, of everybody who is held to a quota."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies import Launch

Kind = tuple[str, str, int, int]
"""Workers whose capacity is the same: model, job, largest batch, SMs."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The capacity of one kind of worker.

    Attributes
    ----------
    cost_per_s
        On the whole GPU.
    sm_count
        SMs on which it was measured.
    instance
        Whose worker measured it.
    alone
        Nobody else worked on the GPU meanwhile; beside others time is longer, and the capacity too small.
    """

    cost_per_s: float
    sm_count: int
    instance: int
    alone: bool


class Capacities:
    """What workers measured, and what is taken for those who started beside busy neighbours.

    The first that measured alone counts for all of its kind; until there is one, the largest, since
    neighbours only ever take away. A worker that MPS keeps to a part of the SMs can measure that part alone:
    the whole GPU is taken to be faster in proportion to SMs (assumed), so that a quota as large as the part
    is no further hold on it.
    """

    def __init__(self) -> None:
        self._known: dict[Kind, Capacity] = {}

    def take(self, launch: Launch, loaded: Mapping[str, Any], gpu_sm_count: int, *, alone: bool) -> float:
        """Take note of what a worker measured, and return the capacity that counts for it."""
        sm_count = int(loaded["sm_count"])
        kind = (str(loaded["model"]), str(loaded["job"]), launch.size.batch, sm_count)
        cost_per_s = float(loaded["cost_per_s"]) * gpu_sm_count / sm_count
        measured = Capacity(cost_per_s, sm_count, launch.instance, alone)
        known = self._known.get(kind)
        if known is None or (not known.alone and (alone or cost_per_s > known.cost_per_s)):
            self._known[kind] = measured
        return self._known[kind].cost_per_s

    def as_json(self) -> list[dict[str, Any]]:
        """Return the record for a manifest."""
        return [
            {
                "model": model,
                "job": job,
                "batch": batch,
                "sm_count": sm_count,
                "cost_per_s": capacity.cost_per_s,
                "instance": capacity.instance,
                "alone": capacity.alone,
            }
            for (model, job, batch, sm_count), capacity in self._known.items()
        ]

    def notes(self) -> list[str]:
        """Say which were found beside others."""
        return [
            f"the capacity of {model} ({job}, batch {batch}) was found beside busy neighbours: too small"
            for (model, job, batch, _), capacity in self._known.items()
            if not capacity.alone
        ]
