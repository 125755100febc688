"""How fast the world is, as ratios to bare SimPy timed in the same run.

The yardstick is an M/M/1 queue as SimPy's own tutorial would write it: one process a request, one `Resource`.
Each round times the yardstick before and after every scenario, so that a busy machine slows both; the table
gives minimum, median and maximum of the rounds' ratios.

    python benchmarks/replay_speed.py [--rounds N] [--quick]

Scenarios with a trace need DILU_TRACE_DIR, a folder that holds `azure_functions_2019/`.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simpy
from rich.console import Console
from rich.table import Table

from experiments import load_experiment, resolve
from policies import Cluster, Deployment, Function, Size, find_system
from profiles import load_catalog
from recording import MemoryRecorder, NullRecorder
from sim import replay_instances, simulate
from traces import generate_instance_events

YARDSTICK_REQUESTS = 100_000
NO_ARRIVALS = np.zeros(0)
CATALOG = load_catalog()


@dataclass(frozen=True)
class Scenario:
    """Something whose requests per second are compared with the yardstick's."""

    name: str
    wanted: float
    run: Callable[[], tuple[int, float]]
    """Returns requests and seconds."""


def bare_simpy(requests: int = YARDSTICK_REQUESTS, rho: float = 0.8) -> float:
    """Requests per second of an M/M/1 queue in bare SimPy with one process a request."""
    rng = np.random.default_rng(0)
    gaps, services = rng.exponential(1.0, requests).tolist(), rng.exponential(rho, requests).tolist()
    env = simpy.Environment()
    server = simpy.Resource(env, capacity=1)
    latencies = []

    def customer(service: float):  # type: ignore[no-untyped-def]
        arrived = env.now
        with server.request() as turn:
            yield turn
            yield env.timeout(service)
        latencies.append(env.now - arrived)

    def source():  # type: ignore[no-untyped-def]
        for gap, service in zip(gaps, services, strict=True):
            yield env.timeout(gap)
            env.process(customer(service))

    env.process(source())
    begun = time.perf_counter()
    env.run()
    return requests / (time.perf_counter() - begun)


def one_function(
    rate_rps: float, requests: int, *, size: Size, model: str, training: bool, gpus: int = 4, idle: int = 0
) -> Deployment:
    """One function under Poisson load, beside a training job if wanted, and `idle` functions without load."""
    profile, trained = CATALOG.model(model), CATALOG.model("bert-base")
    arrivals = np.cumsum(np.random.default_rng(1).exponential(1.0 / rate_rps, requests))
    functions = [served(model, profile, size)]
    columns = [arrivals]
    if training:
        assert trained.training is not None
        memory_bytes = trained.training.memory_bytes
        functions.append(Function("training", "training", trained, memory_bytes, workers=2))
        columns.append(NO_ARRIVALS)
    for index in range(idle):
        # Too large to share the busy GPU: what is measured is the cost of functions that have nothing to do.
        functions.append(served(f"idle-{index}", CATALOG.model("bert-base"), Size(4, 0.8, 0.9)))
        columns.append(NO_ARRIVALS)
    nothing = (None,) * len(functions)
    cluster = Cluster(-(-gpus // 4), 4, CATALOG.gpu)
    return Deployment(cluster, tuple(functions), tuple(columns), nothing, float(arrivals[-1]) + 1.0)


def served(name: str, profile, size: Size) -> Function:  # type: ignore[no-untyped-def]
    """A served function of pinned size."""
    return Function(name, "inference", profile, profile.memory_bytes, slo_s=profile.slo_s, size=size)


def timed(deployment: Deployment, system: str) -> tuple[int, float]:
    """Requests and seconds of one run, tables kept in memory."""
    begun = time.perf_counter()
    simulate(deployment, find_system(system), seed=0, recorder=MemoryRecorder())
    return sum(len(column) for column in deployment.arrivals), time.perf_counter() - begun


def scenarios(quick: bool) -> list[Scenario]:
    """Everything that is compared."""
    requests = 60_000 if quick else 300_000
    batching = one_function(400.0, requests, size=Size(16, 0.3, 0.6), model="resnet152", training=False)
    beside = one_function(400.0, requests, size=Size(16, 0.3, 0.6), model="resnet152", training=True)
    single = one_function(16.0, requests, size=Size(1, 0.3, 0.6), model="roberta-large", training=False)
    found = [
        Scenario("dilu, batches of up to 16", 5.0, lambda: timed(batching, "dilu")),
        Scenario("dilu, batches of up to 16, beside training", 5.0, lambda: timed(beside, "dilu")),
        Scenario("dilu, batch size 1", 2.0, lambda: timed(single, "dilu")),
    ]
    traces = os.environ.get("DILU_TRACE_DIR")
    if traces:
        path = Path(traces) / "azure_functions_2019"
        duration_s = 1800 if quick else 28800
        experiment = load_experiment("azure-functions", trace=path, changes=[f"duration_s={duration_s}"])
        deployment = resolve(experiment).deployment
        for system in ("dilu", "infless+-l"):
            name = f"{system}, Azure Functions sample500, {duration_s / 3600:g} h"
            found.append(Scenario(name, 2.0, lambda system=system: timed(deployment, system)))  # type: ignore[misc]
    return found


def spread(values: Sequence[float]) -> tuple[str, str, str]:
    """Minimum, median and maximum."""
    return tuple(f"{value:.2f}" for value in (min(values), statistics.median(values), max(values)))  # type: ignore[return-value]


def compare_speed(console: Console, rounds: int, quick: bool) -> None:
    """Ratios to bare SimPy."""
    every = scenarios(quick)
    ratios: dict[str, list[float]] = {scenario.name: [] for scenario in every}
    rates: dict[str, list[float]] = {scenario.name: [] for scenario in every}
    bare = []
    for _ in range(rounds):
        for scenario in every:
            yardstick = bare_simpy()
            requests, seconds = scenario.run()
            yardstick = max(yardstick, bare_simpy())  # the better of the two around it
            bare.append(yardstick)
            ratios[scenario.name].append(requests / seconds / yardstick)
            rates[scenario.name].append(requests / seconds)
    table = Table(
        title=f"Requests per second over bare SimPy's ({statistics.median(bare):,.0f}), {rounds} rounds"
    )
    for column in ("scenario", "wanted", "min", "median", "max", "requests/s"):
        table.add_column(column, justify="left" if column == "scenario" else "right")
    for scenario in every:
        rate = f"{statistics.median(rates[scenario.name]):,.0f}"
        table.add_row(scenario.name, f"{scenario.wanted:g}", *spread(ratios[scenario.name]), rate)
    console.print(table)


def growth(console: Console, quick: bool) -> None:
    """How time grows with batches, and what idle GPUs and functions cost."""
    small, factor = (50_000 if quick else 150_000), 8

    def seconds(requests: int, **changes: int) -> float:
        deployment = one_function(
            60.0, requests, size=Size(4, 0.3, 0.6), model="roberta-large", training=False, **changes
        )
        return min(timed(deployment, "dilu")[1] for _ in range(3))

    base, large = seconds(small), seconds(small * factor)
    exponent = float(np.log(large / base) / np.log(factor))
    idle = seconds(small * factor, gpus=4000, idle=400)
    console.print(f"growth of time with batches, x{factor}: exponent {exponent:.3f} (wanted: at most 1.05)")
    console.print(
        f"4,000 GPUs and 400 idle functions more: {100 * (idle / large - 1):+.1f} % time (wanted: < 1 %)"
    )


def placement(console: Console) -> None:
    """Placements per second at the paper's scale."""
    events = generate_instance_events(3200, seed=0)
    for system in ("exclusive", "infless+-l", "dilu"):
        seconds = []
        for _ in range(3):
            begun = time.perf_counter()
            replay_instances(
                Cluster(1000, 4, CATALOG.gpu), events, find_system(system), recorder=NullRecorder()
            )
            seconds.append(time.perf_counter() - begun)
        rate = 3200 / min(seconds)
        console.print(
            f"{system}: 3,200 instances on 4,000 GPUs in {min(seconds):.2f} s, {rate:,.0f} placements/s"
        )


def memory(console: Console) -> None:
    """Peak memory of sample500, in a process of its own."""
    traces = os.environ.get("DILU_TRACE_DIR")
    if not traces:
        console.print("peak memory of sample500: skipped, DILU_TRACE_DIR is not set")
        return
    done = subprocess.run(
        [sys.executable, __file__, "--peak", str(Path(traces) / "azure_functions_2019")],
        capture_output=True,
        text=True,
        check=True,
    )
    console.print(done.stdout.strip())


def print_peak(path: str) -> None:
    """Run sample500 under dilu and print this process's peak memory."""
    experiment = load_experiment("azure-functions", trace=path, changes=["duration_s=28800"])
    deployment = resolve(experiment).deployment
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    requests, _ = timed(deployment, "dilu")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    extra = (after - before) * 2**30 / requests
    print(
        f"sample500, {requests:,} requests: peak {after:.2f} GiB (wanted: < 1.5), "
        f"of which the run {extra:.0f} bytes a request (wanted: <= 60)"
    )


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="short runs, for a first impression")
    parser.add_argument("--peak", metavar="TRACE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print_peak(options.peak)
        return
    console = Console(width=110)
    compare_speed(console, options.rounds, options.quick)
    growth(console, options.quick)
    placement(console)
    memory(console)


if __name__ == "__main__":
    main()
