"""A fake driver and a fake MPS on the path, and nothing left of anything afterwards."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "mps"))
sys.path.append(str(Path(__file__).parents[1] / "sampling"))

from fake_host import FakeHost, leftovers
from fake_mps import TOKEN, FakeMps, marked_pids, open_files, wait_until_gone


@pytest.fixture(scope="session")
def compiler() -> str:
    """The C compiler of this host."""
    for name in filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")):
        if shutil.which(name.split()[0]):
            return name
    pytest.skip("no C compiler: set CC, or install gcc")


@pytest.fixture(scope="session")
def drivers(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with a fake libcuda.so.1 each: a whole one, and one from before green contexts."""
    source = Path(__file__).with_name("fake_cuda.c")
    folders = {}
    for name, option in {"whole": "-DWHOLE", "old": "-DWITHOUT_GREEN"}.items():
        folders[name] = folder = tmp_path_factory.mktemp(name)
        target = str(folder / "libcuda.so.1")
        call = [*shlex.split(compiler), "-O2", "-std=c11", "-shared", "-fPIC", option, "-o", target]
        subprocess.run([*call, "-Wl,-soname,libcuda.so.1", str(source)], check=True)
    return folders


@pytest.fixture
def bare_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHost]:
    """A host without a driver; of what is started there, nothing may be left."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(TOKEN, mark)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for name in [name for name in os.environ if name.startswith(("CUDA_", "FAKE_", "GATE_"))]:
        monkeypatch.delenv(name)
    descriptors, files = open_files(), leftovers()
    try:
        yield FakeHost(tmp_path)
        assert wait_until_gone(mark) == []
        assert open_files() <= descriptors
        assert leftovers() == files
    finally:
        for pid in marked_pids(mark):
            os.kill(pid, 9)


@pytest.fixture(scope="session")
def gate_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the gate is compiled once for all tests."""
    return tmp_path_factory.mktemp("gate-cache")


@pytest.fixture
def host(
    bare_host: FakeHost, drivers: dict[str, Path], gate_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeHost]:
    """A host with a fake driver and a fake MPS."""
    base = Path("/tmp") / f"dc-{uuid.uuid4().hex[:8]}"
    folder = base / "bin"
    folder.mkdir(parents=True)
    FakeMps(folder, base)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_MPS", str(folder))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(drivers["whole"]))
    monkeypatch.setenv("DILU_GATE_CACHE", str(gate_cache))
    try:
        yield bare_host
    finally:
        shutil.rmtree(base, ignore_errors=True)
