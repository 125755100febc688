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

    @property
    def groups(self) -> tuple[Cluster, ...]:
        """The one group of identical nodes."""
        return (self,)

    @property
    def kinds(self) -> tuple[Cluster, ...]:
        """The one kind of node."""
        return (self,)


@dataclass(frozen=True, slots=True)
class MixedCluster:
    """Nodes that differ in how many GPUs they have, and of which type: groups of identical ones, in order.

    Every node has as many slots as the widest one has GPUs, so that GPU `i` stands in node
    `i // gpus_per_node` here as well. A narrower node leaves its last slots empty; an empty slot has a number
    and no GPU. A type with `memory_bytes` 0 is one whose memory is not known: only what asks for no memory
    fits.
    """

    groups: tuple[Cluster, ...]

    def __post_init__(self) -> None:
        if not self.groups:
            raise PolicyError("groups: found none, allowed is at least one group of nodes")
        memory_of: dict[str, int] = {}
        for group in self.groups:
            gpu = group.gpu
            if group.nodes < 1 or group.gpus_per_node < 1:
                raise PolicyError(
                    f"groups: found {group.nodes} x {group.gpus_per_node} GPUs of {gpu.name}, "
                    "allowed is at least one GPU on one node"
                )
            if memory_of.setdefault(gpu.name, gpu.memory_bytes) != gpu.memory_bytes:
                raise PolicyError(
                    f"groups: found {gpu.name} with {memory_of[gpu.name]} and with {gpu.memory_bytes} bytes, "
                    "allowed is one memory a type"
                )

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return sum(group.nodes for group in self.groups)

    @property
    def gpus_per_node(self) -> int:
        """GPUs of the widest node: the slots of each."""
        return max(group.gpus_per_node for group in self.groups)

    @property
    def gpus(self) -> int:
        """Number of GPUs in the cluster, empty slots not counted."""
        return sum(group.gpus for group in self.groups)

    @property
    def kinds(self) -> tuple[Cluster, ...]:
        """Groups that differ in nothing but their place taken together, in order of first appearance."""
        nodes: dict[tuple[int, GpuType], int] = {}
        for group in self.groups:
            kind = group.gpus_per_node, group.gpu
            nodes[kind] = nodes.get(kind, 0) + group.nodes
        return tuple(Cluster(count, *kind) for kind, count in nodes.items())


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


def mean_longest(output_tokens: NDArray[np.int32], batch: int) -> float:
    """Return the mean, over batches of consecutive requests, of the output tokens of the longest answer.

    A static batch of an LLM runs until its longest answer is complete: this is how many iterations it takes.
    The last requests, if they fill no batch, count only where there is no other.
    """
    if not output_tokens.size:
        return 1.0
    whole = output_tokens[: max(1, output_tokens.size // batch) * batch]
    longest = np.maximum.reduceat(whole, np.arange(0, whole.size, batch))
    return max(1.0, float(longest.mean()))
