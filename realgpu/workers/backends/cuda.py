"""A GPU: models at full size, one instance a process, one process a GPU.

Launches are charged by the gate that the orchestrator preloads, and SMs and memory are capped by the
environment that it sets; nothing here changes a setting of the device.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from realgpu.errors import RealGpuError
from realgpu.mps.evidence import collect
from realgpu.workers.backends.base import check_options
from realgpu.workers.backends.computed import ComputedBackend
from realgpu.workers.protocol import Begin
from realgpu.workers.seats import Seats

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from realgpu.workers.models import Scale


class CudaBackend(ComputedBackend):
    """A `Backend` on the first GPU that the process sees. Its option is `scale`, by default `full`.

    Serving computes in half precision. Training keeps weights in single precision, computes in bfloat16, and
    steps by AdamW, whose 16 bytes a weight a language model of billions leaves no room for: that one has its
    weights in bfloat16 and steps by plain gradient descent.
    """

    device = "cuda"
    default_scale: Scale = "full"

    def __init__(self, begin: Begin, seats: Seats) -> None:
        check_options(begin.options, ["scale"])
        if len(begin.seats) != 1:
            raise RealGpuError(f"begin: seats: found {len(begin.seats)}, on a device an instance has one GPU")
        super().__init__(begin, seats)

    def _prepare(self) -> None:
        if not self._torch.cuda.is_available():
            raise RealGpuError("backend cuda: torch finds no GPU; choose the backend cpu or virtual")

    def _weights_precision(self) -> str:
        if self._training is None:
            return "float16"
        return "bfloat16" if self._kind == "llm" else "float32"

    def _make_optimizer(self) -> Optimizer:
        make = self._torch.optim.SGD if self._kind == "llm" else self._torch.optim.AdamW
        optimizer: Optimizer = make(self._model.network.parameters(), lr=1e-5)
        return optimizer

    def _autocast(self) -> AbstractContextManager[Any]:
        precision: AbstractContextManager[Any] = self._torch.autocast(self.device, dtype=self._torch.bfloat16)
        return precision

    def _synchronize(self) -> None:
        self._torch.cuda.synchronize()

    def _facts(self) -> dict[str, Any]:
        """Return what device this is, what the model takes of it, and whether all this is under MPS."""
        properties = self._torch.cuda.get_device_properties(0)
        return {
            "device": properties.name,
            "sm_count": properties.multi_processor_count,
            "device_memory_bytes": properties.total_memory,
            "peak_memory_bytes": self._torch.cuda.max_memory_allocated(),
            "cuda": self._torch.version.cuda,
            "mps": collect().as_json(),
        }
