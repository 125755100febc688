"""How few GPUs could have held the instances of a run: the volume bound on a cluster.

Instances are vectors of two sizes, the share they need and their memory, and GPUs are bins of size one in
each. However they are packed, the sum of either size over all instances has to fit, so that at every moment
no placement gets by with fewer GPUs than

    max(ceil(sum of needed shares), ceil(sum of memory / memory of a GPU)),

the L1 bound of vector bin packing. Where GPUs differ, the memory is that of the one that has most, and which
types an instance may have is left out of account: both only make the bound weaker. An instance needs what
profiling found, whatever the system reserves for it, be it a whole GPU; one on several GPUs counts on each,
as the system split it. How many instances there are is the system's doing too, and no part of the bound.

It holds for placements that keep the needs on a GPU within 1. A system that piles up more can be below it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.occupancy import Holding

TOLERANCE = 1e-6
"""A sum that exceeds a whole number by less, in GPUs, is taken for that number: rounding errors of sums are
smaller, and leaving a GPU out only makes the bound weaker."""


@dataclass(frozen=True, slots=True)
class VolumeBound:
    """The bound over time, as columns: an entry for each stretch in which nothing changed.

    `sm` and `memory` are the GPUs that the needed shares, and the memory, ask for by themselves.
    """

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    sm: NDArray[np.int64]
    memory: NDArray[np.int64]

    @property
    def gpus(self) -> NDArray[np.int64]:
        """GPUs below which no placement gets by."""
        return np.maximum(self.sm, self.memory)

    @property
    def peak(self) -> int:
        """Largest bound of any moment."""
        return int(self.gpus.max(initial=0))

    def gpu_seconds(self, gpus: NDArray[np.int64]) -> float:
        """Integral of a column of GPUs over time."""
        return float(np.sum(gpus * (self.end_s - self.start_s)))


def volume_bound(held: Holding) -> VolumeBound:
    """Add up, between any two changes on any GPU, what the residents of all GPUs need.

    Changes of one instant are taken together, so that states that last no time do not count.
    """
    times = np.concatenate([held.start_s, held.end_s])
    instants, where = np.unique(times, return_inverse=True)

    def whole(sizes: NDArray[np.float64]) -> NDArray[np.int64]:
        changes = np.concatenate([sizes, -sizes])
        sums = np.cumsum(np.bincount(where, weights=changes, minlength=len(instants)))[:-1]
        return np.asarray(np.maximum(np.ceil(sums - TOLERANCE), 0.0), dtype=np.int64)

    return VolumeBound(instants[:-1], instants[1:], whole(held.need), whole(held.memory_of_most))
