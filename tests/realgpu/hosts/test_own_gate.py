"""A worker reads its gate's counters, and takes turns with the others on its GPU."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from realgpu.errors import RealGpuError
from realgpu.gate import GateFile, Mode, PythonGate
from realgpu.workers.backends.own_gate import OwnGate


@pytest.fixture
def file() -> Iterator[GateFile]:
    """A file of three slots."""
    with GateFile.create(3) as file:
        yield file


def test_it_reads_what_was_charged_to_its_slot(file: GateFile) -> None:
    """And to no other."""
    gate = OwnGate.of({"GATE_FILE": str(file.path), "GATE_SLOT": "1"})
    assert gate is not None
    for row in (0, 1):
        file.slots[row].set_mode(Mode.COUNT)
        with PythonGate(file.path, row) as charging:
            charging.charge(7 + row)
            charging.charge(7)
    assert gate.charged() == (15, 2)


def test_an_environment_that_names_none_is_no_gate() -> None:
    """The worker runs ungated, and measures nothing."""
    assert OwnGate.of({"GATE_SLOT": "1"}) is None


@pytest.mark.parametrize("slot", ["", "-1", "1x", "3", "\u0663"])
def test_a_slot_that_is_none_is_said(file: GateFile, slot: str) -> None:
    """With what is allowed."""
    with pytest.raises(RealGpuError, match="GATE_SLOT: found"):
        OwnGate.of({"GATE_FILE": str(file.path), "GATE_SLOT": slot})


WAITING = """
import sys
from pathlib import Path
from realgpu.workers.backends.own_gate import OwnGate
with OwnGate(Path(sys.argv[1]), 1).turn(int(sys.argv[2])):
    open(sys.argv[1]).close()
    print("turn", flush=True)
    sys.stdin.read()
"""


def waiting(file: GateFile, gpu: int) -> subprocess.Popen[str]:
    """Another process that wants its turn."""
    command = [sys.executable, "-c", WAITING, str(file.path), str(gpu)]
    root = Path(__file__).parents[3]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)


def test_one_at_a_time_has_its_turn_on_a_gpu(file: GateFile) -> None:
    """Another GPU is free; the turn outlives that its process opens and closes the file, and goes
    with a kill.
    """
    heard: list[str] = []
    with waiting(file, 0) as first, waiting(file, 1) as elsewhere:
        assert first.stdout is not None
        assert first.stdout.readline() == "turn\n"
        assert elsewhere.stdout is not None
        assert elsewhere.stdout.readline() == "turn\n"

        def take() -> None:
            with OwnGate(file.path, 2).turn(0):
                heard.append("turn")

        thread = threading.Thread(target=take)
        thread.start()
        thread.join(0.3)
        assert heard == []
        first.kill()
        thread.join(30)
        assert heard == ["turn"]
        elsewhere.communicate("")
