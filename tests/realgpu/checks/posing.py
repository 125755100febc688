"""A CPU that poses as a GPU to torch: what is wanted on `cuda` is made here, each operation is a launch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from realgpu.checks import torch_work
from realgpu.checks.subject import SubjectError
from realgpu.checks.torch_work import TorchBench
from realgpu.gate import PythonGate
from realgpu.workers import models

LAUNCHING = (
    torch.mm,
    torch.Tensor.add_,
    torch.Tensor.copy_,
    torch.nn.functional.conv2d,
    torch.nn.functional.linear,
)


class Posing(TorchFunctionMode):
    """Puts `cpu` in place of `cuda`, and charges a launch for each operation that a GPU would launch."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = 0
        self.gate: PythonGate | None = None
        self.shortage = False

    def launch(self) -> None:
        """Count a launch, at the gate as well."""
        self.launches += 1
        if self.gate is not None:
            self.gate.charge(1)

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Do an operation here."""
        named = dict(kwargs or {})
        if str(named.get("device", "")).startswith("cuda"):
            named["device"] = "cpu"
        if named.get("pin_memory"):
            del named["pin_memory"]
        if function in LAUNCHING:
            self.launch()
        return function(*args, **named)


class Stream:
    """A stream that is never behind."""

    def synchronize(self) -> None:
        """Have nothing to wait for."""


class Graph:
    """A graph of nothing."""

    def capture_begin(self) -> None:
        """Begin."""

    def capture_end(self) -> None:
        """End."""

    def replay(self) -> None:
        """Launch."""


@contextmanager
def posing(patch: pytest.MonkeyPatch) -> Iterator[Posing]:
    """Pose, with small matrices and small models."""
    pose = Posing()
    build, autocast = models.build, torch.autocast
    cuda = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "synchronize": lambda: None,
        "empty_cache": lambda: None,
        "mem_get_info": lambda: (7 * 2**30, 8 * 2**30),
        "current_stream": Stream,
        "Stream": Stream,
        "ExternalStream": lambda pointer: Stream(),
        "stream": lambda stream: nullcontext(),
        "CUDAGraph": Graph,
        "get_device_properties": lambda number: SimpleNamespace(
            name="a poser", major=9, minor=0, multi_processor_count=132, total_memory=8 * 2**30
        ),
    }

    def build_here(name: str, scale: Any, *, device: str, precision: str) -> Any:
        if pose.shortage:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return build(name, scale, device="cpu", precision="float32")

    for name, value in cuda.items():
        patch.setattr(torch.cuda, name, value)
    patch.setattr(models, "build", build_here)
    patch.setattr(torch, "autocast", lambda device, dtype: autocast("cpu", dtype=dtype))
    profile, cpu = torch.profiler.profile, torch.profiler.ProfilerActivity.CPU
    patch.setattr(torch.profiler, "profile", lambda activities: profile(activities=[cpu]))
    patch.setattr(torch_work, "MATRIX", 32)
    patch.setattr(torch_work, "_SMALL_MATRIX", 16)
    patch.setattr(torch_work, "_COPY_NUMBERS", 1024)
    patch.setattr(torch_work, "_IMAGES", (1, 64, 4, 4))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with pose:
            yield pose
    finally:
        torch.set_num_threads(threads)


class Here:
    """A subject in this process, which has torch alone."""

    def __init__(self, label: str, environment: Mapping[str, str] | None = None) -> None:
        self.label = label
        self.started_s = 0.0
        self.pid = 1
        self._bench = TorchBench()

    def ask(self, bench: str, task: str, within_s: float, **arguments: Any) -> dict[str, Any]:
        """Do it here."""
        assert within_s > 0
        if bench == "driver":
            return {"seconds": 0.0}
        try:
            found: dict[str, Any] = getattr(self._bench, task)(**arguments)
        except RuntimeError as error:
            raise SubjectError(f"{self.label}: {type(error).__name__}: {error}") from None
        return found

    def close(self) -> None:
        """Have nothing to end."""

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()
