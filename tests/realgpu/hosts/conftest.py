"""A host that poses as one with a GPU, and nothing of it left after any test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

for folder in ("", "mps", "sampling"):  # what poses as MPS and NVML is told to pose here as well
    sys.path.append(str(Path(__file__).parents[1] / folder))

from fake_mps import TOKEN, FakeMps, marked_pids, open_files, wait_until_gone  # noqa: E402
from posed_host import NS_PER_BLOCK, PosedNvml  # noqa: E402


@pytest.fixture(scope="session")
def driver_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fake libcuda.so.1 in it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the fake driver")
    folder = tmp_path_factory.mktemp("gpu-driver")
    source, target = Path(__file__).with_name("fake_gpu.c"), folder / "libcuda.so.1"
    options = ["-O2", "-shared", "-fPIC", "-pthread", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([compiler, *options, "-o", target, source], check=True)
    return folder


@pytest.fixture(scope="session")
def gate_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the gate is kept once it is compiled."""
    return tmp_path_factory.mktemp("gate-cache")


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> PosedNvml:
    """NVML, posed."""
    posed = PosedNvml()
    monkeypatch.setitem(sys.modules, "pynvml", posed)
    return posed


@pytest.fixture
def gpu(
    monkeypatch: pytest.MonkeyPatch, driver_folder: Path, gate_cache: Path, nvml: PosedNvml
) -> Iterator[str]:
    """A GPU without MPS; afterwards no process, file or descriptor of the test is left. Gives the mark."""
    mark = uuid.uuid4().hex
    for name in [name for name in os.environ if name.startswith(("CUDA_", "FAKE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(TOKEN, mark)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(driver_folder))
    monkeypatch.setenv("DILU_GATE_CACHE", str(gate_cache))
    monkeypatch.setenv("FAKE_NS_PER_BLOCK", str(NS_PER_BLOCK))
    monkeypatch.setenv("FAKE_CUDA_MPS", "0")
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    before, files = open_files(), shared_files()
    try:
        yield mark
        assert wait_until_gone(mark) == []
        assert open_files() <= before
        assert shared_files() <= files
        assert nvml.started == 0
    finally:
        for pid in marked_pids(mark):
            os.kill(pid, 9)


@pytest.fixture
def fake_mps(gpu: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMps]:
    """MPS on that GPU."""
    base = Path("/tmp") / f"dt-{gpu[:8]}"
    folder, work = base / "bin", base / "w"
    folder.mkdir(parents=True)
    work.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_CUDA_MPS", "1")
    monkeypatch.setattr("tempfile.tempdir", str(work))
    try:
        yield FakeMps(folder, work)
        assert list(work.iterdir()) == []
    finally:
        shutil.rmtree(base, ignore_errors=True)


def shared_files() -> set[Path]:
    """Files in shared memory that are this process's."""
    return {path for path in Path("/dev/shm").glob("dilu-*") if f"-{os.getpid()}-" in path.name}
