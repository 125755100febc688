from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realgpu.gate import GateError, GateFile, remove_stale
from realgpu.gate.layout import HEADER, OPEN, SLOT, SLOT_BYTES, file_bytes

ROOT = Path(__file__).parents[3]
CREATING = """
import sys, time
from pathlib import Path
from realgpu.gate import GateFile
file = GateFile.create(1, folder=Path(sys.argv[1]))
print(file.path, flush=True)
if sys.argv[2] == "wait":
    time.sleep(60)
if sys.argv[2] == "fail":
    raise SystemExit(3)
"""


def test_a_file_is_private_and_goes_with_its_creator(tmp_path: Path) -> None:
    """It carries the creator's pid, only its user may open it, and it is gone after the with block."""
    with GateFile.create(3, folder=tmp_path) as file:
        assert f"-{os.getpid()}-" in file.path.name
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
        assert file.path.stat().st_size == file_bytes(3)
        assert len(file.slots) == 3
        assert file.note is None
    assert list(tmp_path.iterdir()) == []
    file.close()


def test_a_failing_block_leaves_nothing(tmp_path: Path) -> None:
    """An error inside the with block unlinks as well."""
    with pytest.raises(RuntimeError), GateFile.create(1, folder=tmp_path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["end", "fail"])
def test_a_process_that_forgets_to_close_leaves_nothing(tmp_path: Path, ending: str) -> None:
    """The file goes when the interpreter ends, however it ends by itself."""
    command = [sys.executable, "-c", CREATING, str(tmp_path), ending]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == (3 if ending == "fail" else 0)
    assert done.stdout.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_does_not_unlink(tmp_path: Path) -> None:
    """A child that closes its copy leaves the file to its parent."""
    with GateFile.create(1, folder=tmp_path) as file:
        child = os.fork()
        if child == 0:
            file.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert file.path.exists()


def test_files_of_killed_processes_are_found(tmp_path: Path) -> None:
    """What a killed process left is removed, even if its id is in use again; what lives stays."""
    command = [sys.executable, "-c", CREATING, str(tmp_path), "wait"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        other = tmp_path / "dilu-gate-notes"
        other.touch()
        with GateFile.create(1, folder=tmp_path) as alive:
            assert remove_stale(tmp_path) == ()
            process.send_signal(signal.SIGKILL)
            process.wait()
            reused = tmp_path / f"dilu-gate-{os.getpid()}-0"
            reused.write_bytes(left.read_bytes())  # our pid, but created by a process that started before us
            assert set(remove_stale(tmp_path)) == {left, reused}
            assert set(tmp_path.iterdir()) == {other, alive.path}


def test_both_sides_see_one_memory(tmp_path: Path) -> None:
    """What one mapping stores the other one reads, each slot for itself."""
    with GateFile.create(2, folder=tmp_path) as mine, GateFile.attach(mine.path) as theirs:
        mine.slots[1].set_rate(1234.4, 10)
        mine.beat(77)
        theirs.slots[1].write("queue_length", 5)
        mine.announce()
        assert theirs.slots[1].read("rate") == 1234
        assert mine.slots[1].read("queue_length") == 5
        assert mine.slots[0].read("queue_length") == 0
        assert (theirs.read("heartbeat_ns"), theirs.read("epoch")) == (77, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_new_slot_is_off_and_open(gate_file: GateFile) -> None:
    """Nothing is held up before somebody says so."""
    slot = gate_file.slots[0]
    assert (slot.read("mode"), slot.read("rate"), slot.tokens) == (0, OPEN, 0)


@given(value=st.integers(0, 2**64 - 1), position=st.integers(0, len(SLOT) - 1))
def test_any_number_of_64_bits_is_kept(value: int, position: int) -> None:
    """Every field that is not the gate's holds every number, and no store touches another field."""
    with GateFile.create(1) as file:
        slot, field = file.slots[0], SLOT[position]
        before = [slot.read(each.name) for each in SLOT]
        if field.writer == "gate":
            with pytest.raises(GateError, match="only the gate"):
                slot.write(field.name, value)
        else:
            slot.write(field.name, value)
            before[position] = value
        assert [slot.read(each.name) for each in SLOT] == before


@pytest.mark.parametrize("value", [-1, 2**64])
def test_numbers_that_do_not_fit_are_refused(gate_file: GateFile, value: int) -> None:
    """A number beyond 64 bits is an error, not a wrong number."""
    with pytest.raises(GateError, match=r"burst: found .*, allowed are 0 to 2\^64 - 1"):
        gate_file.slots[0].write("burst", value)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 2.0**63])
def test_rates_that_make_no_sense_are_refused(gate_file: GateFile, value: float) -> None:
    """A rate or a burst is a finite number that is not negative, and nothing is stored otherwise."""
    for rate, burst in ((value, 1.0), (1.0, value)):
        with pytest.raises(GateError, match="allowed are 0 up to"):
            gate_file.slots[0].set_rate(rate, burst)
    assert gate_file.slots[0].read("rate") == OPEN


def test_unknown_fields_are_named(gate_file: GateFile) -> None:
    """A field that is not there is an error that lists the ones that are."""
    with pytest.raises(GateError, match="found no field 'speed', allowed are rate, burst"):
        gate_file.slots[0].read("speed")
    with pytest.raises(GateError, match="found no field 'rate', allowed are magic"):
        gate_file.read("rate")


def test_only_gate_files_are_attached(tmp_path: Path) -> None:
    """What is missing, short, foreign, of another version or cut off is refused in one line."""
    with GateFile.create(2, folder=tmp_path) as file:
        whole = file.path.read_bytes()
    version = next(field.offset for field in HEADER if field.name == "abi_version")
    path = tmp_path / "file"
    for content, said in (
        (b"", "is not a gate file"),
        (whole[:65], "is not a gate file"),
        (bytes(len(whole)), "does not begin with DILUGATE"),
        (whole[:version] + b"\7" + whole[version + 1 :], "is of version 7"),
        (whole[:-SLOT_BYTES], "too few for the 2 slots"),
    ):
        path.write_bytes(content)
        with pytest.raises(GateError, match=said) as caught:
            GateFile.attach(path)
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(GateError, match="No such file"):
        GateFile.attach(path)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Without any place for the file there is one error that names the folder."""
    with pytest.raises(GateError, match="nowhere: No such file"):
        GateFile.create(1, folder=tmp_path / "nowhere")
    with pytest.raises(GateError, match="slots: found 0"):
        GateFile.create(0)


def test_another_folder_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /dev/shm cannot be written the file lies among temporary files, and says so."""
    monkeypatch.setattr("realgpu.gate.shared.SHARED_MEMORY", tmp_path / "no-shm")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with GateFile.create(1) as file:
        assert file.path.parent == tmp_path
        assert file.note is not None
        assert "no-shm: No such file" in file.note


def test_nothing_stays_open(tmp_path: Path) -> None:
    """Creating, attaching and failing to attach leave no descriptor behind."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        with GateFile.create(1, folder=tmp_path) as file, GateFile.attach(file.path) as other:
            other.beat(time.monotonic_ns())
        (tmp_path / "bad").write_bytes(bytes(1024))
        with pytest.raises(GateError):
            GateFile.attach(tmp_path / "bad")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
