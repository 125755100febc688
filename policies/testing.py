"""Does a policy of your own keep the contract of its slots? `check_policy` says what it breaks, and where.

`policies.still_views` holds the views it shows, for further tests of your own.
"""

from __future__ import annotations

import dataclasses
import math
import pickle
import reprlib
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from policies.books import ClusterBooks, Tenancy
from policies.cycles import CYCLE_BASELINES
from policies.demands import decision, demand, demand_bools, is_count
from policies.functions import Cluster, Function, MixedCluster, PolicyError, Size
from policies.option_checks import check_options
from policies.slots import EMPTY_SLOT, Grant, PlacementRequest, ResidentView, Scaling, Shard
from policies.still_views import (
    GIB,
    RATES,
    REQUESTS,
    StillGpu,
    scaling_actions,
    still_functions,
    still_gpus,
)
from profiles import GpuType, load_catalog
from profiles.sharing import Sharing

MEMBERS = {
    "sizing": ("size", "reserve"),
    "placement": ("place", "splits_llm"),
    "horizontal": ("scale",),
    "keep_alive": ("idle_timeout_s",),
    "vertical": ("decide", "first_quota", "tick_s", "window_s", "sharing", "cycle_baseline"),
    "routing": ("batching", "adapts", "newest_idle_first"),
    "start_up": ("seconds",),
}
"""What each slot's protocol asks for; an object with the first of these fills the slot."""

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
    methods = ", ".join(members[0] for members in MEMBERS.values())
    demand(bool(slots), policy, "__init__", f"makes an object that fills no slot, it has none of {methods}")
    for slot in slots:
        for member in MEMBERS[slot]:
            demand(hasattr(policy, member), policy, member, f"is missing, the {slot} slot needs it")
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
    check_options(policy)
    return slots


# ------------------------------------------------------------------------------------ what all policies owe


def _check_constants(policy: Any) -> None:
    params = getattr(policy, "__dataclass_params__", None)
    frozen = params is not None and params.frozen
    demand(frozen, policy, "__init__", "is not that of a frozen dataclass, whose fields are the constants")
    try:
        hash(policy)
    except TypeError as error:
        raise AssertionError(f"{type(policy).__name__}: constants must be hashable: {error}") from None
    try:
        copy = pickle.loads(pickle.dumps(policy))
    except Exception as error:
        raise AssertionError(f"{type(policy).__name__}: does not survive pickling: {error}") from error
    demand(copy == policy, policy, "__eq__", "says that an unpickled copy is another policy")


# ----------------------------------------------------------------------------------------------- placement


_SMALL, _GPU, _LARGE = (
    GpuType(*one, 100) for one in (("small", 16 * GIB), ("gpu", 40 * GIB), ("large", 80 * GIB))
)

_CLUSTERS = (
    Cluster(1, 1, _GPU),
    Cluster(1, 4, _GPU),
    Cluster(3, 4, _GPU),
    MixedCluster((Cluster(1, 2, _SMALL), Cluster(1, 4, _GPU), Cluster(2, 1, _LARGE), Cluster(1, 3, _LARGE))),
)

_OF_TYPES = (
    *REQUESTS,
    *(dataclasses.replace(request, gpu_types=frozenset({"large"})) for request in REQUESTS),
    *(dataclasses.replace(request, gpu_types=frozenset({"small", "gpu"})) for request in REQUESTS),
    PlacementRequest("wide", "inference", 3, 0.2, 0.4, 5 * GIB),
    PlacementRequest("weightless", "inference", 1, 0.1, 0.1, 0),
    PlacementRequest("weightless", "inference", 2, 1.0, 1.0, 0, gpu_types=frozenset({"large", "small"})),
)
"""What a cluster of several types of GPU is asked for."""


def _check_placement(policy: Any) -> None:
    demand_bools(policy, "splits_llm")
    for cluster in _CLUSTERS:
        requests = REQUESTS if isinstance(cluster, Cluster) else _OF_TYPES
        size = " + ".join(
            f"{group.nodes} x {group.gpus_per_node} {group.gpu.name}s of {group.gpu.memory_bytes // GIB} GiB"
            for group in cluster.groups
        )
        full = ClusterBooks(cluster)
        for gpu, memory_bytes in enumerate(full.memory_capacity.tolist()):
            if memory_bytes != EMPTY_SLOT:
                full.enter(Tenancy(gpu, "tenant", "inference", (Shard(gpu, 1.0, 1.0, memory_bytes),)))
        for request in requests:
            _place(policy, request, ClusterBooks(cluster), f"an empty cluster of {size} and {request}")
            _place(policy, request, full, f"a full cluster of {size} and {request}")
        books = ClusterBooks(cluster)
        booked: list[int] = []
        for instance, request in enumerate(requests * 4):
            shown = f"a cluster of {size} with {len(booked)} instances and {request}"
            shards = _place(policy, request, books, shown)
            if shards is not None:
                books.enter(Tenancy(instance, request.service, request.kind, shards, request.gpu_types))
                booked.append(instance)
            if instance % 7 == 6 and booked:
                books.leave(booked.pop(0))


def _place(
    policy: Any, request: PlacementRequest, books: ClusterBooks, shown: str
) -> tuple[Shard, ...] | None:
    before = _contents(books)
    shards = decision(policy, "place", request, books, shown=shown)

    def owe(holds: bool, breach: str) -> None:
        demand(holds, policy, "place", f"{breach}: {shards}", shown)

    owe(_contents(books) == before, "changed the cluster it was shown")
    if shards is None:
        return None
    owe(isinstance(shards, tuple) and all(isinstance(s, Shard) for s in shards), "is no tuple of shards")
    owe(all(0 <= s.gpu < len(books.memory) for s in shards), "named a GPU outside the cluster")
    gpus = [s.gpu for s in shards]
    owe(all(books.memory_capacity[gpus] != EMPTY_SLOT), "named an empty slot, in which there is no GPU")
    if request.gpu_types is not None:
        allowed = books.of_types(request.gpu_types)
        owe(all(allowed[gpus]), f"took a GPU that is none of {', '.join(sorted(request.gpu_types))}")
    owe(len(set(gpus)) == len(shards), "put two shards of one instance on a GPU")
    nodes = {gpu // books.gpus_per_node for gpu in gpus}
    owe(request.kind == "training" or len(nodes) <= 1, "put an instance that does not train on several nodes")
    owe(all(0.0 < s.request <= s.limit for s in shards), "broke 0 < request <= limit")
    for shard in shards:
        free = int(books.memory_capacity[shard.gpu] - books.memory[shard.gpu])
        least = min(1, request.memory_bytes)
        held = shard.memory_bytes
        owe(least <= held <= free, f"took other than {least} to {free} free bytes of GPU {shard.gpu}")
    owe(math.isclose(sum(s.part for s in shards), 1.0), "made parts that do not sum to 1")
    held = sum(s.memory_bytes for s in shards)
    owe(held == request.memory_bytes * request.gpus, "took other memory than the instance needs")
    if request.kind != "llm" or not policy.splits_llm:
        owe(len(shards) == request.gpus, f"took other than {request.gpus} GPUs")
    return tuple(shards)


def _contents(books: ClusterBooks) -> tuple[Hashable, ...]:
    columns = (books.request, books.limit, books.memory, books.residents)
    hosts = tuple(tuple(books.hosts(request.service)) for request in REQUESTS)
    gangs = tuple(tuple(books.training_gangs(gpu)) for gpu in range(len(books.memory)))
    return (*(column.tobytes() for column in columns), hosts, gangs)


# -------------------------------------------------------------------------- horizontal, keep-alive, routing


def _check_horizontal(policy: Any) -> None:
    for view in still_functions():
        scaling = decision(policy, "scale", view)
        demand(isinstance(scaling, Scaling), policy, "scale", f"returned {scaling!r}, no Scaling", view)
        enough = is_count(scaling.target, view.min_instances)
        breach = f"wants {scaling.target!r} instances, allowed are integers from the minimum"
        demand(enough, policy, "scale", breach, view)
        sound = not any(map(math.isnan, (scaling.above, scaling.below, scaling.until_s)))
        demand(sound, policy, "scale", f"named a band that is not a number, {scaling}", view)
    for least in (0, 1, 2):
        asked = scaling_actions(policy, RATES, min_instances=least)
        polled = scaling_actions(policy, RATES, min_instances=least, every_second=True)
        breach = (
            f"broke the promise of its band: acts {polled} if polled each second, {asked} if asked as it says"
        )
        demand(asked == polled, policy, "scale", breach, f"rates {reprlib.repr(RATES)}, minimum {least}")


def _check_keep_alive(policy: Any) -> None:
    for view in still_functions():
        timeout_s = decision(policy, "idle_timeout_s", view)
        demand(
            timeout_s >= 0.0, policy, "idle_timeout_s", f"said {timeout_s}, allowed are seconds from 0", view
        )


def _check_routing(policy: Any) -> None:
    demand_bools(policy, "adapts", "newest_idle_first")
    without_slo = (dataclasses.replace(view, slo_s=math.inf) for view in still_functions())
    for view in (*still_functions(), *without_slo):
        rule = decision(policy, "batching", view)
        batch, wait_s = rule
        demand(
            is_count(batch, 1), policy, "batching", f"closes at {batch!r}, allowed are integers from 1", view
        )
        finite = 0.0 <= wait_s < math.inf
        demand(finite, policy, "batching", f"waits {wait_s} s, allowed are finite seconds from 0", view)


# ------------------------------------------------------------------------------------------------ vertical

_PRESSURES = (0.5, 1.0, 1.15, 1.25, 1.35, 1.55, 1.65, 3.0, 10.0)


def _check_vertical(policy: Any) -> None:
    tick_s, baseline = policy.tick_s, policy.cycle_baseline
    demand(
        tick_s is None or tick_s > 0.0, policy, "tick_s", f"is {tick_s}, allowed are None and seconds above 0"
    )
    demand(policy.window_s > 0.0, policy, "window_s", f"is {policy.window_s}, allowed are seconds above 0")
    finite = tick_s is None or policy.window_s < math.inf
    demand(finite, policy, "window_s", "is infinite, though the policy ticks: nobody would ever be idle")
    sharing = policy.sharing
    demand(
        isinstance(sharing, Sharing),
        policy,
        "sharing",
        f"is {sharing!r}, allowed are those of policies.sharing",
    )
    known = ", ".join(CYCLE_BASELINES)
    demand(baseline in CYCLE_BASELINES, policy, "cycle_baseline", f"is {baseline!r}, allowed are {known}")
    for gpu in still_gpus():
        for resident in gpu.residents:
            quota = decision(policy, "first_quota", resident)
            _demand_quota(policy, "first_quota", quota, resident, resident)
        if tick_s is not None:
            _follow(policy, gpu)


def _follow(policy: Any, gpu: StillGpu) -> None:
    """Tick until nothing moves, then try the calm bands."""
    settled = False
    for _ in range(FIXED_POINT_TICKS):
        grant = decision(policy, "decide", gpu)
        _check_grant(policy, grant, gpu)
        after = gpu.after(grant)
        moved = after != gpu
        demand(not (settled and moved), policy, "decide", "moves what it had called settled", gpu)
        if not moved:
            break
        gpu, settled = after, grant.settled
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
                demand(quotas == grant.quotas, policy, "decide", breach, gpu)


def _check_grant(policy: Any, grant: Any, gpu: StillGpu) -> None:
    demand(isinstance(grant, Grant), policy, "decide", f"returned {grant!r}, no Grant", gpu)
    for name in ("quotas", "calm"):
        count = len(getattr(grant, name))
        demand(
            count == len(gpu.residents), policy, "decide", f"gave {count} {name}, one a resident is due", gpu
        )
    for resident, quota in zip(gpu.residents, grant.quotas, strict=True):
        _demand_quota(policy, "decide", quota, resident, gpu)
    for band in grant.calm:
        sound = len(band) == 2 and not any(map(math.isnan, band))
        demand(sound, policy, "decide", f"gave {band} for a calm band [low, high)", gpu)


def _demand_quota(policy: Any, method: str, quota: float, resident: ResidentView, view: object) -> None:
    breach = f"gave quota {quota}, allowed is 0 < quota <= {resident.limit}"
    demand(0.0 < quota <= resident.limit, policy, method, breach, view)


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
            measure = _bounded(policy, function)
            size = decision(policy, "size", function, measure, shown=shown, refusal=PolicyError)
        except PolicyError as error:
            named = function.name in str(error)
            demand(named, policy, "size", f"raised {error!r}, which does not name the function", shown)
        else:
            demand(isinstance(size, Size), policy, "size", f"returned {size!r}, no Size", shown)
            largest = 1 if function.kind == "training" else function.model.max_batch
            demand(
                size.batch <= largest, policy, "size", f"chose {size}, the largest batch is {largest}", shown
            )
        reserved = decision(policy, "reserve", pinned)
        demand(isinstance(reserved, Size), policy, "reserve", f"returned {reserved!r}, no Size", pinned)
        size = decision(policy, "size", dataclasses.replace(function, size=pinned), _refuse, shown=shown)
        demand(size == reserved, policy, "size", f"made {size} of {pinned}, which is pinned", shown)


def _bounded(policy: Any, function: Function) -> Callable[[int, float], float]:
    measure = function.model.measurement(function.kind)

    def bounded(batch: int, share: float) -> float:
        largest = 1 if function.kind == "training" else function.model.max_batch
        sound = 1 <= batch <= largest and 0.0 < share <= 1.0
        demand(sound, policy, "size", f"measured batch {batch} on share {share}", function.name)
        return measure(batch, share)

    return bounded


def _refuse(batch: int, share: float) -> float:
    raise AssertionError(f"a pinned size needs no measurement, found one of batch {batch} on share {share}")


def _check_start_up(policy: Any) -> None:
    for function in _deployed():
        seconds = decision(policy, "seconds", function, shown=function.name)
        finite = 0.0 <= seconds < math.inf
        demand(finite, policy, "seconds", f"said {seconds}, allowed are finite seconds from 0", function.name)
