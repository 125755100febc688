"""The slots a policy can fill: one protocol each, and the views that a policy may see.

A system is a frozen bundle of these. A policy is a pure function of what it is shown: it reads no clock,
draws no random number and does no I/O, so that the same object decides in the simulated and in the real
world, and the same view always gets the same decision. What a policy must remember travels in the view
(`GpuView.memory`, `FunctionView.memory`).

Each slot is one small protocol. What only some policies do is a protocol of its own, which a policy may fill
as well: `OffersChoices`, `Prewarms`, `Evicts`, `Weighs`.

Views are read-only by agreement. On hot paths they are the world's own objects, seen through these protocols.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from policies.functions import Choice, Function, Kind, Size
from profiles import Measure
from profiles.sharing import Sharing

# ------------------------------------------------------------------------------------------------ sizing


class SizingPolicy(Protocol):
    """Which batch, request and limit for this function? Asked once a function."""

    def size(self, function: Function, measure: Measure) -> Size:
        """Return what the system reserves for one instance; `measure` gives seconds at (batch, share).

        Raises a `PolicyError` that names the function if no size meets its SLO.
        """

    def reserve(self, size: Size) -> Size:
        """Return what the system reserves for a size that profiling found."""


@runtime_checkable
class OffersChoices(Protocol):
    """A sizing policy whose instances need not be of one size: placement chooses for each launch."""

    def choices(self, function: Function, measure: Measure) -> tuple[Choice, ...]:
        """Return every size that an instance of a served function may have.

        Raises a `PolicyError` that names the function if there is none.
        """


# --------------------------------------------------------------------------------------------- placement


@dataclass(frozen=True, slots=True)
class PlacementRequest:
    """One instance that needs a place. Shares and memory are per GPU; `gpus` > 1 is a gang on a node.

    Where sizing offers choices, `choices` are those of use now, and the placement says which it took by the
    shard's batch, request and limit. The instance may have GPUs of `gpu_types` alone, or of any (`None`).
    """

    service: Hashable
    kind: Kind
    gpus: int
    request: float
    limit: float
    memory_bytes: int
    choices: tuple[Choice, ...] = ()
    gpu_types: frozenset[str] | None = None


class Shard(NamedTuple):
    """What an instance occupies on one GPU.

    Attributes
    ----------
    part
        The fraction of the model that sits there.
    seat
        Where on the GPU, in terms of the placement policy: it sees it again as `ClusterView.shards`, and the
        vertical policy as `ResidentView.seat`.
    batch
        The batch of the choice that was taken; 0: the function's own.
    """

    gpu: int
    request: float
    limit: float
    memory_bytes: int
    part: float = 1.0
    seat: Hashable = None
    batch: int = 0


class Demand(NamedTuple):
    """What an instance asks of each of its GPUs, of how many, and of which types (`None`: any)."""

    request: float
    memory_bytes: int
    gpus: int
    gpu_types: frozenset[str] | None = None


EMPTY_SLOT = -1
"""The memory of a slot without a GPU: nothing fits, not even what asks for no memory."""


class ClusterView(Protocol):
    """The books of a cluster as columns, one entry a GPU; GPU `i` stands in node `i // gpus_per_node`.

    Where nodes differ in their number of GPUs, the last slots of the narrower ones are empty: they have
    entries, with a request and a limit of 1 and a memory of `EMPTY_SLOT`, and nothing may be placed there.
    """

    @property
    def gpus_per_node(self) -> int:
        """Slots of each node."""

    @property
    def memory_capacity(self) -> NDArray[np.int64]:
        """Bytes of each GPU; 0 where they are not known, and `EMPTY_SLOT` where there is no GPU."""

    @property
    def node_kinds(self) -> NDArray[np.int64]:
        """A number for each node: those that have the same one have as many GPUs of the same type."""

    def of_types(self, types: frozenset[str]) -> NDArray[np.bool_]:
        """Mask of the GPUs of these types, not to be written to."""

    @property
    def request(self) -> NDArray[np.float64]:
        """Sum of the residents' requests."""

    @property
    def limit(self) -> NDArray[np.float64]:
        """Sum of the residents' limits."""

    @property
    def memory(self) -> NDArray[np.int64]:
        """Bytes in use."""

    @property
    def residents(self) -> NDArray[np.int32]:
        """Number of residents; a GPU with none is not active."""

    def hosts(self, service: Hashable) -> Sequence[int]:
        """GPUs that host an instance of `service`, ascending."""

    def training_gangs(self, gpu: int) -> Sequence[tuple[int, ...]]:
        """The GPUs of every training instance that has a worker on `gpu`, oldest first."""

    def shards(self, gpu: int) -> Sequence[Shard]:
        """What occupies `gpu`, oldest first."""

    @property
    def demands(self) -> Mapping[Demand, int]:
        """How many live instances there are of each demand."""


class PlacementPolicy(Protocol):
    """Which GPUs take this instance? Asked at each launch; may split, may refuse."""

    @property
    def splits_llm(self) -> bool:
        """Whether an LLM may be spread over several GPUs."""

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...] | None:
        """Return one shard a GPU, or `None` to refuse."""


# ------------------------------------------------------------------------- horizontal and keep-alive


class InstanceView(Protocol):
    """A live instance of a served function."""

    @property
    def instance(self) -> int:
        """Its number; a later launch has a higher one."""

    @property
    def ready(self) -> bool:
        """Has started up."""

    @property
    def idle(self) -> bool:
        """Is ready and runs no batch."""

    @property
    def batch(self) -> int:
        """Largest batch it serves."""

    @property
    def request(self) -> float:
        """Floor share."""

    @property
    def limit(self) -> float:
        """Ceiling share."""

    @property
    def quota(self) -> float:
        """The share it may use now, on the first of its GPUs; the request until it is ready."""

    @property
    def service_s(self) -> float:
        """Profiled time of one full batch at its request share."""

    @property
    def fastest_s(self) -> float:
        """Profiled time of one full batch at its limit share."""


class FunctionView(Protocol):
    """What a policy may see of a served function."""

    @property
    def model(self) -> str:
        """Name of the model it serves."""

    @property
    def now_s(self) -> float:
        """The time of the question."""

    @property
    def min_instances(self) -> int:
        """Instances that are always kept."""

    @property
    def batch(self) -> int:
        """The size's batch."""

    @property
    def slo_s(self) -> float:
        """Latency target of a request, for all its output tokens; infinity where it has none."""

    @property
    def service_s(self) -> float:
        """Profiled time of one full batch at the request share."""

    @property
    def throughput_rps(self) -> float:
        """Profiled requests per second of one instance at its request share."""

    @property
    def live(self) -> int:
        """Instances that are ready or being launched (draining ones are not)."""

    @property
    def instances(self) -> Sequence[InstanceView]:
        """The live instances, oldest first."""

    @property
    def memory(self) -> object:
        """What the horizontal policy returned last; `None` at first."""

    @property
    def last_arrival_s(self) -> float:
        """When the latest request arrived; minus infinity before any."""

    @property
    def arrived(self) -> int:
        """Requests that have arrived so far."""

    @property
    def cold_start_s(self) -> float:
        """What the start-up policy says that a launch takes."""

    @property
    def memory_bytes(self) -> int:
        """Device memory of one instance."""

    @property
    def waiting(self) -> int:
        """Requests that have arrived and are in no batch yet."""

    @property
    def latency_s(self) -> float:
        """Mean end-to-end latency of the requests completed in the last second of traffic; NaN before any."""

    def rates(self, seconds: int) -> NDArray[np.int64]:
        """Arrivals in each of the last whole seconds, oldest first.

        At most `seconds`, and none from before the last scaling action: an action clears the window.
        """

    @property
    def last_rate(self) -> int:
        """Arrivals in the last whole second."""

    def history(self, seconds: int) -> NDArray[np.int64]:
        """Arrivals in each of the last whole seconds, oldest first, whatever actions were taken."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many instances, and when the question is worth asking again.

    The policy promises that it would not decide otherwise before a second arrives with more than `above` or
    fewer than `below` requests, or before `until_s`. A world may skip the polls in between, and a quiet
    function costs nothing. After an action it is asked in the next second in any case.

    Attributes
    ----------
    target
        The wanted number of live instances.
    unserved_rps
        Launch, beyond the target, until new instances are profiled to serve so much. Where sizing
        `OffersChoices`: how many instances that takes is for the placement to say.
    retire
        Which instances go first when there are too many; then, and by default, the newest.
    share
        What every instance of the function should use from now on, for the vertical policy to see as
        `ResidentView.wanted`; `None` leaves it.
    memory
        What the policy wants to see again as `FunctionView.memory`.
    """

    target: int
    above: float = -1.0
    below: float = float("inf")
    until_s: float = float("inf")
    unserved_rps: float = 0.0
    retire: tuple[int, ...] = ()
    share: float | None = None
    memory: object = None


class HorizontalPolicy(Protocol):
    """How many instances? Asked each poll (1 s), unless it said when to ask again."""

    def scale(self, function: FunctionView) -> Scaling:
        """Return the wanted number of live instances, at least `function.min_instances`."""


class KeepAlivePolicy(Protocol):
    """When does an idle instance go? Asked each poll while a function has more instances than its minimum."""

    def idle_timeout_s(self, function: FunctionView) -> float:
        """Return how long an instance may idle before it is retired; infinity keeps it."""


class WarmWindow(NamedTuple):
    """Seconds after the last request in which a function without instances should have a warm one."""

    from_s: float
    until_s: float


@runtime_checkable
class Prewarms(Protocol):
    """A keep-alive policy that also launches ahead; asked each poll while a function has no instance."""

    def warm_window(self, function: FunctionView) -> WarmWindow:
        """Return when to have an instance ready, and how long it may then wait in vain.

        It is launched so early that it is ready at `from_s`, once for each silence.
        """


@runtime_checkable
class Evicts(Protocol):
    """A keep-alive policy that retires idle instances of other functions when a launch finds no place."""

    def keep_priority(self, function: FunctionView, clock: float) -> float:
        """Return how much an idle instance is worth keeping; the lowest goes first.

        `clock` is the priority of the last instance that had been evicted when the function was last used.
        """


# ---------------------------------------------------------------------------------------------- vertical


class ResidentView(Protocol):
    """One instance's part on one GPU, as the vertical policy sees it."""

    @property
    def instance(self) -> int:
        """Number of the instance."""

    @property
    def slo_sensitive(self) -> bool:
        """Serves requests; otherwise it trains, best-effort."""

    @property
    def is_llm(self) -> bool:
        """Serves a large language model."""

    @property
    def request(self) -> float:
        """Floor share."""

    @property
    def limit(self) -> float:
        """Ceiling share."""

    @property
    def quota(self) -> float:
        """The share it may use now."""

    @property
    def seat(self) -> Hashable:
        """Where on the GPU the placement policy put it (`Shard.seat`)."""

    @property
    def wanted(self) -> float | None:
        """The share that the horizontal policy wants it to use (`Scaling.share`); `None` if it never said."""

    @property
    def idle(self) -> bool:
        """Launched nothing during the policy's activity window."""

    @property
    def cycles(self) -> int:
        """Completed kernel launch cycles (KLC)."""

    @property
    def pressure(self) -> float:
        """T_cur / T_min of the latest completed cycle; 1.0 before any, and again after an idle window."""


class GpuView(Protocol):
    """One GPU, as the vertical policy sees it."""

    @property
    def residents(self) -> Sequence[ResidentView]:
        """Who sits here, oldest first."""

    @property
    def memory(self) -> object:
        """What the policy returned last; `None` at first."""


ALWAYS_CALM = (float("-inf"), float("inf"))
"""The band of a resident none of whose cycles matters."""

NEVER_CALM = (float("inf"), float("-inf"))
"""The band of a resident every cycle of which matters."""


class Grant(NamedTuple):
    """Quotas of a GPU's residents, in their order, and when the question is worth asking again.

    Attributes
    ----------
    memory
        What the policy wants to see again as `GpuView.memory`.
    calm
        For each resident the band [low, high) of pressures in which a completed cycle cannot change the next
        decision.
    settled
        With these quotas and this memory, and all else unchanged, the next decision would be the same. A
        policy that does not know says `False`, and is asked again until its answer repeats.

    The world asks again at the next tick of its grid when it is not settled, when a resident came, went, or
    changed between idle and busy, when another share is wanted of one, and after a cycle outside the calm
    band. A resident that is alone is asked about only when it comes, when it is left alone, and when another
    share is wanted.
    """

    quotas: tuple[float, ...]
    memory: object
    calm: tuple[tuple[float, float], ...]
    settled: bool = False


class VerticalPolicy(Protocol):
    """Decides which quota each resident of a GPU has now."""

    @property
    def tick_s(self) -> float | None:
        """Period of the decision; `None`: the quota never changes while an instance lives."""

    @property
    def window_s(self) -> float:
        """A resident that launched nothing for this long is idle."""

    @property
    def sharing(self) -> Sharing:
        """What its quotas mean: caps on SMs, launch tokens, shares of time, or priorities."""

    @property
    def cycle_baseline(self) -> str:
        """What a cycle is held against to give its pressure; see `policies.cycles`."""

    def first_quota(self, resident: ResidentView) -> float:
        """Quota of a resident when it arrives."""

    def decide(self, gpu: GpuView) -> Grant:
        """Return the quotas for the next tick; asked only when `tick_s` is set."""


# ------------------------------------------------------------------------------- routing and start-up


class BatchRule(NamedTuple):
    """A batch closes when it holds `max_batch` requests or its oldest has waited `wait_s`."""

    max_batch: int
    wait_s: float


class RoutingPolicy(Protocol):
    """Decides which instance gets a batch, and when a batch closes."""

    @property
    def adapts(self) -> bool:
        """Ask `batching` again in each second with traffic; otherwise its first answer stands."""

    @property
    def newest_idle_first(self) -> bool:
        """Give a batch to the instance that became idle last, so that surplus ones stay idle."""

    def batching(self, function: FunctionView) -> BatchRule:
        """Return the rule by which the function's next batches close."""


@runtime_checkable
class Weighs(Protocol):
    """A routing policy that divides the batches of a function unevenly; asked in each second with traffic."""

    def weights(self, function: FunctionView) -> tuple[float, ...]:
        """Return the requests per second that each of `function.instances` should get; 0 leaves it idle.

        Of the idle instances, the one that is furthest behind its rate takes the next batch.
        """


class StartUpPolicy(Protocol):
    """How long does this launch take here? Asked at each launch."""

    def seconds(self, function: Function) -> float:
        """Seconds from the decision to launch until the instance can take its first request."""
