"""Does a policy of your own keep the contract of the slots it fills? `check_policy` says so, or what it breaks.

The views here stand still: plain values behind the protocols of `policies.slots`, also of use in tests of
your own.
"""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.books import ClusterBooks, Tenancy
from policies.cycles import CYCLE_BASELINES
from policies.functions import Cluster, Function, PolicyError, Size
from policies.slots import Grant, HorizontalPolicy, PlacementRequest, ResidentView, Scaling, Shard
from profiles import GpuType, ModelProfile, load_catalog

MEMBERS = {
    "sizing": ("size", "reserve"),
    "placement": ("place", "splits_llm"),
    "horizontal": ("scale",),
    "keep_alive": ("idle_timeout_s",),
    "vertical": ("decide", "first_quota", "tick_s", "window_s", "partitioned", "gated", "cycle_baseline"),
    "routing": ("batching", "adapts", "newest_idle_first"),
    "start_up": ("seconds",),
}
"""What each slot's protocol asks for; an object with the first of these fills the slot."""

GIB = 2**30
FIXED_POINT_TICKS = 200
"""From 1 % to the whole GPU takes 18 ticks of x1.3; a policy that still moves after so many is let be."""


def check_policy(policy: object) -> tuple[str, ...]:
    """Hold a policy against the contract of every slot it fills, and return the names of those slots.

    Raises
    ------
    AssertionError
        At the first breach: which method, what it did, and for which view.
    """
    slots = tuple(slot for slot, members in MEMBERS.items() if hasattr(policy, members[0]))
    if not slots:
        methods = ", ".join(f"{members[0]} ({slot})" for slot, members in MEMBERS.items())
        raise AssertionError(f"{type(policy).__name__} fills no slot, it has none of: {methods}")
    for slot in slots:
        for member in MEMBERS[slot]:
            _demand(hasattr(policy, member), policy, member, f"is missing, the {slot} slot needs it")
    _check_constants(policy)
    checks: dict[str, Callable[[Any], None]] = {
        "sizing": _check_sizing,
        "placement": _check_placement,
        "horizontal": _check_horizontal,
        "keep_alive": _check_keep_alive,
        "vertical": _check_vertical,
        "routing": _check_routing,
        "start_up": _check_start_up,
    }
    for slot in slots:
        checks[slot](policy)
    return slots


# ----------------------------------------------------------------------------------- views that stand still


@dataclass(frozen=True)
class StillFunction:
    """A function at the end of second `len(counts)` (a `policies.slots.FunctionView`).

    `counts` are the arrivals of every second so far; `cleared_s` is when a scaling action last cleared the
    window.
    """

    counts: tuple[int, ...] = ()
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

    @property
    def now_s(self) -> float:
        """The end of the last second."""
        return float(len(self.counts))

    def rates(self, seconds: int) -> NDArray[np.int64]:
        """Arrivals in each of the last seconds since the window was cleared."""
        return self.history(min(seconds, len(self.counts) - self.cleared_s))

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
    policy: HorizontalPolicy, rates: Sequence[int], *, min_instances: int = 1, every_second: bool = False
) -> list[tuple[int, int]]:
    """Poll a horizontal policy along per-second rates; return (time in s, instances from then) of each action.

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
        band = policy.scale(StillFunction(counts[:now_s], live, min_instances, waiting, cleared_s))
        if band.target != live:
            live, cleared_s, band = band.target, now_s, Scaling(band.target)
            actions.append((now_s, live))
    return actions


# ------------------------------------------------------------------------------------ what all policies owe


def _demand(holds: bool, policy: object, method: str, breach: str, view: object = None) -> None:
    if not holds:
        seen = "" if view is None else f"; it was shown {view}"
        raise AssertionError(f"{type(policy).__name__}.{method}: {breach}{seen}")


def _check_constants(policy: Any) -> None:
    params = getattr(policy, "__dataclass_params__", None)
    frozen = params is not None and params.frozen
    _demand(frozen, policy, "__init__", "is not that of a frozen dataclass, whose fields are the constants")
    try:
        hash(policy)
    except TypeError as error:
        raise AssertionError(f"{type(policy).__name__}: constants must be hashable: {error}") from None
    try:
        copy = pickle.loads(pickle.dumps(policy))
    except Exception as error:
        raise AssertionError(f"{type(policy).__name__}: does not survive pickling: {error}") from error
    _demand(copy == policy, policy, "__eq__", "says that an unpickled copy is another policy")


def _decision(policy: object, method: str, *view: Any, shown: object = None) -> Any:
    """Ask twice, and then a copy: the same view gets the same decision."""
    shown = shown or view[0]
    copy = pickle.loads(pickle.dumps(policy))
    try:
        decision, again, copied = (getattr(asked, method)(*view) for asked in (policy, policy, copy))
    except PolicyError:
        raise
    except Exception as error:
        raise AssertionError(
            f"{type(policy).__name__}.{method}: raised {error!r}; it was shown {shown}"
        ) from error
    _demand(decision == again, policy, method, f"said {decision}, and then {again} of the same view", shown)
    _demand(decision == copied, policy, method, f"said {decision}, but its copy said {copied}", shown)
    return decision


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least


# ----------------------------------------------------------------------------------------------- placement

_REQUESTS = (
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


def _check_placement(policy: Any) -> None:
    _demand(
        isinstance(policy.splits_llm, bool), policy, "splits_llm", f"is {policy.splits_llm!r}, not a bool"
    )
    for nodes, gpus_per_node in ((1, 1), (1, 4), (3, 4)):
        cluster = Cluster(nodes, gpus_per_node, GpuType("gpu", 40 * GIB, 100))
        size = f"{nodes} x {gpus_per_node} GPUs of 40 GiB"
        full = ClusterBooks(cluster)
        for gpu in range(cluster.gpus):
            full.enter(Tenancy(gpu, "tenant", "inference", (Shard(gpu, 1.0, 1.0, 40 * GIB),)))
        for request in _REQUESTS:
            _place(policy, request, ClusterBooks(cluster), f"an empty cluster of {size} and {request}")
            _place(policy, request, full, f"a full cluster of {size} and {request}")
        books = ClusterBooks(cluster)
        booked: list[int] = []
        for instance, request in enumerate(_REQUESTS * 4):
            shown = f"a cluster of {size} with {len(booked)} instances and {request}"
            shards = _place(policy, request, books, shown)
            if shards is not None:
                books.enter(Tenancy(instance, request.service, request.kind, shards))
                booked.append(instance)
            if instance % 7 == 6 and booked:
                books.leave(booked.pop(0))


def _place(
    policy: Any, request: PlacementRequest, books: ClusterBooks, shown: str
) -> tuple[Shard, ...] | None:
    before = _contents(books)
    shards = _decision(policy, "place", request, books, shown=shown)

    def demand(holds: bool, breach: str) -> None:
        _demand(holds, policy, "place", f"{breach}: {shards}", shown)

    demand(_contents(books) == before, "changed the cluster it was shown")
    if shards is None:
        return None
    demand(isinstance(shards, tuple) and all(isinstance(s, Shard) for s in shards), "is no tuple of shards")
    demand(all(0 <= s.gpu < len(books.memory) for s in shards), "named a GPU outside the cluster")
    demand(len({s.gpu for s in shards}) == len(shards), "put two shards of one instance on a GPU")
    demand(all(0.0 < s.request <= s.limit for s in shards), "broke 0 < request <= limit")
    for shard in shards:
        free = books.memory_capacity - int(books.memory[shard.gpu])
        demand(0 < shard.memory_bytes <= free, f"took other than 1 to {free} free bytes of GPU {shard.gpu}")
    demand(math.isclose(sum(s.part for s in shards), 1.0), "made parts that do not sum to 1")
    held = sum(s.memory_bytes for s in shards)
    demand(held == request.memory_bytes * request.gpus, "took other memory than the instance needs")
    if request.kind == "llm" and policy.splits_llm:
        demand(len(shards) >= 1, "took no GPU")
    else:
        demand(len(shards) == request.gpus, f"took other than {request.gpus} GPUs")
    return tuple(shards)


def _contents(books: ClusterBooks) -> tuple[Hashable, ...]:
    columns = (books.request, books.limit, books.memory, books.residents)
    hosts = tuple(tuple(books.hosts(request.service)) for request in _REQUESTS)
    gangs = tuple(tuple(books.training_gangs(gpu)) for gpu in range(len(books.memory)))
    return (*(column.tobytes() for column in columns), hosts, gangs)


# -------------------------------------------------------------------------- horizontal, keep-alive, routing

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
_RATES = (
    (0,) * 9 + (30,) * 45 + (100,) * 70 + (41, 0) * 30 + (0,) * 130 + (0, 0, 3) * 20 + (500,) * 30 + (1,) * 90
)


def _functions() -> Iterator[StillFunction]:
    for counts, live, least in product(_HISTORIES, (0, 1, 2, 5), (0, 1, 2)):
        for waiting, latency_s in ((0, math.nan), (3, 0.15)):
            yield StillFunction(counts, live, least, waiting, latency_s=latency_s)


def _check_horizontal(policy: Any) -> None:
    for view in _functions():
        scaling = _decision(policy, "scale", view)
        _demand(isinstance(scaling, Scaling), policy, "scale", f"returned {scaling!r}, no Scaling", view)
        enough = _is_count(scaling.target, view.min_instances)
        breach = f"wants {scaling.target!r} instances, allowed are integers from the minimum"
        _demand(enough, policy, "scale", breach, view)
        sound = not any(map(math.isnan, (scaling.above, scaling.below, scaling.until_s)))
        _demand(sound, policy, "scale", f"named a band that is not a number, {scaling}", view)
    for least in (0, 1, 2):
        asked = scaling_actions(policy, _RATES, min_instances=least)
        polled = scaling_actions(policy, _RATES, min_instances=least, every_second=True)
        breach = (
            f"broke the promise of its band: acts {polled} if polled each second, {asked} if asked as it says"
        )
        _demand(asked == polled, policy, "scale", breach, f"rates {_RATES}, minimum {least}")


def _check_keep_alive(policy: Any) -> None:
    for view in _functions():
        timeout_s = _decision(policy, "idle_timeout_s", view)
        _demand(
            timeout_s >= 0.0, policy, "idle_timeout_s", f"said {timeout_s}, allowed are seconds from 0", view
        )


def _check_routing(policy: Any) -> None:
    for name in ("adapts", "newest_idle_first"):
        value = getattr(policy, name)
        _demand(isinstance(value, bool), policy, name, f"is {value!r}, not a bool")
    without_slo = (dataclasses.replace(view, slo_s=math.inf) for view in _functions())
    for view in (*_functions(), *without_slo):
        rule = _decision(policy, "batching", view)
        batch, wait_s = rule
        _demand(
            _is_count(batch, 1), policy, "batching", f"closes at {batch!r}, allowed are integers from 1", view
        )
        finite = 0.0 <= wait_s < math.inf
        _demand(finite, policy, "batching", f"waits {wait_s} s, allowed are finite seconds from 0", view)


# ------------------------------------------------------------------------------------------------ vertical

_STATES: tuple[dict[str, Any], ...] = (
    {"idle": True},
    {},
    {"cycles": 5, "pressure": 1.1},
    {"cycles": 7, "pressure": 1.45},
    {"cycles": 9, "pressure": 2.5},
    {"cycles": 11, "pressure": 9.0},
)
_PRESSURES = (0.5, 1.0, 1.15, 1.25, 1.35, 1.55, 1.65, 3.0, 10.0)


def _gpus() -> Iterator[StillGpu]:
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


def _check_vertical(policy: Any) -> None:
    tick_s, baseline = policy.tick_s, policy.cycle_baseline
    _demand(
        tick_s is None or tick_s > 0.0, policy, "tick_s", f"is {tick_s}, allowed are None and seconds above 0"
    )
    _demand(policy.window_s > 0.0, policy, "window_s", f"is {policy.window_s}, allowed are seconds above 0")
    for name in ("partitioned", "gated"):
        _demand(
            isinstance(getattr(policy, name), bool), policy, name, f"is {getattr(policy, name)!r}, not a bool"
        )
    known = ", ".join(CYCLE_BASELINES)
    _demand(baseline in CYCLE_BASELINES, policy, "cycle_baseline", f"is {baseline!r}, allowed are {known}")
    for gpu in _gpus():
        for resident in gpu.residents:
            quota = _decision(policy, "first_quota", resident)
            _demand_quota(policy, "first_quota", quota, resident, resident)
        if tick_s is not None:
            _follow(policy, gpu)


def _follow(policy: Any, gpu: StillGpu) -> None:
    """Tick until nothing moves; then try the calm bands."""
    for _ in range(FIXED_POINT_TICKS):
        grant = _decision(policy, "decide", gpu)
        _check_grant(policy, grant, gpu)
        after = gpu.after(grant)
        if after == gpu:
            break
        gpu = after
    else:
        return
    for place, (low, high) in enumerate(grant.calm):
        resident = gpu.residents[place]
        for pressure in _PRESSURES:
            if low <= pressure < high and not resident.idle:
                cycled = dataclasses.replace(resident, cycles=resident.cycles + 1, pressure=pressure)
                residents = (*gpu.residents[:place], cycled, *gpu.residents[place + 1 :])
                quotas = policy.decide(StillGpu(residents, gpu.memory)).quotas
                breach = f"calls pressure {pressure} of resident {place} calm but answers it with {quotas}"
                _demand(quotas == grant.quotas, policy, "decide", breach, gpu)


def _check_grant(policy: Any, grant: Any, gpu: StillGpu) -> None:
    _demand(isinstance(grant, Grant), policy, "decide", f"returned {grant!r}, no Grant", gpu)
    for name in ("quotas", "calm"):
        count = len(getattr(grant, name))
        _demand(
            count == len(gpu.residents), policy, "decide", f"gave {count} {name}, one a resident is due", gpu
        )
    for resident, quota in zip(gpu.residents, grant.quotas, strict=True):
        _demand_quota(policy, "decide", quota, resident, gpu)
    for band in grant.calm:
        sound = len(band) == 2 and not any(map(math.isnan, band))
        _demand(sound, policy, "decide", f"gave {band} for a calm band [low, high)", gpu)


def _demand_quota(policy: Any, method: str, quota: float, resident: ResidentView, view: object) -> None:
    breach = f"gave quota {quota}, allowed is 0 <= quota <= {resident.limit}"
    _demand(0.0 <= quota <= resident.limit, policy, method, breach, view)
    if resident.slo_sensitive and not resident.idle:
        _demand(quota > 0.0, policy, method, "starves a resident that has requests to serve", view)


# ------------------------------------------------------------------------------------- sizing and start-up


def _deployed() -> Iterator[Function]:
    for model in load_catalog().models.values():
        serves = Function(model.name, model.kind, model, model.memory_bytes, model.slo_s, model.output_tokens)
        yield serves
        yield dataclasses.replace(serves, slo_s=1e-6)
        if model.training is not None:
            yield Function(f"{model.name}-training", "training", model, model.training.memory_bytes)


def _check_sizing(policy: Any) -> None:
    pinned = Size(2, 0.3, 0.6)
    for function in _deployed():
        shown = f"{function.kind} function {function.name!r} with an SLO of {function.slo_s} s"
        try:
            size = _decision(policy, "size", function, _bounded(policy, function), shown=shown)
        except PolicyError as error:
            named = function.name in str(error)
            _demand(named, policy, "size", f"raised {error!r}, which does not name the function", shown)
        else:
            _demand(isinstance(size, Size), policy, "size", f"returned {size!r}, no Size", shown)
            largest = 1 if function.kind == "training" else function.model.max_batch
            _demand(
                size.batch <= largest, policy, "size", f"chose {size}, the largest batch is {largest}", shown
            )
        reserved = _decision(policy, "reserve", pinned)
        _demand(isinstance(reserved, Size), policy, "reserve", f"returned {reserved!r}, no Size", pinned)
        size = _decision(policy, "size", dataclasses.replace(function, size=pinned), _refuse, shown=shown)
        _demand(size == reserved, policy, "size", f"made {size} of {pinned}, which is pinned", shown)


def _bounded(policy: Any, function: Function) -> Callable[[int, float], float]:
    measure = function.model.measurement(function.kind)

    def bounded(batch: int, share: float) -> float:
        largest = 1 if function.kind == "training" else function.model.max_batch
        sound = 1 <= batch <= largest and 0.0 < share <= 1.0
        _demand(sound, policy, "size", f"measured batch {batch} on share {share}", function.name)
        return measure(batch, share)

    return bounded


def _refuse(batch: int, share: float) -> float:
    raise AssertionError(f"a pinned size needs no measurement, found one of batch {batch} on share {share}")


def _check_start_up(policy: Any) -> None:
    for function in _deployed():
        seconds = _decision(policy, "seconds", function, shown=function.name)
        finite = 0.0 <= seconds < math.inf
        _demand(
            finite, policy, "seconds", f"said {seconds}, allowed are finite seconds from 0", function.name
        )
