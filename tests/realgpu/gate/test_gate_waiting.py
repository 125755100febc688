from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from preloaded import Bench

from realgpu.gate import Gate, GateError, GateFile, Mode, NativeGate, PythonGate

OpenGate = Callable[[GateFile], Gate]
TRIES = 5


@pytest.fixture(params=["native", "python"])
def open_gate(request: pytest.FixtureRequest) -> Iterator[OpenGate]:
    """Either gate, on slot 0 of a file."""
    opened: list[Gate] = []

    def opening(file: GateFile) -> Gate:
        if request.param == "native":
            opened.append(NativeGate(request.getfixturevalue("gate_library"), file.path, 0))
        else:
            opened.append(PythonGate(file.path, 0))
        return opened[-1]

    yield opening
    for gate in opened:
        gate.close()


@pytest.mark.parametrize("rate", [2_000, 10_000, 40_000])
def test_the_rate_is_kept_within_one_percent(gate_library: Path, rate: int) -> None:
    """Launching without pause, a worker gets its rate over a second: best of five, on a busy machine."""
    errors = []
    for _ in range(TRIES):
        with GateFile.create(1) as file, NativeGate(gate_library, file.path, 0) as gate:
            file.unsupervised()
            file.slots[0].set_rate(rate, rate * 0.05)
            file.slots[0].set_mode(Mode.ENFORCE)
            while file.slots[0].read("blocked") == 0:  # empty the bucket first
                gate.charge(1)
            begun, before = time.monotonic_ns(), file.slots[0].read("launches")
            while time.monotonic_ns() - begun < 1_000_000_000:
                gate.charge(1)
            seconds = (time.monotonic_ns() - begun) / 1e9
            errors.append(abs((file.slots[0].read("launches") - before) / seconds / rate - 1))
        if min(errors) <= 0.01:
            return
    pytest.fail(f"the rate is missed by {min(errors):.1%} at best")


def test_costs_are_paid_for(gate_file: GateFile, open_gate: OpenGate) -> None:
    """What is spent beyond the burst takes at least its time, and the counters say what happened."""
    slot = gate_file.slots[0]
    slot.set_rate(10_000, 100)
    slot.set_mode(Mode.ENFORCE)
    gate = open_gate(gate_file)
    begun = time.monotonic()
    for _ in range(20):
        gate.charge(50)
    assert time.monotonic() - begun >= (20 * 50 - 50 - 100 - 50) / 10_000
    assert slot.read("launches") == 20
    assert slot.read("spent") == 1000
    assert slot.read("blocked") >= 1
    assert slot.read("stall_ns") > 0
    assert -50 < slot.tokens <= 100


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.COUNT, Mode.CALIBRATE])
def test_only_enforcing_waits(gate_file: GateFile, open_gate: OpenGate, mode: Mode) -> None:
    """At rate 0 nothing is held up unless the mode says so, and no debt is left behind."""
    slot = gate_file.slots[0]
    slot.set_rate(0, 0)
    slot.set_mode(mode)
    open_gate(gate_file).charge(7)
    assert slot.read("blocked") == slot.tokens == 0
    assert slot.read("launches") == (0 if mode == Mode.OFF else 1)


def test_an_open_rate_never_waits(gate_file: GateFile, open_gate: OpenGate) -> None:
    """Without a limit any cost passes at once and is counted."""
    slot = gate_file.slots[0]
    slot.set_rate(None, 0)
    slot.set_mode(Mode.ENFORCE)
    open_gate(gate_file).charge(10**9)
    assert (slot.read("spent"), slot.tokens, slot.read("blocked")) == (10**9, 0, 0)


def blocked_until(gate_file: GateFile, gate: Gate, change: Callable[[], None]) -> None:
    """Charge at rate 0 in a thread, see it wait, change something, and see it pass."""
    slot = gate_file.slots[0]
    slot.write("deadline_ns", 60 * 10**9)
    slot.set_rate(0, 0)
    slot.set_mode(Mode.ENFORCE)
    thread = threading.Thread(target=gate.charge, args=(1,))
    thread.start()
    while slot.read("launches") == 0:
        time.sleep(0.001)
    thread.join(0.1)
    assert thread.is_alive(), "rate 0 did not block"
    change()
    thread.join(20)
    assert not thread.is_alive()


def test_a_new_rate_wakes_who_waits(gate_file: GateFile, open_gate: OpenGate) -> None:
    """A launch blocked at rate 0 passes when a rate comes and is announced."""

    def change() -> None:
        gate_file.slots[0].set_rate(1000, 10)
        gate_file.announce()

    blocked_until(gate_file, open_gate(gate_file), change)
    assert gate_file.slots[0].read("deadline_opens") == gate_file.slots[0].read("stale_opens") == 0


def wakes_at_once(library: Path) -> bool:
    """Return whether a launch that sleeps at rate 0 passes within half a second of an announced rate."""
    with GateFile.create(1) as file, NativeGate(library, file.path, 0) as gate:
        file.unsupervised()
        slot = file.slots[0]
        slot.write("deadline_ns", 60 * 10**9)
        slot.set_rate(0, 0)
        slot.set_mode(Mode.ENFORCE)
        thread = threading.Thread(target=gate.charge, args=(1,))
        thread.start()
        while slot.read("blocked") == 0:
            time.sleep(0.001)
        time.sleep(0.05)  # the spinning is over
        slot.set_rate(1e6, 10)
        file.announce()
        thread.join(0.5)
        at_once = not thread.is_alive()
        thread.join(20)
        return at_once


def test_an_announcement_wakes_at_once(gate_library: Path) -> None:
    """A sleeper that would look again after a second is woken before: once in five tries, if busy."""
    assert any(wakes_at_once(gate_library) for _ in range(TRIES))


def test_switching_off_lets_go(gate_file: GateFile, open_gate: OpenGate) -> None:
    """A launch that waits passes when the gate is switched off, and leaves no debt."""

    def change() -> None:
        gate_file.slots[0].set_mode(Mode.OFF)
        gate_file.announce()

    blocked_until(gate_file, open_gate(gate_file), change)
    assert gate_file.slots[0].tokens == 0


def test_the_deadline_opens(gate_file: GateFile, open_gate: OpenGate) -> None:
    """A launch waits no longer than its deadline, is counted, and is not charged to the bucket."""
    slot = gate_file.slots[0]
    slot.set_rate(0, 0)
    slot.write("deadline_ns", 50_000_000)
    slot.set_mode(Mode.ENFORCE)
    gate = open_gate(gate_file)
    for _ in range(3):
        gate.charge(10)
    assert slot.read("deadline_opens") == 3
    assert slot.read("stall_ns") >= 3 * 50_000_000
    assert slot.tokens == 0


@pytest.mark.parametrize("beaten", [True, False])
def test_a_dead_controller_opens(gate_file: GateFile, open_gate: OpenGate, beaten: bool) -> None:
    """A heartbeat that stopped, or never began, opens the gate long before the deadline."""
    slot = gate_file.slots[0]
    slot.set_rate(0, 0)
    slot.write("deadline_ns", 60 * 10**9)
    slot.set_mode(Mode.ENFORCE)
    gate_file.beat(time.monotonic_ns() if beaten else 0)
    open_gate(gate_file).charge(10)
    assert (slot.read("stale_opens"), slot.read("deadline_opens")) == (1, 0)
    assert (slot.read("stall_ns") >= 200_000_000) == beaten
    assert slot.tokens == 0


def test_a_beating_controller_keeps_it_shut(gate_file: GateFile, open_gate: OpenGate) -> None:
    """While the heart beats, a blocked launch stays blocked past the 250 ms of a stale one."""
    slot = gate_file.slots[0]
    slot.set_rate(0, 0)
    slot.write("deadline_ns", 60 * 10**9)
    slot.set_mode(Mode.ENFORCE)
    gate_file.beat()
    thread = threading.Thread(target=open_gate(gate_file).charge, args=(1,))
    thread.start()
    for _ in range(40):
        time.sleep(0.01)
        gate_file.beat()
    assert thread.is_alive() or slot.read("stall_ns") > 0
    stale_too_soon = slot.read("stale_opens")
    slot.set_mode(Mode.OFF)
    gate_file.announce()
    thread.join(20)
    assert stale_too_soon == 0


def test_a_bucket_does_not_earn_twice_while_nobody_looks(gate_file: GateFile, gate_library: Path) -> None:
    """After a long rest one burst passes, not two, when heartbeats tell the gate of the time."""
    slot = gate_file.slots[0]
    slot.set_rate(1_000, 1_000)
    slot.set_mode(Mode.ENFORCE)
    gate_file.beat()
    with NativeGate(gate_library, gate_file.path, 0) as gate:
        gate.charge(1)
        time.sleep(0.1)
        gate_file.beat()
        begun = time.monotonic()
        while slot.read("blocked") == 0:
            gate.charge(1)
        passed, seconds = slot.read("spent"), time.monotonic() - begun
    assert passed <= 1_000 + 1_000 * (0.1 + seconds) + 50


def test_a_kernel_of_any_size_passes_in_debt(gate_file: GateFile, open_gate: OpenGate) -> None:
    """A cost far above the burst passes at once when a token is left, and the next one waits."""
    slot = gate_file.slots[0]
    slot.set_rate(10, 5)
    slot.set_mode(Mode.ENFORCE)
    slot.write("deadline_ns", 20_000_000)
    gate = open_gate(gate_file)
    gate.charge(10**6)
    assert slot.read("blocked") == 0
    gate.charge(1)
    assert slot.read("deadline_opens") == 1
    assert slot.tokens < -(10**5)


def test_bad_costs_and_closed_gates_are_refused(gate_file: GateFile, gate_library: Path) -> None:
    """A cost below 1 is an error, and so is charging a closed gate or a slot that is not there."""
    with NativeGate(gate_library, gate_file.path, 0) as native, PythonGate(gate_file.path, 0) as python:
        for gate in (native, python):
            with pytest.raises(GateError, match="cost: found 0"):
                gate.charge(0)
        native.close()
        with pytest.raises(GateError, match="closed"):
            native.charge(1)
    with pytest.raises(GateError, match="has no such slot"):
        NativeGate(gate_library, gate_file.path, 2)
    with pytest.raises(GateError, match="allowed are 0 to 1"):
        PythonGate(gate_file.path, 2)


def test_a_launch_is_held_up_in_the_worker(bench: Bench) -> None:
    """Under the gate, kernel launches of a program take the time that their blocks cost."""
    bench.slot.set_rate(10_000, 10)
    bench.slot.set_mode(Mode.ENFORCE)
    script = """
    begun = time.monotonic()
    for _ in range(30):
        assert launch(100) == 0
    print(time.monotonic() - begun, cuda.fake_calls(0))
    """
    seconds, calls = bench.launch(script).split()
    assert float(seconds) >= (29 * 100 - 20 - 100) / 10_000
    assert int(calls) == bench.slot.read("launches") == 30
