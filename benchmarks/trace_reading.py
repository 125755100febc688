"""How fast traces are read, as ratios to what a researcher would write with pandas, timed in the same run.

Each round times both, one after the other, so that a busy machine slows both; the tables give minimum, median
and maximum of the rounds. What is compared here does less than the readers do: it checks nothing.

    python benchmarks/trace_reading.py [--rounds N] [--quick]

Needs DILU_TRACE_DIR, a folder that holds `azure_functions_2019/` and `azure_llm_2023/`, and Linux.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from traces import Trace, read_azure_functions
from traces.readers.azure_llm import read_azure_llm
from traces.synthesis.published import PUBLISHED

LLM_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
DAY_FUNCTIONS = 46_413  # of the publisher's first day
HOUR_TICKS = 3600 * 10**7  # of 100 ns


def counts_with_pandas(path: Path) -> dict[str, NDArray[np.float64]]:
    """Lay the arrivals of each function evenly in its minutes, with pandas and a loop over functions."""
    table = pd.read_csv(path)
    minutes = [name for name in table.columns if name.isdigit()]
    counts = table[minutes].to_numpy()
    arrivals = {}
    for function, row in zip(table["HashFunction"], counts, strict=True):
        times = [
            np.linspace(60 * minute, 60 * (minute + 1), count, endpoint=False) + 30 / count
            for minute, count in enumerate(row)
            if count > 0
        ]
        arrivals[function] = np.concatenate(times) if times else np.zeros(0)
    return arrivals


def requests_with_pandas(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Read requests with their tokens, one a row, with pandas alone."""
    table = pd.read_csv(path, parse_dates=["TIMESTAMP"])
    arrival_s = (table["TIMESTAMP"] - table["TIMESTAMP"].iloc[0]).dt.total_seconds()
    return tuple(column.to_numpy() for column in (arrival_s, table[LLM_COLUMNS[1]], table[LLM_COLUMNS[2]]))  # type: ignore[return-value]


def write_scaled(source: Path, target: Path, factor: int) -> None:
    """Write a file of invocations with all its counts multiplied."""
    table = pd.read_csv(source)
    minutes = [name for name in table.columns if name.isdigit()]
    table[minutes] *= factor
    table.to_csv(target, index=False)


def write_requests(source: Path, target: Path, rows: int) -> None:
    """Write the requests of an Azure LLM trace hour after hour until there are so many."""
    trace = read_azure_llm(source)
    assert trace.input_tokens is not None
    assert trace.output_tokens is not None
    ticks = np.rint(trace.arrival_s * 1e7).astype(np.int64)
    with target.open("wb") as file:
        file.write(",".join(LLM_COLUMNS).encode() + b"\n")
        for hour, start in enumerate(range(0, rows, len(trace))):
            part = slice(0, min(len(trace), rows - start))
            time_ns = (ticks[part] + hour * HOUR_TICKS) * 100 + 1_700_000_000 * 10**9
            stamps = np.datetime_as_string(time_ns.astype("datetime64[ns]"), unit="ns")
            columns = {
                "TIMESTAMP": np.char.replace(
                    stamps.astype("U27"), "T", " "
                ),  # 7 digits, as the publisher has
                "ContextTokens": trace.input_tokens[part],
                "GeneratedTokens": trace.output_tokens[part],
            }
            pacsv.write_csv(
                pa.table(columns), file, pacsv.WriteOptions(include_header=False, quoting_style="none")
            )


def write_day(target: Path, functions: int) -> None:
    """Write a day of so many functions with the published distribution of invocations a day."""
    rng = np.random.default_rng(0)
    a_minute = PUBLISHED["released"].per_day.value_at(rng.random(functions)) / 1440
    with target.open("w") as file:
        file.write(
            ",".join(["HashOwner", "HashApp", "HashFunction", "Trigger", *map(str, range(1, 1441))]) + "\n"
        )
        for position, rate in enumerate(a_minute.tolist()):
            ids = f"{position // 9:064x},{position // 3:064x},{position:064x},http,"
            file.write(ids + ",".join(map(str, rng.poisson(rate, 1440).tolist())) + "\n")


def seconds(run: Callable[[], object]) -> float:
    """Return how long one run takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def spread(values: Sequence[float]) -> tuple[str, str, str]:
    """Minimum, median and maximum."""
    return tuple(f"{value:.2f}" for value in (min(values), statistics.median(values), max(values)))  # type: ignore[return-value]


def compare(console: Console, traces: Path, folder: Path, rounds: int, rows: int) -> None:
    """Ratios to pandas."""
    counts = traces / "azure_functions_2019" / "sample500_invocations.csv"
    requests = folder / "requests.csv"
    write_requests(next((traces / "azure_llm_2023").glob("*conv*")), requests, rows)
    pairs: list[tuple[str, str, int, Callable[[], object], Callable[[], object]]] = [
        (
            "Azure Functions 2019, sample500, to arrivals",
            "3",
            len(read_azure_functions(counts)),
            lambda: read_azure_functions(counts),
            lambda: counts_with_pandas(counts),
        ),
        (
            f"Azure LLM, {rows:,} rows",
            "",
            rows,
            lambda: read_azure_llm(requests),
            lambda: requests_with_pandas(requests),
        ),
    ]
    table = Table(title=f"Time with pandas over time here, {rounds} rounds")
    for column in ("what is read", "wanted", "min", "median", "max", "requests/s"):
        table.add_column(column, justify="left" if column == "what is read" else "right")
    for name, wanted, arrivals, ours, theirs in pairs:
        ours(), theirs()  # the first run of either loads what the later ones find
        timed = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
        rate = arrivals / statistics.median(own for own, _ in timed)
        table.add_row(name, wanted, *spread([other / own for own, other in timed]), f"{rate:,.0f}")
    console.print(table)


def growth(console: Console, traces: Path, folder: Path, factors: Sequence[int]) -> None:
    """How time grows with invocations."""
    times = []
    for factor in factors:
        path = folder / f"x{factor}_invocations.csv"
        write_scaled(traces / "azure_functions_2019" / "sample500_invocations.csv", path, factor)
        times.append(min(seconds(lambda path=path: read_azure_functions(path)) for _ in range(5)))  # type: ignore[misc]
    exponent = float(np.polyfit(np.log(factors), np.log(times), 1)[0])
    console.print(
        f"sample500 with counts x{factors[0]} to x{factors[-1]}: {times[0]:.2f} to {times[-1]:.2f} s, "
        f"exponent of time over invocations {exponent:.2f} (wanted: at most 1.05)"
    )


def in_own_process(console: Console, path: Path, *options: str) -> None:
    """Print time and peak memory of one read in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--peak", str(path), *options], capture_output=True, text=True, check=True
    )
    console.print(done.stdout.strip())


def peak_gib() -> float:
    """Peak memory of this process; what `getrusage` says counts in what its parent held at the fork."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**20 for line in status if line.startswith("VmHWM:"))


def print_peak(path: Path, thin: float | None) -> None:
    """Read one file of invocations and print what it took."""
    before = peak_gib()
    read: list[Trace] = []
    took_s = seconds(lambda: read.append(read_azure_functions(path, thin=thin)))
    chosen = "" if thin is None else f", thin={thin:g}"
    print(
        f"{path.name}{chosen}:\n  {len(read[0]):,} invocations in {took_s:.2f} s, "
        f"peak {peak_gib():.2f} GiB, {before:.2f} before"
    )


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small files, for a first impression")
    parser.add_argument("--peak", metavar="FILE", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--thin", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print_peak(options.peak, options.thin)
        return
    traces = Path(os.environ.get("DILU_TRACE_DIR", ""))
    if not (traces / "azure_functions_2019").is_dir():
        parser.exit(1, "DILU_TRACE_DIR names no folder that holds azure_functions_2019/\n")
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare(console, traces, folder, options.rounds, 200_000 if options.quick else 5_000_000)
        growth(console, traces, folder, (1, 2) if options.quick else (1, 2, 4, 8))
        in_own_process(console, traces / "azure_functions_2019" / "sample5_invocations.csv")
        if not options.quick:
            day = folder / "invocations_per_function_md.anon.d01.csv"
            write_day(day, DAY_FUNCTIONS)
            in_own_process(console, day, "--thin", "0.1")


if __name__ == "__main__":
    main()
