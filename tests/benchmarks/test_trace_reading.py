"""The benchmark compares like with like, on the files that it says it does."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from traces import read_azure_functions
from traces.readers.azure_llm import read_azure_llm

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "trace_reading.py"

REQUESTS = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 18:15:46.0000001,10,20\n2023-11-16 18:15:47.5000000,30,40\n"
    "2023-11-16 18:16:01.0000002,50,60\n"
)


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("trace_reading", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    """Two functions and three minutes."""
    path = tmp_path / "invocations.csv"
    path.write_text("HashOwner,HashApp,HashFunction,Trigger,7,8,9\no,a,f,http,3,0,1\no,a,g,http,0,0,0\n")
    return path


def test_both_lay_the_same_arrivals(benchmark: ModuleType, counts: Path) -> None:
    """What the loop with pandas returns is what the reader returns."""
    trace = read_azure_functions(counts)
    arrivals = benchmark.counts_with_pandas(counts)
    assert list(arrivals) == list(trace.functions)
    for function, times in arrivals.items():
        assert times == pytest.approx(trace.arrivals(function))


def test_both_read_the_same_requests(benchmark: ModuleType, tmp_path: Path) -> None:
    """Repeated hour after hour, sorted and with the tokens that the rows have."""
    source, target = tmp_path / "conv.csv", tmp_path / "requests.csv"
    source.write_text(REQUESTS)
    benchmark.write_requests(source, target, 8)
    trace = read_azure_llm(target)
    arrival_s, input_tokens, output_tokens = benchmark.requests_with_pandas(target)
    assert len(trace) == 8
    assert trace.arrival_s[3:6] == pytest.approx(3600 + trace.arrival_s[:3])
    assert arrival_s == pytest.approx(trace.arrival_s)
    assert np.array_equal(input_tokens, trace.input_tokens)
    assert np.array_equal(output_tokens, trace.output_tokens)


def test_scaled_counts_are_so_many_times_the_invocations(
    benchmark: ModuleType, counts: Path, tmp_path: Path
) -> None:
    """The exponent is over invocations and not over rows."""
    target = tmp_path / "scaled.csv"
    benchmark.write_scaled(counts, target, 5)
    assert read_azure_functions(target).counts.tolist() == (5 * read_azure_functions(counts).counts).tolist()


def test_a_made_day_is_one_that_the_reader_takes(benchmark: ModuleType, tmp_path: Path) -> None:
    """It has the minutes of a day and functions of very different rates."""
    day = tmp_path / "invocations_per_function_md.anon.d01.csv"
    benchmark.write_day(day, 60)
    trace = read_azure_functions(day)
    assert len(trace.functions) == 60
    assert trace.duration_s == 86_400
    assert trace.counts.max() > 100 * np.median(trace.counts)


def test_time_and_memory_are_of_a_process_of_their_own(counts: Path) -> None:
    """The line says how much was read, and the peak is at least what the process had before."""
    command = [sys.executable, str(SCRIPT), "--peak", str(counts)]
    line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert line.startswith("invocations.csv:\n  4 invocations in ")
    peak, before = line.split("peak ")[1].split(" GiB, ")
    assert float(peak) >= float(before.split()[0]) > 0


def test_without_traces_it_says_what_is_missing(tmp_path: Path) -> None:
    """It does not fail with a traceback."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        capture_output=True,
        text=True,
        env={"DILU_TRACE_DIR": str(tmp_path), "PYTHONPATH": str(SCRIPT.parents[1])},
    )
    assert done.returncode == 1
    assert done.stderr == "DILU_TRACE_DIR names no folder that holds azure_functions_2019/\n"
