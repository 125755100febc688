"""Views that stand still: plain values behind the protocols of `policies.slots`, for tests of policies."""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.slots import Grant, HorizontalPolicy, PlacementRequest, Scaling

GIB = 2**30


@dataclass(frozen=True)
class StillInstance:
    """A live instance (a `policies.slots.InstanceView`)."""

    instance: int = 0
    ready: bool = True
    idle: bool = True
    batch: int = 4
    request: float = 0.3
    limit: float = 0.6
    quota: float = 0.3
    service_s: float = 0.1
    fastest_s: float = 0.05


@dataclass(frozen=True)
class StillFunction:
    """A function at the end of second `len(counts)` (a `policies.slots.FunctionView`).

    `counts` are the arrivals of every second so far; `cleared_s` is when a scaling action last cleared the
    window. Its instances are alike and ready; `shares` are their quotas, or else they have 0.3.
    """

    counts: tuple[int, ...] = field(default=(), repr=False)
    live: int = 1
    min_instances: int = 1
    waiting: int = 0
    cleared_s: int = 0
    latency_s: float = math.nan
    throughput_rps: float = 40.0
    batch: int = 4
    service_s: float = 0.1
    slo_s: float = 0.2
    model: str = "model"
    memory: object = None
    cold_start_s: float = 5.0
    memory_bytes: int = 6 * GIB
    shares: tuple[float, ...] = ()

    def __str__(self) -> str:
        return f"{self!r} after arrivals {reprlib.repr(self.counts)} of {len(self.counts)} s"

    @property
    def now_s(self) -> float:
        """The end of the last second."""
        return float(len(self.counts))

    @property
    def instances(self) -> tuple[StillInstance, ...]:
        """As many as are live."""
        quotas = self.shares or (0.3,) * self.live
        return tuple(
            StillInstance(
                number,
                batch=self.batch,
                quota=quota,
                service_s=self.service_s,
                fastest_s=0.5 * self.service_s,
            )
            for number, quota in enumerate(quotas)
        )

    @property
    def last_arrival_s(self) -> float:
        """The middle of the last second with arrivals."""
        busy = np.flatnonzero(self.counts)
        return float(busy[-1]) + 0.5 if len(busy) else -math.inf

    @property
    def arrived(self) -> int:
        """All arrivals."""
        return sum(self.counts)

    def rates(self, seconds: int) -> NDArray[np.int64]:
        """Arrivals in each of the last seconds since the window was cleared."""
        return self.history(min(seconds, len(self.counts) - self.cleared_s))

    @property
    def last_rate(self) -> int:
        """Arrivals in the last second."""
        return self.counts[-1] if self.counts else 0

    def history(self, seconds: int) -> NDArray[np.int64]:
        """Arrivals in each of the last seconds."""
        return np.array(self.counts[max(0, len(self.counts) - seconds) :], dtype=np.int64)


@dataclass(frozen=True)
class StillResident:
    """One instance's part on a GPU (a `policies.slots.ResidentView`)."""

    instance: int = 0
    slo_sensitive: bool = True
    is_llm: bool = False
    request: float = 0.3
    limit: float = 0.6
    quota: float = 0.3
    idle: bool = False
    cycles: int = 0
    pressure: float = 1.0
    seat: Hashable = None
    wanted: float | None = None


@dataclass(frozen=True)
class StillGpu:
    """A GPU (a `policies.slots.GpuView`)."""

    residents: Sequence[StillResident]
    memory: object = None

    def after(self, grant: Grant) -> StillGpu:
        """Return the GPU at the next tick, if nothing but the grant changes it."""
        residents = tuple(
            dataclasses.replace(resident, quota=quota)
            for resident, quota in zip(self.residents, grant.quotas, strict=True)
        )
        return StillGpu(residents, grant.memory)


def scaling_actions(
    policy: HorizontalPolicy,
    rates: Sequence[int],
    *,
    min_instances: int = 1,
    throughput_rps: float = 40.0,
    every_second: bool = False,
) -> list[tuple[int, int]]:
    """Poll a horizontal policy along per-second rates; return (seconds, instances from then) of its actions.

    Every launch succeeds at once. The policy is asked in the seconds its last answer named, or
    `every_second`; both must come to the same.
    """
    counts = tuple(rates)
    live, cleared_s = min_instances, 0
    band = Scaling(live)
    actions = []
    for now_s, rate in enumerate(counts, start=1):
        if not (every_second or rate > band.above or rate < band.below or now_s >= band.until_s):
            continue
        waiting = rate if live == 0 else 0
        view = StillFunction(
            counts[:now_s],
            live,
            min_instances,
            waiting,
            cleared_s,
            throughput_rps=throughput_rps,
            memory=band.memory,
        )
        band = policy.scale(view)
        if band.target != live:
            live, cleared_s = band.target, now_s
            band = Scaling(band.target, memory=band.memory)
            actions.append((now_s, live))
    return actions


# ---------------------------------------------------------------------------- what a policy is shown

REQUESTS = (
    PlacementRequest("small", "inference", 1, 0.1, 0.2, 5 * GIB),
    PlacementRequest("pair", "training", 2, 0.5, 0.9, 29 * GIB),
    PlacementRequest("middling", "inference", 1, 0.3, 0.6, 6 * GIB),
    PlacementRequest("model", "llm", 1, 0.5, 0.6, 28 * GIB),
    PlacementRequest("small", "inference", 1, 0.1, 0.2, 5 * GIB),
    PlacementRequest("four", "training", 4, 0.3, 0.9, 33 * GIB),
    PlacementRequest("alone", "training", 1, 0.4, 0.8, 12 * GIB),
    PlacementRequest("huge", "llm", 1, 0.4, 0.8, 60 * GIB),
    PlacementRequest("whole", "inference", 1, 1.0, 1.0, 40 * GIB),
)


_HISTORIES: tuple[tuple[int, ...], ...] = (
    (),
    (0,),
    (500,),
    (0,) * 900,
    (39, 41) * 25,
    (100,) * 60,
    (0, 0, 7, 0) * 300,
    (10,) * 30 + (200,) * 25,
)
RATES = (
    (0,) * 9 + (30,) * 45 + (100,) * 70 + (41, 0) * 30 + (0,) * 130 + (0, 0, 3) * 20 + (500,) * 30 + (1,) * 90
)


def still_functions() -> Iterator[StillFunction]:
    """Functions after various arrivals, with any number of instances."""
    for counts, live, least in product(_HISTORIES, (0, 1, 2, 5), (0, 1, 2)):
        for waiting, latency_s in ((0, math.nan), (3, 0.15)):
            yield StillFunction(counts, live, least, waiting, latency_s=latency_s)


_STATES: tuple[dict[str, Any], ...] = (
    {"idle": True},
    {},
    {"cycles": 5, "pressure": 1.1},
    {"cycles": 7, "pressure": 1.45},
    {"cycles": 9, "pressure": 2.5},
    {"cycles": 11, "pressure": 9.0},
)


def still_gpus() -> Iterator[StillGpu]:
    """GPUs of one to three residents, in every state that matters."""
    trains = StillResident(10, slo_sensitive=False, request=0.5, limit=0.9, quota=0.2)
    also_trains = StillResident(11, slo_sensitive=False, request=0.2, limit=0.3, quota=0.3)
    yield StillGpu((trains,))
    yield StillGpu((trains, also_trains))
    for state in _STATES:
        serves = StillResident(1, **state)
        yield StillGpu((serves,))
        yield StillGpu((serves, trains))
        yield StillGpu((trains, serves, also_trains))
        yield StillGpu((StillResident(2, is_llm=True, request=0.5, **state), trains))
        for other in _STATES:
            also_serves = StillResident(3, request=0.1, limit=0.2, quota=0.1, **other)
            yield StillGpu((serves, also_serves))
            yield StillGpu((serves, trains, also_serves))
