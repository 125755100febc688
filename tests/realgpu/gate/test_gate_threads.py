from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest
from preloaded import GATE_SOURCES, Bench, compiled

from realgpu.gate import CostModel, GateFile, Mode, NativeGate, gate_environment

THREADS, LAUNCHES = 4, 3_000


def test_no_launch_is_lost_between_threads(gate_file: GateFile, gate_library: Path) -> None:
    """Threads that charge one slot at once lose no launch and no cost."""
    slot = gate_file.slots[0]
    slot.set_rate(1_000_000, 1_000)
    slot.set_mode(Mode.ENFORCE)
    with NativeGate(gate_library, gate_file.path, 0) as gate:
        threads = [
            threading.Thread(target=lambda: [gate.charge(3) for _ in range(LAUNCHES)]) for _ in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert slot.read("launches") == THREADS * LAUNCHES
    assert slot.read("spent") == 3 * THREADS * LAUNCHES
    assert slot.read("deadline_opens") == slot.read("stale_opens") == 0
    assert -3 * THREADS < slot.tokens <= 1_000


def test_a_forked_child_charges_the_same_slot(bench: Bench) -> None:
    """A child that was forked, before or after the first launch, spends what its parent may spend."""
    bench.slot.set_mode(Mode.COUNT)
    script = """
    def fork():
        child = os.fork()
        if child == 0:
            launch(10)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    fork()
    launch(1)
    fork()
    print(os.getpid())
    """
    bench.launch(script)
    assert (bench.slot.read("launches"), bench.slot.read("spent")) == (3, 21)
    assert bench.slot.read("pid") != 0


def test_a_worker_that_dies_waiting_leaves_a_slot_that_works(bench: Bench, gate_library: Path) -> None:
    """Killed in the middle of a wait, a worker holds nothing that the next one needs."""
    bench.slot.set_rate(0, 0)
    bench.slot.write("deadline_ns", 60 * 10**9)
    bench.slot.set_mode(Mode.ENFORCE)
    script = """
    child = os.fork()
    if child == 0:
        launch(1)
        os._exit(0)
    time.sleep(0.2)
    os.kill(child, 9)
    os.waitpid(child, 0)
    """
    bench.launch(script)
    assert bench.slot.read("blocked") == 1
    bench.slot.set_rate(1e6, 100)
    with NativeGate(gate_library, bench.file.path, 0) as gate:
        gate.charge(1)
    assert bench.slot.read("launches") == 2
    assert bench.slot.read("deadline_opens") == 0


@pytest.fixture(scope="module")
def watched(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A program of several threads and a gate, both built for ThreadSanitizer."""
    folder = tmp_path_factory.mktemp("watched")
    flags = ("-fsanitize=thread", "-shared", "-fPIC")
    try:
        driver = compiled(
            compiler, "fake_driver.c", folder / "libcuda.so.1", *flags, "-Wl,-soname,libcuda.so.1"
        )
        # The sanitizer would call its dlsym before it is ready for that; the program is linked instead.
        gate = compiled(compiler, "gate.c", folder / "libgate.so", *flags, "-Ddlsym=unused_dlsym")
        program = compiled(
            compiler, "threads.c", folder / "threads", "-fsanitize=thread", str(gate), str(driver)
        )
    except AssertionError as error:
        pytest.skip(f"no ThreadSanitizer here: {error}")
    environment = {"LD_LIBRARY_PATH": str(folder), "PATH": "/usr/bin:/bin"}
    if subprocess.run([program, "1", "1"], env=environment, capture_output=True, check=False).returncode != 0:
        pytest.skip("ThreadSanitizer does not run here")
    return program, folder


@pytest.mark.parametrize(
    ("mode", "model"),
    [(Mode.ENFORCE, CostModel.BLOCKS), (Mode.CALIBRATE, CostModel.TIME), (Mode.ENFORCE, CostModel.TIME)],
)
def test_the_thread_sanitizer_finds_nothing(
    watched: tuple[Path, Path], gate_file: GateFile, tmp_path: Path, mode: Mode, model: CostModel
) -> None:
    """Threads that launch at once, while rates change, race nowhere in the gate."""
    program, folder = watched
    times = tmp_path / "times.txt"
    times.write_text("dilu-gate-times 1\ndefault 500\n700 1 1 1 a\n900 2 1 1 b\n")
    slot = gate_file.slots[0]
    slot.set_rate(2e6, 2_000)
    slot.set_mode(mode, model)
    environment = gate_environment(
        folder / "libgate.so", gate_file.path, 0, times=times, inflight=(8, 4), base={}
    )
    del environment["LD_PRELOAD"]  # it is linked to the program, before the driver
    environment |= {"LD_LIBRARY_PATH": str(folder), "TSAN_OPTIONS": "exitcode=66"}
    with subprocess.Popen(
        [program, str(THREADS), "1000"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for change in range(2_000):
            if process.poll() is not None:
                break
            slot.set_rate(2e6 + change, 2_000)
            gate_file.announce()
            time.sleep(0.005)
        printed, said = process.communicate(timeout=60)
    assert "WARNING: ThreadSanitizer" not in said
    assert (process.returncode, printed, said) == (0, str(THREADS * 1000), "")
    assert slot.read("launches") == THREADS * 1000


def test_the_sources_take_no_lock() -> None:
    """No mutex, no condition variable, no once: a fork or a kill at any point leaves nothing locked."""
    for source in sorted(GATE_SOURCES.glob("*.[ch]")):
        text = source.read_text()
        for word in ("pthread_mutex", "pthread_cond", "pthread_once", "call_once", "flock("):
            assert word not in text
