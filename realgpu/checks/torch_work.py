"""What a subject can be asked to do with torch; each method is a task, and returns what it found.

torch is imported by the first task, which may be to measure just that.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from realgpu.checks.record import Skipped

MATRIX: Final = 4096
"""Side of the square matrices: 0.14 TFLOP a product, some 0.2 ms on an H100 in half precision."""

_SMALL_MATRIX: Final = 1024
_IMAGES: Final = (16, 64, 56, 56)
"""As in the first blocks of a ResNet."""

_COPY_NUMBERS: Final = 2**26
_MATMULS_AN_ITERATION: Final = 8


class TorchBench:
    """torch on the first device it sees."""

    def __init__(self) -> None:
        self._loaded: Any = None
        self._tensors: dict[str, Any] = {}
        self._works: dict[str, Callable[[], object]] = {}
        self._graph: Any = None
        self._capture_stream: Any = None
        self._model: Any = None
        self._optimizer: Any = None
        self._weights: dict[str, Any] = {}

    @property
    def _torch(self) -> Any:
        if self._loaded is None:
            self.import_torch()
        if not self._loaded.cuda.is_available():
            raise Skipped(f"torch {self._loaded.__version__} finds no GPU")
        return self._loaded

    def import_torch(self) -> dict[str, Any]:
        """Import torch; return how long that took."""
        begun_s = time.monotonic()
        try:
            import torch
        except ImportError as error:
            raise Skipped(f"no torch: {error}") from None
        self._loaded = torch
        return {"seconds": time.monotonic() - begun_s, "torch": torch.__version__, "cuda": torch.version.cuda}

    def import_transformers(self) -> dict[str, Any]:
        """Import the package of language models; return how long that took."""
        begun_s = time.monotonic()
        try:
            import transformers
        except ImportError as error:
            raise Skipped(f"no transformers: {error}") from None
        return {"seconds": time.monotonic() - begun_s, "transformers": transformers.__version__}

    def make_context(self) -> dict[str, Any]:
        """Make the device's context; return how long that took."""
        torch = self._torch
        begun_s = time.monotonic()
        torch.zeros(1, device="cuda")
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info()
        return {"seconds": time.monotonic() - begun_s, "free_bytes": free, "total_bytes": total}

    def facts(self) -> dict[str, Any]:
        """Return what torch says of itself and of the device."""
        torch = self._torch
        properties = torch.cuda.get_device_properties(0)
        return {
            "devices": torch.cuda.device_count(),
            "name": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "sm_count": properties.multi_processor_count,
            "memory_bytes": properties.total_memory,
            "cudnn": torch.backends.cudnn.version(),
            "green_contexts": hasattr(getattr(torch.cuda, "green_contexts", None), "GreenContext"),
            "threads": torch.get_num_threads(),
        }

    def rates(self, seconds: float) -> dict[str, Any]:
        """Return how fast matrices are multiplied in half precision, and memory copied."""
        multiply, copy = self._work("matmul"), self._work("copy")
        multiplied, multiply_s = self._repeat(multiply, seconds)
        copied, copy_s = self._repeat(copy, seconds)
        return {
            "matmul_flops": 2.0 * MATRIX**3 * multiplied / multiply_s,
            "copy_bytes_per_s": 2.0 * 4 * _COPY_NUMBERS * copied / copy_s,
        }

    def rate_on_stream(self, stream: int, seconds: float) -> dict[str, Any]:
        """Return how fast matrices are multiplied on a stream that the driver made."""
        torch = self._torch
        with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
            multiplied, multiply_s = self._repeat(self._work("matmul"), seconds)
        return {"matmul_flops": 2.0 * MATRIX**3 * multiplied / multiply_s}

    def launch_small(self, count: int) -> dict[str, Any]:
        """Add to a tensor of one number so many times; return seconds until all are done."""
        add = self._work("add")
        add()
        self._torch.cuda.synchronize()
        begun_s = time.monotonic()
        for _ in range(count):
            add()
        self._torch.cuda.synchronize()
        return {"seconds": time.monotonic() - begun_s}

    def work(self, seconds: float) -> dict[str, Any]:
        """Multiply for so long, waiting after every few; return how many rounds of them were done."""
        multiply = self._work("matmul")
        done, begun_s = 0, time.monotonic()
        while (now_s := time.monotonic()) - begun_s < seconds:
            for _ in range(_MATMULS_AN_ITERATION):
                multiply()
            self._torch.cuda.synchronize()
            done += 1
        return {"iterations": done, "seconds": now_s - begun_s}

    def prepare(self, work: str) -> dict[str, Any]:
        """Do a work twice, and profile it once: after that it launches the same kernels each time."""
        begun_s = time.monotonic()
        for _ in range(2):
            self._work(work)()
        self._torch.cuda.synchronize()
        self.profiled(work)
        return {"seconds": time.monotonic() - begun_s}

    def profiled(self, work: str) -> dict[str, Any]:
        """Do a work once under the profiler; return kernels that ran, and calls that launched."""
        torch = self._torch
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profile:
            self._work(work)()
            torch.cuda.synchronize()
        with tempfile.TemporaryDirectory(prefix="dilu-trace-") as folder:
            path = Path(folder) / "trace.json"
            profile.export_chrome_trace(str(path))
            events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
        return counted(events)

    def begin_graph(self) -> dict[str, Any]:
        """Begin to capture a stream."""
        torch = self._torch
        multiply = self._work("small matmul")
        self._capture_stream = torch.cuda.Stream()
        with torch.cuda.stream(self._capture_stream):
            multiply()
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(self._capture_stream):
            self._graph.capture_begin()
        return {}

    def fill_graph(self, launches: int) -> dict[str, Any]:
        """Multiply in the stream that is captured; return how long that took."""
        multiply = self._work("small matmul")
        begun_s = time.monotonic()
        with self._torch.cuda.stream(self._capture_stream):
            for _ in range(launches):
                multiply()
        return {"seconds": time.monotonic() - begun_s}

    def end_graph(self) -> dict[str, Any]:
        """End the capture and make the graph ready."""
        with self._torch.cuda.stream(self._capture_stream):
            self._graph.capture_end()
        return {}

    def launch_graph(self, count: int) -> dict[str, Any]:
        """Launch the graph so many times; return seconds until all are done."""
        begun_s = time.monotonic()
        for _ in range(count):
            self._graph.replay()
        self._torch.cuda.synchronize()
        return {"seconds": time.monotonic() - begun_s}

    def build(self, model: str, scale: str = "full") -> dict[str, Any]:
        """Make a model of the catalog with random weights; return how long that took, and its size."""
        from realgpu.workers.models import build

        torch = self._torch
        self._model = self._optimizer = None
        torch.cuda.empty_cache()
        begun_s = time.monotonic()
        self._model = build(model, scale, device="cuda", precision="float16")  # type: ignore[arg-type]
        self._model.network.eval()
        torch.cuda.synchronize()
        weights = list(self._model.network.parameters())
        return {
            "seconds": time.monotonic() - begun_s,
            "kind": self._model.kind,
            "parameters": sum(one.numel() for one in weights),
            "weights_bytes": sum(one.numel() * one.element_size() for one in weights),
        }

    def serve(self, batch: int, iterations: int = 1, repeats: int = 1) -> dict[str, Any]:
        """Serve batches; return the median seconds of one, and of asking for it, which ends before it."""
        torch = self._torch
        inputs = self._model.inputs(batch)
        asked, took = [], []
        with torch.inference_mode():
            for _ in range(repeats):
                torch.cuda.synchronize()
                begun_s = time.monotonic()
                for _ in self._model.answer(inputs, iterations):
                    pass
                asked.append(time.monotonic() - begun_s)
                torch.cuda.synchronize()
                took.append(time.monotonic() - begun_s)
        return {"seconds": statistics.median(took), "asked_s": statistics.median(asked)}

    def train(self, batch: int, repeats: int = 1) -> dict[str, Any]:
        """Take training steps; return the median seconds of one."""
        torch = self._torch
        network = self._model.network
        if self._optimizer is None:
            network.float().train()
            self._optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5)
        inputs = self._model.inputs(batch)
        took = []
        for _ in range(repeats):
            torch.cuda.synchronize()
            begun_s = time.monotonic()
            self._optimizer.zero_grad()
            with torch.autocast("cuda", dtype=torch.bfloat16):
                loss = self._model.loss(inputs)
            loss.backward()
            self._optimizer.step()
            torch.cuda.synchronize()
            took.append(time.monotonic() - begun_s)
        return {"seconds": statistics.median(took)}

    def copy_weights(self, source: str, path: str | None, most_bytes: int) -> dict[str, Any]:
        """Copy weights to the device as a start-up would, tensor by tensor.

        Parameters
        ----------
        source
            `pageable` or `pinned` host memory, or `file`, mapped.
        path
            Of the file: bytes of any value, `most_bytes` of them.
        most_bytes
            Weights beyond so many are left out.
        """
        torch = self._torch
        total = sum(one.numel() * one.element_size() for one in self._model.network.parameters())
        size = min(total, most_bytes)
        begun_s = time.monotonic()
        host = self._host_bytes(source, path, size)
        prepared_s = time.monotonic()
        copied = 0
        with torch.no_grad():
            for weights in self._model.network.parameters():
                count = weights.numel() * weights.element_size()
                if copied + count > size:
                    break
                target = weights.reshape(-1).view(torch.uint8)
                target.copy_(host[copied : copied + count], non_blocking=source == "pinned")
                copied += count
            torch.cuda.synchronize()
        seconds = time.monotonic() - prepared_s
        return {
            "prepare_s": prepared_s - begun_s,
            "seconds": seconds,
            "bytes": copied,
            "weights_bytes": total,
            "bytes_per_s": copied / seconds,
        }

    def _host_bytes(self, source: str, path: str | None, size: int) -> Any:
        """Return bytes on the host, touched, so that no page is made while they are copied."""
        torch = self._torch
        if source == "file":
            return torch.from_file(path, shared=False, size=size, dtype=torch.uint8)
        if source not in self._weights or len(self._weights[source]) < size:
            host = torch.empty(size, dtype=torch.uint8, pin_memory=source == "pinned")
            ctypes.memset(host.data_ptr(), 1, size)
            self._weights[source] = host
        return self._weights[source]

    def _work(self, name: str) -> Callable[[], object]:
        """Return something to do, its inputs made already."""
        if name not in self._works:
            self._works[name] = self._made(name)
        return self._works[name]

    def _made(self, name: str) -> Callable[[], object]:
        torch = self._torch

        def numbers(*shape: int, precision: Any = torch.float16) -> Any:
            return torch.randn(shape, device="cuda", dtype=precision)

        if name in ("matmul", "small matmul"):
            side = MATRIX if name == "matmul" else _SMALL_MATRIX
            left, right, out = numbers(side, side), numbers(side, side), numbers(side, side)
            return lambda: torch.mm(left, right, out=out)
        if name == "copy":
            source, target = (numbers(_COPY_NUMBERS, precision=torch.float32) for _ in range(2))
            return lambda: target.copy_(source)
        if name == "add":
            one = numbers(1, precision=torch.float32)
            return lambda: one.add_(1.0)
        if name == "convolution":
            images, weights = numbers(*_IMAGES), numbers(64, 64, 3, 3)
            return lambda: torch.nn.functional.conv2d(images, weights, padding=1)
        if name == "compiled":
            values = numbers(2**20, precision=torch.float32)
            compiled = torch.compile(_small_program)
            return lambda: compiled(values)
        raise ValueError(f"work: found {name!r}")

    def _repeat(self, work: Callable[[], object], seconds: float) -> tuple[int, float]:
        """Do a work over and over for about so long; return how often, and how long it took."""
        torch = self._torch
        work()
        torch.cuda.current_stream().synchronize()
        count = 1
        while True:
            begun_s = time.monotonic()
            for _ in range(count):
                work()
            torch.cuda.current_stream().synchronize()
            took_s = time.monotonic() - begun_s
            if took_s >= seconds:
                return count, took_s
            count = max(2 * count, int(count * seconds / max(took_s, 1e-6)) + 1)


def _small_program(values: Any) -> Any:
    """Give the compiler something to write a kernel of."""
    return (values * 2 + 1).relu().sum()


def counted(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a trace of torch's profiler (Chrome trace format) says of kernels.

    Returns
    -------
    dict
        `kernels` that ran on the device; `launch_calls`: calls of the runtime and the driver that launch, by
        name; `kernel_names`, at most 8.
    """
    kernels = [event for event in events if event.get("cat") == "kernel"]
    calls = Counter(
        event["name"]
        for event in events
        if event.get("cat") in ("cuda_runtime", "cuda_driver") and "Launch" in event.get("name", "")
    )
    names = Counter(str(event.get("name", "")) for event in kernels)
    return {
        "kernels": len(kernels),
        "launch_calls": dict(calls),
        "kernel_names": {name[:100]: count for name, count in names.most_common(8)},
    }
