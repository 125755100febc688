"""A stand-in for the module `pynvml`, one H100 that answers by rule and may be told to fail."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """As the binding's: a code, and words."""

    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


class FakePynvml:
    """Only functions that read are here; to look up any that sets, or is unknown, fails the test."""

    NVMLError = NVMLError
    NVML_SUCCESS = 0
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_FUNCTION_NOT_FOUND = 13
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    NVML_TEMPERATURE_GPU = 0
    NVML_GPM_METRICS_GET_VERSION = 1

    def __init__(self) -> None:
        self.fails: dict[str, int] = {}
        self.lacks: set[str] = set()
        self.calls: list[str] = []
        self.started = 0
        self.samples: set[int] = set()
        self.ticks = 0
        self.gpm = 1
        self.before_power: Callable[[], None] = lambda: None
        self.thread_names: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if not name.startswith("nvml"):
            return found
        self.calls.append(name)
        if name in self.lacks:
            raise AttributeError
        if name in self.fails:
            code = self.fails[name]

            def fail(*arguments: object) -> None:
                raise NVMLError(code)

            return fail
        return found

    def __getattr__(self, name: str) -> Any:
        if name in self.lacks:
            raise AttributeError(f"module 'pynvml' has no attribute '{name}'")
        raise AssertionError(f"{name} was asked for: it is not among the functions that only read")

    def nvmlInit(self) -> None:  # noqa: N802, D102
        self.started += 1

    def nvmlShutdown(self) -> None:  # noqa: N802, D102
        self.started -= 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802, D102
        if index != 0:
            raise NVMLError(2)
        return "handle"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802, D102
        if uuid != "GPU-1":
            raise NVMLError(6)
        return "handle"

    def nvmlDeviceGetName(self, handle: str) -> str:  # noqa: N802, D102
        return "NVIDIA H100 80GB HBM3"

    def nvmlDeviceGetUUID(self, handle: str) -> bytes:  # noqa: N802, D102
        return b"GPU-1"

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802, D102
        return "580.159.03"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802, D102
        return 13010

    def nvmlDeviceGetCudaComputeCapability(self, handle: str) -> tuple[int, int]:  # noqa: N802, D102
        return (9, 0)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:  # noqa: N802, D102
        return SimpleNamespace(total=85_520_809_984, used=1_000_000_000)

    def nvmlDeviceGetAttributes_v2(self, handle: str) -> SimpleNamespace:  # noqa: N802, D102
        return SimpleNamespace(multiprocessorCount=132)

    def nvmlDeviceGetNumGpuCores(self, handle: str) -> int:  # noqa: N802, D102
        return 16896

    def nvmlDeviceGetComputeMode(self, handle: str) -> int:  # noqa: N802, D102
        return 0

    def nvmlDeviceGetMigMode(self, handle: str) -> list[int]:  # noqa: N802, D102
        return [0, 1]

    def nvmlDeviceGetPersistenceMode(self, handle: str) -> int:  # noqa: N802, D102
        return 1

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802, D102
        return {1: 1980, 2: 2619}[kind]

    def nvmlDeviceGetMaxClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802, D102
        return {1: 1985, 2: 2620}[kind]

    def nvmlDeviceGetPowerManagementLimit(self, handle: str) -> int:  # noqa: N802, D102
        return 700_000

    def nvmlDeviceGetCurrPcieLinkGeneration(self, handle: str) -> int:  # noqa: N802, D102
        return 5

    def nvmlDeviceGetCurrPcieLinkWidth(self, handle: str) -> int:  # noqa: N802, D102
        return 16

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802, D102
        self.before_power()
        self.thread_names.add(threading.current_thread().name)
        self.ticks += 1
        return 100_000 + self.ticks

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802, D102
        return 5_000_500

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:  # noqa: N802, D102
        return SimpleNamespace(gpu=99, memory=7)

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:  # noqa: N802, D102
        return 41

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:  # noqa: N802, D102
        return 0x4

    def nvmlGpmQueryDeviceSupport(self, handle: str) -> SimpleNamespace:  # noqa: N802, D102
        return SimpleNamespace(isSupportedDevice=self.gpm)

    def nvmlGpmSampleAlloc(self) -> SimpleNamespace:  # noqa: N802, D102
        number = len(self.samples)
        self.samples.add(number)
        return SimpleNamespace(number=number, taken=-1)

    def nvmlGpmSampleGet(self, handle: str, sample: SimpleNamespace) -> SimpleNamespace:  # noqa: N802, D102
        self.ticks += 1
        sample.taken = self.ticks
        return sample

    def nvmlGpmSampleFree(self, sample: SimpleNamespace) -> None:  # noqa: N802, D102
        self.samples.remove(sample.number)

    def c_nvmlGpmMetricsGet_t(self) -> SimpleNamespace:  # noqa: N802, D102
        return SimpleNamespace(metrics=[SimpleNamespace(metricId=0) for _ in range(8)])

    def nvmlGpmMetricsGet(self, asked: SimpleNamespace) -> None:  # noqa: N802, D102
        assert asked.version == 1
        assert asked.sample1.taken < asked.sample2.taken
        assert asked.sample1.number != asked.sample2.number
        for answer in asked.metrics[: asked.numMetrics]:
            answer.nvmlReturn = 0 if answer.metricId != 3 else 3
            answer.value = {2: 75.0, 3: 50.0, 5: 25.0, 10: 12.5}[answer.metricId]
