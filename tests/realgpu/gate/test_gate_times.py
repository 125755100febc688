from __future__ import annotations

import sys
from pathlib import Path

import pytest
from preloaded import LAUNCHING, Bench

from realgpu.gate import CostModel, GateError, Mode, save_times
from realgpu.gate.layout import DEFAULT_KERNEL_NS

HEADING = "dilu-gate-times 1\ndefault 5000\n"


def test_calibration_measures_and_charges(bench: Bench, tmp_path: Path) -> None:
    """What one process calibrated another one charges, by the names of the kernels."""
    path = tmp_path / "times.txt"
    bench.slot.set_mode(Mode.CALIBRATE, CostModel.LAUNCHES)
    script = f"""
    for blocks in (1, 3):
        for _ in range(4):
            launch(blocks)
            launch(blocks, name=b"?kernel")
    gate = ctypes.CDLL(None)
    print(gate.gate_times_save({str(path).encode()!r}), cuda.fake_value(b"live_events"))
    """
    assert bench.launch(script, FAKE_NS_PER_BLOCK="200000") == "4 0"
    lines = path.read_text().splitlines()
    assert lines[:2] == ["dilu-gate-times 1", f"default {DEFAULT_KERNEL_NS}"]
    found = {tuple(line.split()[1:]): int(line.split()[0]) for line in lines[2:]}
    assert set(found) == {(str(n), "1", "1", name) for n in (1, 3) for name in ("kernel", "?kernel")}
    for (blocks, *_), ns in found.items():
        assert ns >= 200_000 * int(blocks) * 0.99
    before = bench.slot.read("spent")
    bench.slot.set_mode(Mode.COUNT, CostModel.TIME)
    bench.launch("launch(3); launch(3); launch(1)", GATE_TIMES=str(path))
    three, one = found["3", "1", "1", "kernel"], found["1", "1", "1", "kernel"]
    assert bench.slot.read("spent") - before == 2 * three + one
    assert bench.slot.read("unknown_times") == 0


def test_unknown_kernels_cost_the_default(bench: Bench, tmp_path: Path) -> None:
    """Another grid or another name is another kernel; each is charged the default and counted."""
    path = tmp_path / "times.txt"
    path.write_text(HEADING + "70000 2 1 1 kernel\n")
    bench.slot.set_mode(Mode.COUNT, CostModel.TIME)
    bench.launch("launch(2); launch(1); launch(2, name=b'other')", GATE_TIMES=str(path))
    assert bench.slot.read("spent") == 70_000 + 2 * 5_000
    assert bench.slot.read("unknown_times") == 2


def test_without_a_file_the_default_is_built_in(bench: Bench) -> None:
    """With no file of times every kernel costs the stated default."""
    bench.slot.set_mode(Mode.COUNT, CostModel.TIME)
    bench.launch("launch(2)")
    assert bench.slot.read("spent") == DEFAULT_KERNEL_NS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "something\n",
        "dilu-gate-times 1\n",
        "dilu-gate-times 1\ndefault x\n",
        HEADING + "1 2 3\n",
        HEADING + "\n",
    ],
)
def test_a_bad_file_is_said_and_not_used(bench: Bench, tmp_path: Path, text: str) -> None:
    """A file that is no table of times is refused as a whole, in one line."""
    path = tmp_path / "times.txt"
    path.write_text(text)
    bench.slot.set_mode(Mode.COUNT, CostModel.TIME)
    done = bench.run(sys.executable, "-I", "-S", "-c", LAUNCHING + "launch(2)", GATE_TIMES=str(path))
    assert done.stderr.endswith("kernels are charged the default\n")
    assert done.stderr.count("\n") == 1
    assert bench.slot.read("spent") == DEFAULT_KERNEL_NS


def test_more_kernels_than_the_table_holds(bench: Bench) -> None:
    """A table that is full makes kernels unknown, and nothing worse."""
    bench.slot.set_mode(Mode.COUNT, CostModel.TIME)
    bench.launch("for blocks in range(1, 6001): launch(blocks)")
    assert bench.slot.read("spent") == 6000 * DEFAULT_KERNEL_NS


def test_times_that_cannot_be_written(gate_library: Path, tmp_path: Path) -> None:
    """Saving into a folder that is not there is one error."""
    with pytest.raises(GateError, match="cannot be written"):
        save_times(gate_library, tmp_path / "nowhere" / "times.txt")
    assert save_times(gate_library, tmp_path / "none.txt") == 0
