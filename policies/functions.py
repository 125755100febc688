"""What is deployed: functions, their sizes, and the cluster they are deployed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from profiles import GpuType, ModelProfile

Kind = Literal["inference", "llm", "training"]


class PolicyError(ValueError):
    """A deployment that no policy can serve, said in one line."""


@dataclass(frozen=True, slots=True)
class Size:
    """What sizing decided for one instance of a function (paper section 3.1).

    `request` and `limit` are SM shares of one GPU in [0, 1]; `batch` is the inference batch size (IBS; 1 for
    training); `trials` is how many measurements the decision took. `need` is the request that profiling
    found, where the system reserves another one (a whole GPU, a static quota); `None` where it reserves
    just that.
    """

    batch: int
    request: float
    limit: float
    trials: int = 0
    need: float | None = None

    @property
    def needed(self) -> float:
        """The share that profiling found necessary, whatever the system reserves."""
        return self.request if self.need is None else self.need

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise PolicyError(f"batch: found {self.batch}, allowed are integers from 1")
        if not 0.0 < self.request <= self.limit <= 1.0:
            raise PolicyError(
                f"request, limit: found {self.request}, {self.limit}, allowed is 0 < request <= limit <= 1"
            )


@dataclass(frozen=True, slots=True)
class Choice:
    """A size that an instance may have, and the rates for which it makes sense.

    Attributes
    ----------
    service_s
        Profiled time of a full batch at the request share.
    least_rps, most_rps
        Below the one its batches do not fill in time, above the other they queue.
    """

    size: Size
    service_s: float
    least_rps: float
    most_rps: float


@dataclass(frozen=True, slots=True)
class Function:
    """A deployed model with a service-level objective.

    Attributes
    ----------
    slo_s
        Latency target of a request; for an `llm`, of each output token (mean over the request, queueing
        included). `None` for training.
    memory_bytes
        Device memory of one instance; of one worker for training.
    workers
        GPUs of one training instance (data-parallel workers, all on one node). 1 otherwise.
    iterations
        Steps after which a training instance is done; `None` trains for the whole experiment.
    start_s
        When the function is deployed.
    min_instances
        Instances that are always kept, and warm at the start.
    timeout_s
        Requests that waited longer are dropped; `None` waits forever.
    size
        A pinned size; `None` lets the system's sizing policy decide.
    """

    name: str
    kind: Kind
    model: ModelProfile
    memory_bytes: int
    slo_s: float | None = None
    output_tokens: int = 1
    workers: int = 1
    iterations: int | None = None
    start_s: float = 0.0
    min_instances: int = 1
    timeout_s: float | None = None
    size: Size | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """Identical nodes of identical GPUs. GPU `i` stands in node `i // gpus_per_node`."""

    nodes: int
    gpus_per_node: int
    gpu: GpuType

    @property
    def gpus(self) -> int:
        """Number of GPUs in the cluster."""
        return self.nodes * self.gpus_per_node


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything a world needs to run, apart from the system that decides: the resolved experiment.

    `arrivals[i]` are the sorted arrival times in seconds (float64) of `functions[i]`; empty for training.
    `output_tokens[i]` are the output tokens of those requests, or `None` where every request has the
    function's own `output_tokens`. Arrivals at or after `duration_s` are not served.
    """

    cluster: Cluster
    functions: tuple[Function, ...]
    arrivals: tuple[NDArray[np.float64], ...]
    output_tokens: tuple[NDArray[np.int32] | None, ...]
    duration_s: float
