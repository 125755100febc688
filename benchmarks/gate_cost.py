"""What the launch gate costs a launch: nanoseconds, and ratios to the bare call of an idle driver.

Each round times the bare call before and after every scenario, so that a busy machine slows both; the table
gives minimum, median and maximum of the rounds. A real launch takes some microseconds, so the ratios are to
an ideal that no device reaches: what matters beside a GPU are the nanoseconds.

    python benchmarks/gate_cost.py [--rounds N] [--quick]

Needs a C compiler.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from realgpu.gate import CostModel, GateFile, Mode, build_gate, gate_environment

DRIVER = """
#include <stdint.h>
static volatile uint64_t launches;
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **parameters, void **extra)
{
    (void)f, (void)gx, (void)gy, (void)gz, (void)bx, (void)by, (void)bz;
    (void)shared, (void)stream, (void)parameters, (void)extra;
    launches++;
    return 0;
}
int cuStreamIsCapturing(void *stream, int *status)
{
    (void)stream;
    return *status = 0;
}
"""
PROGRAM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
typedef int launch(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
                   void **, void **);
int main(int count, char **words)
{
    launch *call = (launch *)dlsym(dlopen("libcuda.so.1", RTLD_NOW), "cuLaunchKernel");
    long launches = atol(words[1]), stream = count > 2 ? atol(words[2]) : 0;
    struct timespec begun, ended;
    for (int lap = 0; lap < 2; lap++) { // the first one warms up
        clock_gettime(CLOCK_MONOTONIC, &begun);
        for (long i = 0; i < launches; i++)
            call(words, 8, 1, 1, 128, 1, 1, 0, (void *)stream, NULL, NULL);
        clock_gettime(CLOCK_MONOTONIC, &ended);
    }
    double ns = (double)(ended.tv_sec - begun.tv_sec) * 1e9 + (double)(ended.tv_nsec - begun.tv_nsec);
    printf("%f\\n", ns / (double)launches);
    return 0;
}
"""
PLENTY = 1e15  # cost a second: a bucket that never runs dry
PERIOD_S = 0.005
OWN_STREAM = 16


@dataclass(frozen=True)
class Scenario:
    """A way to launch whose cost is compared with the bare call's."""

    name: str
    wanted: float | None
    mode: Mode
    cost_model: CostModel = CostModel.BLOCKS
    stream: int = 0


SCENARIOS = (
    Scenario("gate off", 2.0, Mode.OFF),
    Scenario("counting", None, Mode.COUNT),
    Scenario("enforcing, with tokens", 4.0, Mode.ENFORCE),
    Scenario("the same on a stream that might capture", None, Mode.ENFORCE, stream=OWN_STREAM),
    Scenario("enforcing, cost model time", None, Mode.ENFORCE, CostModel.TIME),
)


@dataclass(frozen=True)
class Built:
    """The programs that are timed."""

    program: Path
    driver: Path
    gate: Path


def build(folder: Path) -> Built:
    """Compile driver, program and gate."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    for name, source, options in (
        ("libcuda.so.1", DRIVER, ("-shared", "-fPIC", "-Wl,-soname,libcuda.so.1")),
        ("launches", PROGRAM, ()),
    ):
        path = folder / f"{name}.c"
        path.write_text(source)
        subprocess.run([*compiler, "-O2", *options, "-o", folder / name, path, "-ldl"], check=True)
    return Built(folder / "launches", folder, build_gate(folder))


def bare_ns(built: Built, launches: int) -> float:
    """Nanoseconds of one call of the driver, nothing preloaded."""
    command = [built.program, str(launches)]
    done = subprocess.run(
        command, env={"LD_LIBRARY_PATH": str(built.driver)}, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def gated_ns(built: Built, scenario: Scenario, launches: int) -> float:
    """Nanoseconds of one launch under the gate, a controller's heart beating beside it."""
    with GateFile.create(1) as file:
        file.beat()
        slot = file.slots[0]
        slot.set_rate(PLENTY, PLENTY)
        slot.set_mode(scenario.mode, scenario.cost_model)
        environment = gate_environment(built.gate, file.path, 0, base={"LD_LIBRARY_PATH": str(built.driver)})
        command = [built.program, str(launches), str(scenario.stream)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                file.beat()
                time.sleep(PERIOD_S)
            assert process.stdout is not None
            ns = float(process.stdout.read())
        seen, blocked = slot.read("launches"), slot.read("blocked")
    wanted = 0 if scenario.mode is Mode.OFF else 2 * launches
    if (seen, blocked) != (wanted, 0):
        raise RuntimeError(f"{scenario.name}: {seen} launches counted instead of {wanted}, {blocked} held up")
    return ns


def spread(values: Sequence[float]) -> tuple[str, str, str]:
    """Minimum, median and maximum."""
    return tuple(f"{value:.2f}" for value in (min(values), statistics.median(values), max(values)))  # type: ignore[return-value]


def compare(console: Console, built: Built, rounds: int, launches: int) -> None:
    """Ratios to the bare call."""
    ratios: dict[str, list[float]] = {scenario.name: [] for scenario in SCENARIOS}
    costs: dict[str, list[float]] = {scenario.name: [] for scenario in SCENARIOS}
    bare = []
    for _ in range(rounds):
        for scenario in SCENARIOS:
            before = bare_ns(built, launches)
            cost = gated_ns(built, scenario, launches)
            best = min(before, bare_ns(built, launches))
            bare.append(best)
            ratios[scenario.name].append(cost / best)
            costs[scenario.name].append(cost)
    title = f"Cost of a launch over a bare call's ({statistics.median(bare):.2f} ns), {rounds} rounds"
    table = Table(title=title)
    for column in ("scenario", "wanted", "min", "median", "max", "ns/launch"):
        table.add_column(column, justify="left" if column == "scenario" else "right")
    for scenario in SCENARIOS:
        wanted = "" if scenario.wanted is None else f"<= {scenario.wanted:g}"
        nanoseconds = f"{statistics.median(costs[scenario.name]):.1f}"
        table.add_row(scenario.name, wanted, *spread(ratios[scenario.name]), nanoseconds)
    console.print(table)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="short runs, for a first impression")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        built = build(Path(folder))
        compare(Console(width=110), built, options.rounds, 1_000_000 if options.quick else 20_000_000)


if __name__ == "__main__":
    main()
