"""What a subject can do with the driver alone; each method is a task, and returns what it found."""

from __future__ import annotations

import ctypes
import time
from typing import Any

from realgpu.checks.driver import Device, DriverError
from realgpu.checks.green import GreenContext, missing_functions, sm_resource
from realgpu.checks.kernels import Kernels
from realgpu.mps.evidence import collect

_ROUNDS_A_SMALL_LAUNCH = 200
_LAUNCHES_AN_ITERATION = 8


class DriverBench:
    """The driver, and our own kernels on the first device."""

    def __init__(self) -> None:
        self._loaded: Kernels | None = None
        self._stream: ctypes.c_void_p | None = None
        self._graph: ctypes.c_void_p | None = None
        self._green: GreenContext | None = None

    @property
    def _kernels(self) -> Kernels:
        if self._loaded is None:
            self._loaded = Kernels(Device())
        return self._loaded

    def begin(self) -> dict[str, Any]:
        """Make the context and load the kernels; return how long that took, and the evidence of MPS."""
        begun_s = time.monotonic()
        device = Device()
        made_s = time.monotonic()
        self._loaded = kernels = Kernels(device)
        kernels.sm_ids()
        return {
            "context_s": made_s - begun_s,
            "kernels_s": time.monotonic() - made_s,
            "driver": device.driver.version(),
            "sm_count": kernels.sm_count,
            "evidence": collect().as_json(),
        }

    def rates(self, seconds: float) -> dict[str, Any]:
        """Return where blocks run, and how fast they compute and copy."""
        green = self._green
        if green is None:
            return self._rates(None, seconds)
        try:
            with green:
                return self._rates(green.stream, seconds)
        except DriverError as error:  # its stream takes launches from the primary context as well
            return {**self._rates(green.stream, seconds), "not_current": str(error)}

    def _rates(self, stream: ctypes.c_void_p | None, seconds: float) -> dict[str, Any]:
        return {
            "sm_ids": self._kernels.sm_ids(stream),
            "compute_flops": self._kernels.compute_rate(seconds, stream),
            "copy_bytes_per_s": self._kernels.copy_rate(seconds, stream),
        }

    def launch_small(self, count: int) -> dict[str, Any]:
        """Launch a kernel of one block so many times; return seconds until all are done."""
        launch = self._kernels.smallest()
        begun_s = time.monotonic()
        for _ in range(count):
            launch()
        self._kernels.device.synchronize()
        return {"seconds": time.monotonic() - begun_s}

    def work(self, seconds: float) -> dict[str, Any]:
        """Compute for so long, waiting after every few launches; return how many rounds of them were done."""
        launch, _ = self._kernels.compute(_ROUNDS_A_SMALL_LAUNCH)
        done, begun_s = 0, time.monotonic()
        while (now_s := time.monotonic()) - begun_s < seconds:
            for _ in range(_LAUNCHES_AN_ITERATION):
                launch()
            self._kernels.device.synchronize()
            done += 1
        return {"iterations": done, "seconds": now_s - begun_s}

    def begin_graph(self) -> dict[str, Any]:
        """Begin to capture a stream."""
        self._stream = self._kernels.device.new_stream()
        self._kernels.device.begin_capture(self._stream)
        return {}

    def fill_graph(self, launches: int) -> dict[str, Any]:
        """Launch into the stream that is captured; return how long that took."""
        launch, _ = self._kernels.compute(_ROUNDS_A_SMALL_LAUNCH, self._stream)
        begun_s = time.monotonic()
        for _ in range(launches):
            launch()
        return {"seconds": time.monotonic() - begun_s}

    def end_graph(self) -> dict[str, Any]:
        """End the capture and make the graph ready."""
        assert self._stream is not None
        self._graph = self._kernels.device.end_capture(self._stream)
        return {}

    def launch_graph(self, count: int) -> dict[str, Any]:
        """Launch the graph so many times; return seconds until all are done."""
        assert self._stream is not None
        assert self._graph is not None
        begun_s = time.monotonic()
        for _ in range(count):
            self._kernels.device.launch_graph(self._graph, self._stream)
        self._kernels.device.wait_for(self._stream)
        return {"seconds": time.monotonic() - begun_s}

    def green_support(self) -> dict[str, Any]:
        """Return whether the driver has green contexts, and in what steps."""
        device = self._kernels.device
        missing = missing_functions(device)
        support: dict[str, Any] = {"driver": device.driver.version(), "missing_functions": missing}
        if not missing:
            whole = sm_resource(device)
            support |= {
                "sm_count": whole.sm_count,
                "least_sms": whole.least_sms,
                "multiple_of_sms": whole.multiple_of_sms,
            }
        return support

    def take_green(self, sm_count: int | None) -> dict[str, Any]:
        """Take a part of the SMs, in place of any before; what is asked for later runs there."""
        self.give_green_back()
        begun_s = time.monotonic()
        self._green = green = GreenContext(self._kernels.device, sm_count)
        took_s = time.monotonic() - begun_s
        return {"sm_count": green.sm_count, "stream": green.stream.value, "made_s": took_s}

    def give_green_back(self) -> dict[str, Any]:
        """Give the part back."""
        green, self._green = self._green, None
        if green is not None:
            green.close()
        return {}
