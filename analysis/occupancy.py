"""How many GPUs were held, and how much of them was left unused.

A GPU is active while an instance sits on it. Averages over GPUs weigh every second of every active GPU
alike: the fragmentation of a cluster is the integral of the unused part of its active GPUs divided by their
GPU-seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recording import Run


@dataclass(frozen=True, slots=True)
class Holding:
    """What was allocated on GPUs, as columns: an entry for each stretch between two changes of a GPU.

    `need`, `request` are shares, `memory` the fraction of the GPU's memory (NaN where that is not known), and
    `memory_of_most` the same bytes as a fraction of the memory of the GPU that has most. Only stretches with
    at least one resident are kept, so all of them are of active GPUs.
    """

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    need: NDArray[np.float64]
    request: NDArray[np.float64]
    memory: NDArray[np.float64]
    memory_of_most: NDArray[np.float64]

    @property
    def gpu_seconds(self) -> float:
        """Seconds that GPUs were active, summed over GPUs."""
        return float(np.sum(self.end_s - self.start_s))

    def unused(self, used: NDArray[np.float64]) -> float | None:
        """Mean unused part of active GPUs over time; `None` if none ever was. Overcommitted ones are full."""
        gpu_seconds = self.gpu_seconds
        if gpu_seconds == 0.0:
            return None
        return float(np.sum(np.clip(1.0 - used, 0.0, 1.0) * (self.end_s - self.start_s))) / gpu_seconds

    @property
    def sm_fragmentation(self) -> float | None:
        """Mean of 1 - sum of profiled requests: what the residents do not need (paper section 6.5)."""
        return self.unused(self.need)

    @property
    def sm_fragmentation_reserved(self) -> float | None:
        """Mean of 1 - sum of reserved shares: what the system could still promise."""
        return self.unused(self.request)

    @property
    def memory_fragmentation(self) -> float | None:
        """Mean of 1 - memory allocated / memory of the GPU.

        `None` where no instance asked for memory, or a GPU in use has an unknown one.
        """
        return self.unused(self.memory) if self.memory.any() and not np.isnan(self.memory).any() else None

    @property
    def peak_gpus(self) -> int:
        """Most GPUs active at once. States that last no time do not count."""
        lasting = self.end_s > self.start_s
        times = np.concatenate([self.start_s[lasting], self.end_s[lasting]])
        change = np.repeat([1, -1], np.count_nonzero(lasting))
        instants, where = np.unique(times, return_inverse=True)
        if not len(instants):
            return 0
        return int(np.cumsum(np.bincount(where, weights=change)).max())


def holding(run: Run) -> Holding:
    """Turn the rows of `gpus`, each holding until the next of its GPU, into stretches of active time."""
    rows = run.gpus
    gpu, time_s = rows["gpu"].to_numpy(), rows["time_s"].to_numpy()
    order = np.lexsort((np.arange(len(gpu)), time_s, gpu))
    gpu, time_s = gpu[order], time_s[order]
    end_s = np.full(len(gpu), run.manifest.simulated_s)
    same_gpu = gpu[1:] == gpu[:-1]
    end_s[:-1][same_gpu] = time_s[1:][same_gpu]
    active = rows["instances"].to_numpy()[order] > 0
    cluster = run.manifest.cluster
    capacity = cluster.memory_bytes_of(gpu[active])
    memory_bytes = rows["memory_bytes"].to_numpy()[order][active]
    return Holding(
        start_s=time_s[active],
        end_s=end_s[active],
        need=rows["need"].to_numpy()[order][active],
        request=rows["request"].to_numpy()[order][active],
        memory=memory_bytes / np.where(capacity > 0, capacity, np.nan),
        memory_of_most=memory_bytes / max(cluster.most_memory_bytes, 1),
    )


def active_share_seconds(run: Run) -> float:
    """Integral of the share in use, summed over GPUs: the last value of each GPU's running integral."""
    if run.gpus.empty:
        return 0.0
    return float(run.gpus.groupby("gpu", sort=True)["active_share_s"].max().sum())
