"""NVIDIA's assembler takes the PTX, and the driver's structures are as its header has them."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from realgpu.checks.driver import CudaDriver, DriverError, NoDriverError, need_driver
from realgpu.checks.green import Resource
from realgpu.checks.kernels import FLOPS_A_ROUND, PTX

INCLUDE = Path("/usr/local/cuda/include")


@pytest.mark.parametrize("target", ["sm_80", "sm_90", "sm_100"])
def test_the_assembler_takes_the_kernels(tmp_path: Path, target: str) -> None:
    """For the oldest device that it is written for, for Hopper, and for a later one."""
    assembler = shutil.which("ptxas")
    if assembler is None:
        pytest.skip("no ptxas: it comes with the CUDA toolkit")
    source = tmp_path / "kernels.ptx"
    source.write_text(PTX)
    call = [assembler, f"-arch={target}", "-v", str(source), "-o", str(tmp_path / "kernels.cubin")]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("0 bytes spill stores, 0 bytes spill loads") == 3


def test_a_round_has_the_operations_that_it_is_counted_for() -> None:
    """Each fused multiply-add is two of them."""
    assert 2 * PTX.count("fma.rn.f32") == FLOPS_A_ROUND


def test_kernels_have_the_parameters_that_they_are_given() -> None:
    """Names, order and width of each."""
    for declared in (
        ".visible .entry sm_ids(.param .u64 counts, .param .u64 cycles)",
        ".visible .entry multiply_add(.param .u64 out, .param .u32 rounds)",
        ".visible .entry copy(.param .u64 to, .param .u64 from, .param .u32 vectors)",
    ):
        assert declared in PTX


def test_a_resource_has_the_layout_of_the_header(tmp_path: Path) -> None:
    """`CUdevResource` of cuda.h: its size, and where counts of SMs stand."""
    assert ctypes.sizeof(Resource) == 144
    places = [getattr(Resource, name).offset for name in ("type", "sm_count", "least_sms", "multiple_of_sms")]
    assert places == [0, 96, 100, 104]
    header = next(
        (path for path in (INCLUDE, *Path("/usr/local").glob("cuda-*/include")) if path.is_dir()), None
    )
    compiler = shutil.which("cc")
    if header is None or compiler is None:
        pytest.skip("no cuda.h to compare with: it comes with the CUDA toolkit")
    source = tmp_path / "layout.c"
    source.write_text(
        "#include <cuda.h>\n#include <stddef.h>\n#include <stdio.h>\n"
        'int main(void) { printf("%zu %zu %zu %zu %zu\\n", sizeof(CUdevResource),\n'
        "offsetof(CUdevResource, type), offsetof(CUdevResource, sm.smCount),\n"
        "offsetof(CUdevResource, sm.minSmPartitionSize),\n"
        "offsetof(CUdevResource, sm.smCoscheduledAlignment));\n"
        "return 0; }\n"
    )
    program = tmp_path / "layout"
    subprocess.run([compiler, f"-I{header}", "-o", str(program), str(source)], check=True)
    printed = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    assert [int(word) for word in printed.split()] == [144, *places]


def test_a_driver_that_is_not_there_is_told() -> None:
    """The line has the loader's own words."""
    with pytest.raises(NoDriverError, match=r"no NVIDIA driver \(libnothing.so.1: cannot open"):
        need_driver("libnothing.so.1")
    with pytest.raises(NoDriverError):
        CudaDriver("libnothing.so.1")


def test_errors_of_the_driver_have_number_and_name(
    drivers: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that fails, one that is missing, and one that does not initialise."""
    library = str(drivers["old"] / "libcuda.so.1")
    driver = CudaDriver(library)
    with pytest.raises(DriverError, match="cuDeviceGet: 101") as raised:
        driver.call("cuDeviceGet", ctypes.byref(ctypes.c_int()), 7)
    assert raised.value.code == 101
    with pytest.raises(DriverError, match="cuGreenCtxCreate: -1 the driver has no such function"):
        driver.call("cuGreenCtxCreate")
    monkeypatch.setenv("FAKE_CUDA_INIT", "100")
    with pytest.raises(NoDriverError, match="100 CUDA_ERROR_NO_DEVICE"):
        CudaDriver(library)
    monkeypatch.setenv("FAKE_CUDA_INIT", "807")
    with pytest.raises(DriverError, match="cuInit: 807"):
        CudaDriver(library)
