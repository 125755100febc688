"""The driver is asked in a process of its own, and whatever is wrong with it is said in a line."""

from __future__ import annotations

from pathlib import Path

import pytest
from posed_host import UUID

from realgpu.errors import RealGpuError
from realgpu.hosts import gpus
from realgpu.hosts.gpus import Gpu, find_gpus


def test_the_driver_tells_its_gpus(gpu: str) -> None:
    """With the UUID as CUDA and NVML write it."""
    assert find_gpus() == (Gpu(UUID, "NVIDIA H100 80GB HBM3", 132, 80 << 30),)


def test_without_a_driver_it_is_one_line(gpu: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That names the library, and what to do."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a driver")
    with pytest.raises(
        RealGpuError, match=r"^backend cuda: no NVIDIA driver \(libcuda.*choose the backend cpu or virtual$"
    ):
        find_gpus()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FAKE_CUDA_INIT", "101", r"finds no GPU to use \(cuInit: 101 CUDA_ERROR_INVALID_DEVICE\)"),
        ("FAKE_CUDA_INIT", "999", r"finds no GPU to use \(cuInit: 999\)"),
        ("FAKE_CUDA_GPUS", "0", "the driver lists no GPU"),
        ("FAKE_CUDA_GPUS", "2", r"\(cuDeviceGet: 101 CUDA_ERROR_INVALID_DEVICE\)"),
        ("FAKE_CUDA_GPUS", "-1", r"asking the driver ended with -6 \(it said nothing\)"),
    ],
)
def test_a_driver_that_cannot_is_one_line(
    gpu: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    """Whatever it says, and though it takes its process along."""
    monkeypatch.setenv(name, value)
    with pytest.raises(RealGpuError, match=message):
        find_gpus()


def test_a_driver_that_is_too_old_is_one_line(
    gpu: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A library without a function that is asked for, here none at all."""
    libc = next(Path(name) for name in _mapped() if "libc.so" in name or "libc-" in name)
    (tmp_path / "libcuda.so.1").symlink_to(libc)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    with pytest.raises(RealGpuError, match="the driver has no cuInit, it is too old"):
        find_gpus()


def test_a_driver_that_does_not_answer_is_one_line(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is not waited for longer."""
    monkeypatch.setattr(gpus, "ANSWER_WITHIN_S", 0.001)
    with pytest.raises(RealGpuError, match=r"does not answer within 0\.001 s"):
        find_gpus()


def _mapped() -> list[str]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sorted({line.split(maxsplit=5)[5] for line in lines if line.count("/")})
