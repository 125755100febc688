"""Compile the C sources of these tests, and run programs under the gate."""

from __future__ import annotations

import shlex
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from realgpu.gate import GateFile, Slot, gate_environment

HERE = Path(__file__).parent
GATE_SOURCES = HERE.parents[2] / "realgpu" / "gate"

LAUNCHING = """
import ctypes, os, threading, time
cuda = ctypes.CDLL("libcuda.so.1")
cuda.fake_value.restype = cuda.fake_calls.restype = ctypes.c_uint64
kept = {}
def launch(blocks=1, stream=0, name=b"kernel"):
    handle = kept.setdefault(name, ctypes.c_char_p(name))
    return cuda.cuLaunchKernel(handle, blocks, 1, 1, 1, 1, 1, 0, ctypes.c_void_p(stream), None, None)
"""
"""Python finds the driver's functions by dlsym, as Triton's launcher does."""


def compiled(compiler: str, source: str, target: Path, *options: str) -> Path:
    """Compile one of these sources."""
    path = GATE_SOURCES / source if source == "gate.c" else HERE / source
    include = f"-I{GATE_SOURCES}"
    call = [
        *shlex.split(compiler),
        "-O2",
        "-g",
        "-std=c11",
        "-pthread",
        include,
        "-o",
        str(target),
        str(path),
    ]
    done = subprocess.run([*call, *options, "-ldl"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@dataclass(frozen=True)
class Bench:
    """Programs under the gate, on the fake driver, charged to slot 0 of a file."""

    shim: Path
    driver: Path
    file: GateFile

    @property
    def slot(self) -> Slot:
        """The slot that is charged."""
        return self.file.slots[0]

    def environment(self, **extra: str) -> dict[str, str]:
        """What a program gets."""
        base = {
            "PATH": "/usr/bin:/bin",
            "LD_LIBRARY_PATH": str(self.driver),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return gate_environment(self.shim, self.file.path, 0, base=base) | extra

    def run(self, *command: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        environment = self.environment(**extra)
        return subprocess.run(
            list(map(str, command)), env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def launch(self, script: str, **extra: str) -> str:
        """Run Python lines that launch, and return what they print."""
        done = self.run(sys.executable, "-I", "-S", "-c", LAUNCHING + textwrap.dedent(script), **extra)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.strip()
