from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import METRICS, compare, summarise
from analysis.latency import distribution
from analysis.occupancy import holding
from recording import (
    BATCH,
    Arrivals,
    Manifest,
    MemoryRecorder,
    RecordedCluster,
    RecordedFunction,
    RecordingError,
    Run,
)

INFERENCE = RecordedFunction(name="resnet152", kind="inference", slo_s=0.5)
LLM = RecordedFunction(name="llama2-7b", kind="llm", slo_s=0.1, output_tokens=4)
TRAINING = RecordedFunction(name="bert-base-training", kind="training", start_s=2.0)


def run_of(
    recorder: MemoryRecorder,
    functions: tuple[RecordedFunction, ...] = (),
    arrivals: list[list[float]] | None = None,
    tokens: list[np.ndarray | None] | None = None,
    simulated_s: float = 10.0,
    **keys: Any,
) -> Run:
    """Build a run from rows in memory."""
    manifest = Manifest(
        system="dilu",
        world="sim",
        seed=0,
        simulated_s=simulated_s,
        cluster=RecordedCluster(nodes=1, gpus_per_node=4, gpu="A100", gpu_memory_bytes=100),
        functions=functions,
        **keys,
    )
    times = [np.array(own, dtype=np.float64) for own in arrivals or [[] for _ in functions]]
    return Run(manifest, recorder, Arrivals.from_functions(times, tokens))


def test_requests_are_counted_by_what_became_of_them() -> None:
    """Late, dropped and overdue unfinished requests miss the SLO; a young unfinished one does not."""
    recorder = MemoryRecorder()
    recorder.batches(BATCH.pack(0, 0, 0, 2, 1.0, 1.3) + BATCH.pack(0, -1, 2, 1, 4.0, 4.0))
    arrivals = [[0.9, 0.7, 2.0, 3.0, 9.8]]  # 0.4 s in time, 0.6 s late, dropped, overdue, young
    arrivals[0][:2] = sorted(arrivals[0][:2])
    summary = summarise(run_of(recorder, (INFERENCE,), arrivals))
    assert [summary[key] for key in ("requests", "completed", "dropped", "unfinished")] == [5, 2, 1, 2]
    assert summary["slo_violations"] == 3
    assert summary["slo_violation_rate"] == pytest.approx(3 / 5)
    assert summary["latency_s"]["p50"] == pytest.approx(0.5)
    assert summary["throughput_rps"] == pytest.approx(0.2)
    assert summary["mean_batch"] == 2.0
    assert summary["functions"]["resnet152"]["slo_violations"] == 3


def test_a_latency_of_exactly_the_slo_is_in_time() -> None:
    """The SLO itself is allowed, however its sum was rounded; a microsecond more is not."""
    for excess_s, missed in ((0.0, 0), (1e-6, 1)):
        recorder = MemoryRecorder()
        recorder.batches(BATCH.pack(0, 0, 0, 1, 0.1 + 0.2, 0.1 + 0.2 + 0.5 + excess_s))
        summary = summarise(run_of(recorder, (INFERENCE,), [[0.3]]))
        assert summary["slo_violations"] == missed


def test_an_llm_is_held_to_its_time_per_token() -> None:
    """TPOT is latency over the request's own tokens; TTFT counts from the batch's longest."""
    recorder = MemoryRecorder()
    recorder.batches(BATCH.pack(0, 0, 0, 2, 1.0, 1.8))
    run = run_of(recorder, (LLM,), [[0.9, 1.0]], [np.array([2, 8], dtype=np.int32)])
    summary = summarise(run)
    # Latencies 0.9 and 0.8 s over 2 and 8 tokens: 0.45 (late) and 0.1 s a token (just in time).
    assert summary["slo_violations"] == 1
    assert summary["llm"]["tpot_s"]["mean"] == pytest.approx((0.45 + 0.1) / 2)
    # The batch makes 8 tokens in 0.8 s, so the first is out at 1.1.
    assert summary["llm"]["ttft_s"]["mean"] == pytest.approx((0.2 + 0.1) / 2)
    assert summary["functions"]["llama2-7b"]["llm"] == summary["llm"]


def test_an_llm_without_tokens_in_its_trace_uses_its_own() -> None:
    """Where the workload says nothing, a request generates its function's number of output tokens."""
    recorder = MemoryRecorder()
    recorder.batches(BATCH.pack(1, 0, 0, 1, 1.0, 1.8))
    summary = summarise(run_of(recorder, (INFERENCE, LLM), [[], [1.0]]))
    assert summary["llm"]["tpot_s"]["p50"] == pytest.approx(0.2)
    assert summary["llm"]["ttft_s"]["p50"] == pytest.approx(0.2)


def test_training_speed_and_completion() -> None:
    """Speeds add up over jobs; completion counts from deployment; a job that never ran has no steps."""
    recorder = MemoryRecorder()
    recorder.training(0, 0, 3.0, 7.0, 40.0, True, 2)
    recorder.training(0, 1, 5.0, 10.0, 10.0, False, 2)
    waiting = RecordedFunction(name="waiting", kind="training")
    training = summarise(run_of(recorder, (TRAINING, waiting)))["training"]
    assert training == {"jobs": 3, "finished": 1, "steps": 50.0, "steps_per_s": 12.0, "jct_s": 5.0}


def test_gpus_are_weighed_by_time() -> None:
    """Peak, mean, GPU-seconds and fragmentations follow from the stretches between rows, computed by hand."""
    recorder = MemoryRecorder()
    recorder.gpu(0.0, 0, 1, 0.4, 0.5, 0.8, 50, 0.0)
    recorder.gpu(2.0, 1, 1, 0.2, 0.2, 0.4, 10, 0.0)
    recorder.gpu(4.0, 0, 0, 0.0, 0.0, 0.0, 0, 1.0)
    recorder.gpu(10.0, 0, 0, 0.0, 0.0, 0.0, 0, 1.0)
    recorder.gpu(10.0, 1, 1, 0.2, 0.2, 0.4, 10, 2.0)
    summary = summarise(run_of(recorder))
    assert summary["gpu_seconds"] == 4.0 + 8.0
    assert summary["mean_gpus"] == pytest.approx(1.2)
    assert summary["peak_gpus"] == 2
    assert summary["sm_fragmentation"] == pytest.approx((4 * 0.6 + 8 * 0.8) / 12)
    assert summary["sm_fragmentation_reserved"] == pytest.approx((4 * 0.5 + 8 * 0.8) / 12, abs=1e-8)
    assert summary["memory_fragmentation"] == pytest.approx((4 * 0.5 + 8 * 0.9) / 12)
    assert summary["sm_utilization"] == pytest.approx(3.0 / 12)


def test_a_hand_over_at_one_instant_is_no_peak() -> None:
    """A GPU that is left in the very instant in which another is taken does not count twice."""
    recorder = MemoryRecorder()
    recorder.gpu(0.0, 0, 1, 0.4, 0.4, 0.8, 50, 0.0)
    recorder.gpu(5.0, 1, 1, 0.4, 0.4, 0.8, 50, 0.0)
    recorder.gpu(5.0, 0, 0, 0.0, 0.0, 0.0, 0, 0.0)
    assert holding(run_of(recorder)).peak_gpus == 1


def test_several_changes_at_one_instant_leave_the_last() -> None:
    """Of rows of one GPU at one time the last written holds."""
    recorder = MemoryRecorder()
    for request in (0.9, 0.1, 0.3):
        recorder.gpu(0.0, 0, 1, request, request, 1.0, 10, 0.0)
    assert summarise(run_of(recorder))["sm_fragmentation"] == pytest.approx(0.7)


def test_overcommitted_gpus_are_full() -> None:
    """Needs beyond a whole GPU make its fragmentation 0, never negative."""
    recorder = MemoryRecorder()
    recorder.gpu(0.0, 0, 3, 1.6, 1.0, 2.0, 100, 0.0)
    summary = summarise(run_of(recorder))
    assert summary["sm_fragmentation"] == summary["memory_fragmentation"] == 0.0


def test_cold_starts_are_counted_by_function() -> None:
    """Launches that were warm from the start are launches and no cold starts."""
    recorder = MemoryRecorder()
    recorder.instance(0, 0, 0.0, 0.0, None, False, 4, 0.3, 0.6, [0], [10])
    recorder.instance(1, 0, 3.0, 5.0, 9.0, True, 4, 0.3, 0.6, [0], [10])
    recorder.instance(2, 1, 4.0, None, None, True, 4, 0.3, 0.6, [1], [10])
    summary = summarise(run_of(recorder, (INFERENCE, LLM), launches_refused=2))
    assert (summary["launches"], summary["cold_starts"], summary["launches_refused"]) == (3, 2, 2)
    by_function = [(f["launches"], f["cold_starts"]) for f in summary["functions"].values()]
    assert by_function == [(2, 1), (1, 1)]


def test_an_empty_run_has_no_numbers_but_all_keys() -> None:
    """Where nothing happened numbers are null, counts are 0, and the document is strict JSON."""
    summary = summarise(run_of(MemoryRecorder(), simulated_s=0.0))
    assert summary["requests"] == summary["peak_gpus"] == summary["cold_starts"] == 0
    for key in ("slo_violation_rate", "throughput_rps", "throughput_rps_per_gpu", "sm_fragmentation"):
        assert summary[key] is None
    assert summary["latency_s"] == {"mean": None, "p50": None, "p95": None, "p99": None}
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_placement_only_runs_have_no_functions() -> None:
    """A run that only placed instances reports GPUs and launches, but no functions."""
    recorder = MemoryRecorder()
    recorder.instance(0, 0, 0.0, 0.0, None, False, 1, 0.3, 0.6, [0], [10])
    summary = summarise(run_of(recorder, (TRAINING,), placement_only=True))
    assert summary["functions"] == {}
    assert summary["training"]["jobs"] == 0
    assert summary["launches"] == 1


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["served", "dropped", "left"])), max_size=30))
def test_requests_always_add_up(batches: list[tuple[int, str]]) -> None:
    """Always requests == completed + dropped + unfinished, in total and in each function."""
    recorder = MemoryRecorder()
    first = 0
    for count, fate in batches:
        if fate != "left":
            recorder.batches(BATCH.pack(0, 0 if fate == "served" else -1, first, count, first, first + 1.0))
        first += count
    summary = summarise(run_of(recorder, (INFERENCE,), [[float(i) for i in range(first)]], simulated_s=1e3))
    for counts in (summary, summary["functions"]["resnet152"]):
        assert counts["requests"] == first
        assert counts["requests"] == counts["completed"] + counts["dropped"] + counts["unfinished"]
    expected = {fate: sum(count for count, own in batches if own == fate) for fate in ("served", "dropped")}
    assert (summary["completed"], summary["dropped"]) == (expected["served"], expected["dropped"])


@given(st.lists(st.floats(0.0, 1e4), min_size=1, max_size=50))
def test_percentiles_interpolate_linearly(values: list[float]) -> None:
    """The percentile p of n sorted values stands at position p / 100 * (n - 1), between its neighbours."""
    numbers = sorted(values)
    found = distribution(np.array(values))
    for percent in (50, 95, 99):
        position = percent / 100 * (len(numbers) - 1)
        low = math.floor(position)
        high = min(low + 1, len(numbers) - 1)
        expected = numbers[low] + (position - low) * (numbers[high] - numbers[low])
        assert found[f"p{percent}"] == pytest.approx(expected)


@pytest.mark.parametrize("found", ["abc", True, 10**400, [1]])
def test_a_metric_is_a_number(found: object) -> None:
    """What a summary says must be a number, or nothing."""
    with pytest.raises(RecordingError, match=r"requests: found .*, allowed is a number"):
        compare([{"system": "a", "requests": found}])


def test_comparison_has_ratios_to_the_first() -> None:
    """Each metric stands beside its ratio to the first system; null and a base of 0 give no ratio."""
    recorder = MemoryRecorder()
    recorder.gpu(0.0, 0, 1, 0.5, 0.5, 1.0, 10, 0.0)
    first = summarise(run_of(recorder))
    table = compare([first, {**first, "system": "exclusive", "gpu_seconds": 20.0, "cold_starts": 3}])
    assert table.index.tolist() == ["dilu", "exclusive"]
    assert table["gpu_seconds_ratio"].tolist() == [1.0, 2.0]
    assert np.isnan(table["cold_starts_ratio"]).all()
    assert np.isnan(table["latency_p50_s"]).all()
    assert [c for c in table.columns if not c.endswith("_ratio")] == [metric.name for metric in METRICS]
