"""A worker with the backend for GPUs, whose torch and whose model are posed: kernels go to the fake driver.

Everything else is the real thing: the gate that is preloaded, its counters, the measure, the evidence of MPS.
A batch, and a step, is `LAUNCHES` kernels; an MPS percentage makes them slower. The environment's POSE names
what it does wrong.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

LAUNCHES, BLOCKS = 20, 50
SMS = 2 * int(66 * float(os.environ.get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "100")) / 100)
"""What the percentage leaves of 132 SMs, in pairs as the hardware has them."""

os.environ["FAKE_NS_PER_BLOCK"] = str(int(os.environ["FAKE_NS_PER_BLOCK"]) * 132 // SMS)
POSE = os.environ.get("POSE", "")

cuda = ctypes.CDLL("libcuda.so.1")
kernel = ctypes.c_char_p(b"kernel")


def launch() -> None:
    """Launch what a batch launches."""
    for _ in range(LAUNCHES):
        cuda.cuLaunchKernel(kernel, BLOCKS, 1, 1, 1, 1, 1, 0, None, None, None)


def synchronize() -> None:
    """Wait until the fake GPU has done everything."""
    event = ctypes.c_void_p()
    cuda.cuEventCreate(ctypes.byref(event), 0)
    cuda.cuEventRecord(event, None)
    cuda.cuEventSynchronize(event)
    cuda.cuEventDestroy_v2(event)


def properties(_: int) -> Any:
    """What torch tells of the device."""
    name = "NVIDIA H100 80GB HBM3"
    return SimpleNamespace(name=name, multi_processor_count=SMS, total_memory=80 << 30)


class PosingModel:
    """Serves by launching."""

    kind = "encoder"
    network = SimpleNamespace(parameters=lambda: iter(()))

    def inputs(self, count: int) -> int:
        """Return anything."""
        return count

    def answer(self, inputs: int, iterations: int) -> Iterator[None]:
        """Launch."""
        for _ in range(iterations):
            launch()
            yield


def pose_as_torch() -> None:
    """Put a module in the place of torch."""
    torch: Any = ModuleType("torch")
    torch.__version__ = "posed"
    torch.version = SimpleNamespace(cuda="13.0")
    torch.manual_seed = lambda seed: None
    torch.inference_mode = nullcontext
    torch.cuda = SimpleNamespace(
        is_available=lambda: True,
        synchronize=synchronize,
        max_memory_allocated=lambda: 7,
        get_device_properties=properties,
    )
    sys.modules["torch"] = torch


def main(descriptor: int) -> int:
    """Be the worker."""
    pose_as_torch()
    from realgpu.workers import worker
    from realgpu.workers.backends.cuda import CudaBackend

    class Posing(CudaBackend):
        def _make_model(self) -> Any:
            return PosingModel()

        def _make_optimizer(self) -> Any:
            return object()

        def _step(self) -> None:
            launch()

        def run(self, *arguments: Any) -> Any:
            if POSE == "faults":
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            if POSE == "hangs":
                time.sleep(3600)
            return super().run(*arguments)

    worker.make_backend = Posing  # type: ignore[assignment]
    return worker.live(descriptor)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
