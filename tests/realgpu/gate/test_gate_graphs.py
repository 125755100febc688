from __future__ import annotations

import pytest
from preloaded import Bench

from realgpu.gate import Mode

CAPTURE = """
assert cuda.cuStreamBeginCapture_v2(ctypes.c_void_p(77), 0) == 0
for _ in range(5):
    launch(20, stream=77)
graph = ctypes.c_void_p()
assert cuda.cuStreamEndCapture(ctypes.c_void_p(77), ctypes.byref(graph)) == 0
"""


def shut(bench: Bench) -> None:
    """Let nothing pass: who is held up runs into a deadline that the test would notice."""
    bench.slot.set_rate(0, 0)
    bench.slot.write("deadline_ns", 5_000_000)
    bench.slot.set_mode(Mode.ENFORCE)


def test_captured_launches_are_never_held_up(bench: Bench) -> None:
    """While a stream captures, its launches pass a shut gate at once; they are counted and not charged."""
    shut(bench)
    assert bench.launch(CAPTURE + "print(cuda.fake_value(b'captured'))") == "5"
    read = bench.slot.read
    assert (read("captured_launches"), read("captured_cost")) == (5, 100)
    assert read("launches") == read("spent") == read("blocked") == 0


def test_other_streams_are_gated_meanwhile(bench: Bench) -> None:
    """A launch on a stream that does not capture waits even while another one captures."""
    shut(bench)
    bench.launch(CAPTURE.replace("stream=77", "stream=78"))
    assert bench.slot.read("captured_launches") == 0
    assert bench.slot.read("deadline_opens") == 5


def test_the_flag_of_the_worker_bypasses(bench: Bench) -> None:
    """A worker that says it captures is believed, whatever the driver says."""
    shut(bench)
    bench.slot.write("capture_flag", 1)
    bench.launch("launch(20)")
    assert bench.slot.read("captured_launches") == 1
    assert bench.slot.read("blocked") == 0


def test_a_driver_that_does_not_say_is_taken_as_capturing(bench: Bench) -> None:
    """If the question fails, nothing is held up."""
    shut(bench)
    bench.launch("launch(20, stream=9)", FAKE_CAPTURE_FAILS="1")
    assert bench.slot.read("captured_launches") == 1
    assert bench.slot.read("blocked") == 0


@pytest.mark.parametrize(("declared", "charged"), [(0, 100), (7, 7)])
def test_a_graph_costs_what_was_declared_or_captured(bench: Bench, declared: int, charged: int) -> None:
    """Launching a graph charges what the worker declared, or else all that was captured."""
    bench.slot.write("graph_cost", declared)
    bench.slot.set_mode(Mode.COUNT)
    bench.launch(CAPTURE + "cuda.cuGraphLaunch(graph, ctypes.c_void_p(5)); cuda.cuGraphLaunch(graph, None)")
    read = bench.slot.read
    assert (read("graph_launches"), read("launches"), read("spent")) == (2, 2, 2 * charged)


def test_a_graph_is_held_up_like_a_kernel(bench: Bench) -> None:
    """A shut gate holds graphs as well."""
    shut(bench)
    bench.launch("cuda.cuGraphLaunch(None, None)")
    assert bench.slot.read("deadline_opens") == 1


def test_the_backlog_can_be_bounded(bench: Bench) -> None:
    """With K,R no more than K * (R + 1) launches are ever queued on the GPU; without, all are."""
    bench.slot.set_mode(Mode.COUNT)
    script = """
    for _ in range(60):
        launch(1)
    print(cuda.fake_value(b"largest_backlog"), cuda.fake_value(b"live_events"))
    """
    block_ns = 2_000_000
    free, _ = bench.launch(script, FAKE_NS_PER_BLOCK=str(block_ns)).split()
    bounded, events = bench.launch(script, FAKE_NS_PER_BLOCK=str(block_ns), GATE_INFLIGHT="4,2").split()
    assert int(bounded) <= 4 * 3 * block_ns < int(free)
    assert int(events) == 2
    assert bench.slot.read("inflight_waits") == 60 // 4 - 2
