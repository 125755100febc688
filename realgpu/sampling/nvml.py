"""A thread that samples a device while a run goes on. It reads, and never sets, anything of the device."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from realgpu.sampling.activity import METRICS, ActivityMeter
from realgpu.sampling.device import NoDeviceError, NvmlDevice
from realgpu.sampling.inventory import Inventory, take_inventory
from realgpu.sampling.table import TIME, SampleTable

DEVICE_UNITS = {
    TIME: "s",
    "power_w": "W",
    "energy_j": "J",
    "sm_clock_mhz": "MHz",
    "memory_clock_mhz": "MHz",
    "kernel_running": "share of time",
    "memory_busy": "share of time",
    "memory_used_bytes": "B",
    "temperature_c": "degree Celsius",
    "clock_event_reasons": "bit mask",
}
"""Columns of the device table.

`kernel_running` is NVML's "GPU utilisation": the share of the driver's last sample period (1/6 to 1 s) in
which any kernel ran, near 1 even for a kernel on one SM. `energy_j` counts since the driver was loaded: use
differences. `clock_event_reasons` has the bits of `nvmlClocksEventReasons`: 0x4 and above tell of a power or
thermal cap, under which timings do not compare.
"""

ACTIVITY_UNITS = {TIME: "s", **dict.fromkeys(METRICS, "share")}
"""Columns of the activity table: means over the time since the row before, of the whole device."""

_LONGEST_S = 3600.0
_JOIN_S = 5.0


class DeviceSampler:
    """Samples while it is entered; without a device it does nothing and `reason` says why.

    Parameters
    ----------
    device
        Index as NVML counts, or UUID.
    origin_s
        The zero of `time_s`, on `time.monotonic`; by default the moment of entry.
    device_hz, activity_hz
        How often to read the device, and GPM. GPM wants 0.1 s or more between readings.
    longest_s
        Rows are kept for this long; later ones are counted.
    binding
        In place of the module `pynvml`.
    """

    def __init__(
        self,
        device: int | str = 0,
        *,
        origin_s: float | None = None,
        device_hz: float = 10.0,
        activity_hz: float = 5.0,
        longest_s: float = _LONGEST_S,
        binding: Any = None,
    ) -> None:
        for name, value in (("device_hz", device_hz), ("activity_hz", activity_hz), ("longest_s", longest_s)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}: found {value!r}, allowed is a finite number above 0")
        self.reason: str | None = None
        self._which = device
        self._binding = binding
        self._origin_s = origin_s
        self._device_period_s = 1 / device_hz
        self._activity_period_s = 1 / activity_hz
        self._device_table = SampleTable(DEVICE_UNITS, math.ceil(longest_s * device_hz) + 1)
        self._activity_table = SampleTable(ACTIVITY_UNITS, math.ceil(longest_s * activity_hz) + 1)
        self._missed = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._device: NvmlDevice | None = None
        self._inventory: Inventory | None = None
        self._activity_supported = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Look for the device, take its inventory, and start sampling; without a device only note why."""
        if self._thread is not None or self._device is not None:
            raise RuntimeError("the sampler was already started")
        try:
            self._device = NvmlDevice(self._which, self._binding)
        except NoDeviceError as error:
            self.reason = str(error)
            return
        self._inventory = take_inventory(self._device)
        if self._origin_s is None:
            self._origin_s = time.monotonic()
        meter = ActivityMeter(self._device)
        self._activity_supported = meter.supported
        self._thread = threading.Thread(
            target=self._sample,
            args=(self._device, meter, self._origin_s),
            name="device-sampler",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """End sampling and let NVML go; a second time it does nothing."""
        if self._thread is None or self._device is None:
            return
        self._stopping.set()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():  # the driver hangs: to shut NVML down under it would hang as well
            self.reason = f"a reading did not return within {_JOIN_S:g} s"
            return
        self._device.close()
        self._thread = None

    def inventory(self) -> Inventory | None:
        """Return what the device is; `None` without a device."""
        return self._inventory

    def samples(self) -> SampleTable | None:
        """Return the device table, see `DEVICE_UNITS`; `None` without a device."""
        return None if self._inventory is None else self._device_table

    def activity(self) -> SampleTable | None:
        """Return the activity table, see `ACTIVITY_UNITS`; `None` without a device that supports GPM."""
        return self._activity_table if self._activity_supported else None

    def write(self, directory: Path, suffix: str = ".parquet") -> list[Path]:
        """Write `device_samples` and `device_activity`, as far as there are any, and return their paths."""
        named = {"device_samples": self.samples(), "device_activity": self.activity()}
        written = {directory / f"{name}{suffix}": table for name, table in named.items() if table is not None}
        for path, table in written.items():
            table.write(path)
        return list(written)

    def record(self) -> dict[str, Any]:
        """Return what a manifest keeps of device and sampling, as JSON."""
        device = self._device
        return {
            "reason": self.reason,
            "inventory": None if self._inventory is None else self._inventory.as_json(),
            "rows": len(self._device_table),
            "activity_rows": len(self._activity_table),
            "unrecorded_rows": self._device_table.unrecorded + self._activity_table.unrecorded,
            "missed_readings": self._missed,
            "errors": {} if device is None else dict(device.errors),
            "first_errors": {} if device is None else dict(device.first_errors),
            "unsupported": {} if device is None else dict(device.unsupported),
        }

    def _sample(self, device: NvmlDevice, meter: ActivityMeter, origin_s: float) -> None:
        """Read on a grid of absolute times; a time that was missed is counted, not made up for."""
        device_due_s = activity_due_s = time.monotonic()
        try:
            while not self._stopping.wait(max(0.0, min(device_due_s, activity_due_s) - time.monotonic())):
                now_s = time.monotonic()
                if now_s >= device_due_s:
                    self._device_table.append({TIME: now_s - origin_s, **_device_row(device)})
                    device_due_s = self._next(device_due_s, self._device_period_s)
                if now_s >= activity_due_s:
                    shares = meter.read()
                    if shares is not None:
                        self._activity_table.append({TIME: now_s - origin_s, **shares})
                    activity_due_s = self._next(activity_due_s, self._activity_period_s)
        except Exception as error:  # a binding that behaves otherwise ends the samples, not the run
            self.reason = f"sampling ended: {type(error).__name__}: {error}"
        finally:
            meter.close()

    def _next(self, due_s: float, period_s: float) -> float:
        """Return the next time of the grid that is still to come."""
        missed = max(0, math.floor((time.monotonic() - due_s) / period_s))
        self._missed += missed
        return due_s + (missed + 1) * period_s


def _device_row(device: NvmlDevice) -> dict[str, float | None]:
    nvml, handle = device.nvml, device.handle
    rates = device.read("utilisation", lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    return {
        "power_w": device.read("power", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
        "energy_j": device.read("energy", lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000),
        "sm_clock_mhz": device.read(
            "sm_clock", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)
        ),
        "memory_clock_mhz": device.read(
            "memory_clock", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)
        ),
        "kernel_running": None if rates is None else rates.gpu / 100,
        "memory_busy": None if rates is None else rates.memory / 100,
        "memory_used_bytes": device.read("memory", lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used),
        "temperature_c": device.read(
            "temperature", lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
        ),
        "clock_event_reasons": device.read(
            "clock_event_reasons", lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
        ),
    }
