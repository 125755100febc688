"""A GPU: models at full size, one instance a process, one process a GPU.

Launches are charged by the gate that the orchestrator preloads, and SMs are capped by the environment that it
sets; nothing here changes a setting of the device.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from profiles import ModelProfile
from realgpu.errors import RealGpuError
from realgpu.mps.evidence import collect
from realgpu.workers.backends.base import check_options
from realgpu.workers.backends.computed import ComputedBackend
from realgpu.workers.backends.own_gate import OwnGate
from realgpu.workers.protocol import Begin, unpacked
from realgpu.workers.seats import Seats

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from realgpu.workers.models import Scale


OPEN_FILES_WANTED: Final = 16384
"""With fewer, clients of MPS fail to open shared memory (NVIDIA, Multi-Process Service, known issues)."""

MEASURED_S: Final = 0.3
LEAST_MEASURED, MOST_MEASURED = 3, 20
"""Work is measured so long, but at least and at most so many times. Assumed: a few per cent, in no time."""

MEASURED_TOKENS: Final = 16
"""Tokens at most of the answer by which a decoder is measured. Assumed: a prompt weighs less by then."""


class CudaBackend(ComputedBackend):
    """A `Backend` on the first GPU that the process sees. Its option is `scale`, by default `full`.

    Serving computes in half precision. Training keeps weights in single precision, computes in bfloat16, and
    steps by AdamW, whose 16 bytes a weight a language model of billions leaves no room for: that one has its
    weights in bfloat16 and steps by plain gradient descent.

    Where the environment names a launch gate, what the work costs in a second is measured by its counters
    when all is warm, alone on the GPU among the workers of that gate's file.
    """

    device = "cuda"
    default_scale: Scale = "full"

    def __init__(self, begin: Begin, seats: Seats) -> None:
        check_options(begin.options, ["scale"])
        if len(begin.seats) != 1:
            raise RealGpuError(f"begin: seats: found {len(begin.seats)}, on a device an instance has one GPU")
        super().__init__(begin, seats)
        self._gate = OwnGate.of(os.environ)
        self._answer_tokens = unpacked(begin.profile, ModelProfile, "begin: profile").output_tokens

    def _prepare(self) -> None:
        raise_open_files()
        if not self._torch.cuda.is_available():
            raise RealGpuError("backend cuda: torch finds no GPU; choose the backend cpu or virtual")
        self._synchronize()  # makes the context, beside whoever has the turn

    def _turn(self) -> AbstractContextManager[None]:
        if self._gate is None:
            return super()._turn()
        return self._gate.turn(int(self._seats.board.seats["gpu"][self._seats.rows[0]]))

    def _measure_cost(self) -> dict[str, Any]:
        """Return the capacity: cost of a batch, or step, over the median of its seconds.

        Raises
        ------
        RealGpuError
            If nothing was charged: then no launch of this process is.
        """
        if self._gate is None:
            return {}
        tokens = min(self._answer_tokens, MEASURED_TOKENS)
        before, took_s = self._gate.charged(), list[float]()
        while len(took_s) < LEAST_MEASURED or (sum(took_s) < MEASURED_S and len(took_s) < MOST_MEASURED):
            begun_s = time.monotonic()
            self._work_once(self._begin.batch, tokens)
            took_s.append(time.monotonic() - begun_s)
        after = self._gate.charged()
        if after.cost == before.cost:
            raise self._gate.ineffective()
        cost_per_batch = (after.cost - before.cost) / len(took_s)
        return {
            "cost_per_s": cost_per_batch / statistics.median(took_s),
            "cost_per_batch": cost_per_batch,
            "launches_per_batch": (after.launches - before.launches) / len(took_s),
            "measured_batches": len(took_s),
            "measured_tokens": tokens if self._model.kind == "decoder" else None,
        }

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
            "model": self._begin.model,
            "job": self._begin.job,
            "device": properties.name,
            "sm_count": properties.multi_processor_count,
            "device_memory_bytes": properties.total_memory,
            "peak_memory_bytes": self._torch.cuda.max_memory_allocated(),
            "cuda": self._torch.version.cuda,
            "mps": collect().as_json(),
        }


def raise_open_files() -> None:
    """Raise this process's limit of open files to what clients of MPS need, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
