"""GPU performance monitoring (GPM): how busy the SMs are, between two looks; Hopper and later."""

from __future__ import annotations

from functools import partial

from realgpu.sampling.device import NvmlDevice

# From nvml.h: nvmlGpmMetricId_t. All are percent of the whole device.
METRICS = {"sm_active": 2, "sm_occupancy": 3, "tensor_active": 5, "dram_active": 10}

_NAME = "gpm"


class ActivityMeter:
    """Two samples in turn; each reading covers the time since the one before.

    Parameters
    ----------
    device
        Where it does not support GPM, as in some virtual machines, `supported` is false and nothing is read.
    """

    def __init__(self, device: NvmlDevice) -> None:
        self._device = device
        self._nvml = device.nvml
        self._samples: list[object] = []
        self._before: object | None = None
        support = device.read(_NAME, lambda: self._nvml.nvmlGpmQueryDeviceSupport(device.handle))
        self.supported = support is not None and bool(support.isSupportedDevice)
        if support is not None and not self.supported:
            device.unsupported[_NAME] = "the device does not support it"
        while self.supported and len(self._samples) < 2:
            sample = device.read(_NAME, self._nvml.nvmlGpmSampleAlloc)
            if sample is None:
                self.close()
            else:
                self._samples.append(sample)

    def read(self) -> dict[str, float | None] | None:
        """Return the share of each metric since the last call; `None` the first time, and where it fails."""
        if not self.supported:
            return None
        now = self._samples[0] if self._before is not self._samples[0] else self._samples[1]
        taken = self._device.read(_NAME, lambda: self._nvml.nvmlGpmSampleGet(self._device.handle, now))
        before, self._before = self._before, now if taken is not None else None
        if taken is None or before is None:
            return None
        return self._device.read(_NAME, lambda: self._shares(before, now))

    def close(self) -> None:
        """Free the samples."""
        self.supported = False
        while self._samples:
            self._device.read(_NAME, partial(self._nvml.nvmlGpmSampleFree, self._samples.pop()))

    def _shares(self, before: object, now: object) -> dict[str, float | None]:
        asked = self._nvml.c_nvmlGpmMetricsGet_t()
        asked.version = self._nvml.NVML_GPM_METRICS_GET_VERSION
        asked.numMetrics = len(METRICS)
        asked.sample1, asked.sample2 = before, now
        for place, number in enumerate(METRICS.values()):
            asked.metrics[place].metricId = number
        self._nvml.nvmlGpmMetricsGet(asked)
        answers = (asked.metrics[place] for place in range(len(METRICS)))
        return {
            name: answer.value / 100 if answer.nvmlReturn == self._nvml.NVML_SUCCESS else None
            for name, answer in zip(METRICS, answers, strict=True)
        }
