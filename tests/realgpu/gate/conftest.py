from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from preloaded import Bench, compiled

from realgpu.gate import GateFile, build_gate


@pytest.fixture(scope="session")
def compiler() -> str:
    """The C compiler of this host."""
    for name in filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")):
        if shutil.which(name.split()[0]):
            return name
    pytest.skip("no C compiler: set CC, or install gcc")


@pytest.fixture(scope="session")
def gate_library(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gate, compiled."""
    return build_gate(tmp_path_factory.mktemp("gate"), compiler)


@pytest.fixture(scope="session")
def driver_folder(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fake libcuda.so.1 in it."""
    folder = tmp_path_factory.mktemp("driver")
    compiled(
        compiler, "fake_driver.c", folder / "libcuda.so.1", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"
    )
    return folder


@pytest.fixture
def gate_file() -> Iterator[GateFile]:
    """A file of two slots that no controller has to keep alive."""
    with GateFile.create(2) as file:
        file.unsupervised()
        yield file


@pytest.fixture
def bench(gate_library: Path, driver_folder: Path, gate_file: GateFile) -> Bench:
    """Programs under the gate, on the fake driver, charged to slot 0."""
    return Bench(gate_library, driver_folder, gate_file)
