"""The synthetic instances of Dilu's large-scale simulation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from traces.errors import TraceError, shown
from traces.instances.events import GIB, InstanceEvent, InstanceKind
from traces.streams import stream


@dataclass(frozen=True, slots=True)
class _Size:
    gpus: int
    request: float
    limit: float
    memory_gb: int


def generate_instance_events(
    instances: int, *, seed: int, instances_per_service: int = 1
) -> list[InstanceEvent]:
    """Generate the workload of Dilu's large-scale simulation (ASPLOS 2025, section 5.5, figure 17).

    The distributions are those of the generator in the artifact (github.com/sigserverless/Dilu,
    `scheduling/simulations`), whose own files cannot be generated again; training : llm : inference = 2:2:6.

    =========  ===========  ==================  ============  =================================
    kind       GPUs         memory a GPU (GiB)  request       limit
    =========  ===========  ==================  ============  =================================
    training   2 or 4       25, 30, 35 or 40    U(0.4, 0.8)   max(request + 0.2, U(0.6, 1.0))
    llm        1            20 to 30            U(0.4, 0.6)   U(request + 0.2, 0.8)
    inference  1            3 to 10             U(0.2, 0.4)   max(request + 0.2, U(0.3, 0.6))
    =========  ===========  ==================  ============  =================================

    Memory is a whole number; shares are rounded to two decimals. The instances start in shuffled order, one
    a second from time 0. Of the inference and llm instances, 0.6 times the number of *all* instances stop 1
    to 3 whole minutes after their start; of the trainings 0.1 times, after 10 to 15. The rest never stop.
    Stops fall on the seconds of later starts and stand before them: what is freed can be taken.

    Parameters
    ----------
    instances
        How many start.
    seed
        Seed of every draw.
    instances_per_service
        Inference and llm instances of one service, all of one size, for studies of affinity; a training job
        is always a service of its own. With 1, as in the artifact, no two instances share a service.

    Raises
    ------
    TraceError
        If a number is not an integer from 1.
    """
    for field, value in (("instances", instances), ("instances_per_service", instances_per_service)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise TraceError(f"found {shown(value)}, allowed are integers from 1", field=field)
    trainings = llms = instances * 2 // 10
    created = [
        *_of_kind("training", trainings, 1, seed),
        *_of_kind("llm", llms, instances_per_service, seed),
        *_of_kind("inference", instances - trainings - llms, instances_per_service, seed),
    ]
    order = stream(seed, "order of instances").permutation(instances)
    starts = [replace(created[place], time_s=float(second)) for second, place in enumerate(order)]
    serving = [event for event in starts if event.kind != "training"]
    training = [event for event in starts if event.kind == "training"]
    stops = [
        *_stops(serving, instances * 6 // 10, (1, 3), stream(seed, "stops", "serving")),
        *_stops(training, instances // 10, (10, 15), stream(seed, "stops", "training")),
    ]
    return sorted([*stops, *starts], key=lambda event: (event.time_s, event.action == "start", event.name))


def _of_kind(
    kind: InstanceKind, instances: int, instances_per_service: int, seed: int
) -> list[InstanceEvent]:
    rng = stream(seed, "instance sizes", kind)
    services = -(-instances // instances_per_service)
    sizes = [_draw_size(kind, rng) for _ in range(services)]
    events: list[InstanceEvent] = []
    for number in range(instances):
        service = number // instances_per_service
        size = sizes[service]
        events.append(
            InstanceEvent(
                time_s=0.0,
                action="start",
                name=f"{kind}-{number:05d}",
                service=f"{kind}-service-{service:05d}",
                kind=kind,
                gpus=size.gpus,
                request=size.request,
                limit=size.limit,
                memory_bytes=size.memory_gb * GIB,
            )
        )
    return events


def _draw_size(kind: InstanceKind, rng: np.random.Generator) -> _Size:
    def uniform(low: float, high: float) -> float:
        return low + (high - low) * rng.random()

    match kind:
        case "training":
            gpus, memory_gb = int(rng.choice([2, 4])), int(rng.choice([25, 30, 35, 40]))
            request = round(uniform(0.4, 0.8), 2)
            limit = max(request + 0.2, uniform(0.6, 1.0))
        case "llm":
            gpus, memory_gb = 1, int(rng.integers(20, 31))
            request = round(uniform(0.4, 0.6), 2)
            limit = uniform(request + 0.2, 0.8)
        case "inference":
            gpus, memory_gb = 1, int(rng.integers(3, 11))
            request = round(uniform(0.2, 0.4), 2)
            limit = max(request + 0.2, uniform(0.3, 0.6))
    return _Size(gpus, request, round(limit, 2), memory_gb)


def _stops(
    starts: list[InstanceEvent], stopped: int, minutes: tuple[int, int], rng: np.random.Generator
) -> list[InstanceEvent]:
    """Stop `stopped` of the instances, each a whole number of minutes after its start, both ends included."""
    chosen = rng.choice(len(starts), size=stopped, replace=False)
    lives_s = 60.0 * rng.integers(minutes[0], minutes[1] + 1, size=stopped)
    return [
        replace(starts[place], time_s=starts[place].time_s + float(life_s), action="stop")
        for place, life_s in zip(chosen, lives_s, strict=True)
    ]
