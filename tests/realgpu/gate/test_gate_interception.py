from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from preloaded import Bench, compiled

from realgpu.gate import CostModel, GateState, Mode

ONE_OF_EACH = "1 1 1 1 1 1 1 1"
BLOCKS_OF_EACH = 6 * 2 * 3 * 4 + 2  # three kernels on two kinds of stream, and two graphs of cost 1


@pytest.fixture(scope="module")
def clients(compiler: str, driver_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Programs that find the driver in every way that CUDA libraries do."""
    folder = tmp_path_factory.mktemp("clients")
    here = Path(__file__).parent
    runtime = compiled(compiler, "lookups.c", driver_folder / "libfakert.so", "-shared", "-fPIC")
    linked = [f"-L{driver_folder}", "-l:libcuda.so.1"]
    return {
        "static": compiled(compiler, "client.c", folder / "static", str(here / "lookups.c")),
        "shared": compiled(compiler, "client.c", folder / "shared", str(runtime)),
        "direct": compiled(
            compiler, "client.c", folder / "direct", "-DDIRECT", str(here / "lookups.c"), *linked
        ),
    }


@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("static", "once"),
        ("static", "again"),
        ("static", "old"),
        ("static", "names"),
        ("shared", "once"),
        ("shared", "again"),
        ("direct", "direct"),
        ("direct", "again"),
    ],
)
def test_every_launch_is_caught(bench: Bench, clients: dict[str, Path], program: str, how: str) -> None:
    """However a library finds the driver, each launch is counted once and reaches it once."""
    bench.slot.set_mode(Mode.COUNT)
    done = bench.run(clients[program], how)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, ONE_OF_EACH, "")
    assert bench.slot.read("launches") == 8
    assert bench.slot.read("graph_launches") == 2
    assert bench.slot.read("spent") == BLOCKS_OF_EACH
    assert bench.slot.tokens == 0
    looked_up = how in {"once", "again", "old"}
    assert bench.slot.read("state") == (GateState.DRIVER_SEEN if looked_up else GateState.MAPPED)


def test_a_gate_that_is_off_counts_nothing(bench: Bench, clients: dict[str, Path]) -> None:
    """Switched off it passes everything on and leaves no trace but that it is there."""
    assert bench.run(clients["static"], "once").stdout.strip() == ONE_OF_EACH
    assert bench.slot.read("launches") == bench.slot.read("spent") == 0


def test_launches_may_cost_one_each(bench: Bench, clients: dict[str, Path]) -> None:
    """Under the cost model of launches a grid does not matter."""
    bench.slot.set_mode(Mode.COUNT, CostModel.LAUNCHES)
    bench.run(clients["static"], "once")
    assert bench.slot.read("spent") == 8


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"GATE_FILE": "/nowhere/gate"}, "GATE_FILE=/nowhere/gate No such file"),
        ({"GATE_FILE": "/etc/hostname"}, "is not a gate file"),
        ({"GATE_SLOT": "7"}, "has no such slot"),
        ({"GATE_SLOT": "-1"}, "needs a number in GATE_SLOT"),
        ({"GATE_SLOT": ""}, "needs a number in GATE_SLOT"),
        ({"GATE_TIMES": "/nowhere/times"}, "kernels are charged the default"),
        ({"GATE_INFLIGHT": "4"}, "launches in flight are not bounded"),
        ({"GATE_INFLIGHT": "4,65"}, "launches in flight are not bounded"),
    ],
)
def test_a_wrong_environment_is_said_once_and_harms_nobody(
    bench: Bench, clients: dict[str, Path], changes: dict[str, str], said: str
) -> None:
    """What cannot be followed is one line on standard error, and every launch passes."""
    bench.slot.set_mode(Mode.COUNT)
    done = bench.run(clients["static"], "once", **changes)
    assert (done.returncode, done.stdout.strip()) == (0, ONE_OF_EACH)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    ungated = "launches pass ungated" in done.stderr
    assert bench.slot.read("launches") == (0 if ungated else 8)


def test_without_a_file_all_is_passed_through(bench: Bench, clients: dict[str, Path]) -> None:
    """A process that inherits the preload but no file is left alone, silently."""
    environment = bench.environment()
    del environment["GATE_FILE"]
    done = subprocess.run(
        [clients["static"], "once"], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), done.stderr) == (ONE_OF_EACH, "")


def test_other_look_ups_are_undisturbed(bench: Bench, compiler: str, tmp_path: Path) -> None:
    """RTLD_NEXT from another library finds what follows that library, as it does without the gate."""
    first = compiled(compiler, "next_one.c", tmp_path / "first.so", "-shared", "-fPIC")
    source = tmp_path / "second.c"
    source.write_text("int answer(void) { return 2; }\n")
    second = tmp_path / "second.so"
    subprocess.run([*compiler.split(), "-shared", "-fPIC", "-o", second, source], check=True)
    script = "import ctypes; print(ctypes.CDLL(None).next_answer())"
    for gates in ([], [str(bench.shim)]):
        for libraries in ([*gates, str(first), str(second)], [str(first), *gates, str(second)]):
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", script],
                env={"LD_PRELOAD": ":".join(libraries)},
                capture_output=True,
                text=True,
                check=True,
            )
            assert done.stdout.strip() == "2"


def test_names_that_the_driver_lacks_stay_missing(bench: Bench) -> None:
    """A look-up that fails without the gate fails with it, and other functions are the driver's own."""
    script = """
    found, status = ctypes.c_void_p(), ctypes.c_int()
    def find(name, version):
        return cuda.cuGetProcAddress_v2(name, ctypes.byref(found), version, 0, ctypes.byref(status))
    print(find(b"cuNothing", 12000), found.value, find(b"cuLaunchKernelEx", 9000))
    print(hasattr(cuda, "cuLaunchKernelSomehow"))
    print(find(b"cuMemAlloc", 12000))
    print(found.value == ctypes.cast(cuda.cuMemAlloc_v2, ctypes.c_void_p).value)
    """
    assert bench.launch(script).split() == ["500", "None", "500", "False", "0", "True"]


def test_the_look_up_itself_comes_in_two_forms(bench: Bench) -> None:
    """Before CUDA 12 cuGetProcAddress takes four arguments, since then five: both forms are ours."""
    script = """
    found, me = ctypes.c_void_p(), ctypes.CDLL(None)
    for version, name in ((11030, "cuGetProcAddress"), (12000, "cuGetProcAddress_v2")):
        assert cuda.cuGetProcAddress_v2(b"cuGetProcAddress", ctypes.byref(found), version, 0, None) == 0
        print(found.value == ctypes.cast(getattr(me, name), ctypes.c_void_p).value)
    """
    assert bench.launch(script).split() == ["True", "True"]


def test_without_a_driver_the_exported_names_say_so(bench: Bench) -> None:
    """Who calls an exported launch though no driver is loaded gets CUDA_ERROR_NOT_INITIALIZED."""
    script = "\n".join(
        [
            "import ctypes",
            "me = ctypes.CDLL(None)",
            "print(me.cuLaunchKernel(None, 1, 1, 1, 1, 1, 1, 0, None, None, None))",
            "print(me.cuGetProcAddress_v2(b'', None, 0, 0, None))",
        ]
    )
    done = bench.run(sys.executable, "-I", "-S", "-c", script)
    assert done.stdout.split() == ["3", "3"]


def test_torch_can_be_imported_under_the_gate(bench: Bench) -> None:
    """Nothing that torch loads is put out by the wrapped look-ups."""
    pytest.importorskip("torch", reason="torch is not installed")
    done = subprocess.run(
        [sys.executable, "-c", "import torch; print(int(torch.ones(3).sum()))"],
        env={**os.environ, "LD_PRELOAD": str(bench.shim)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "3"
