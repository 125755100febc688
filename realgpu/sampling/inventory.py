"""What the device is and how it was found, for the manifest. Nothing is changed to find it out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from realgpu.sampling.device import NvmlDevice

# nvmlComputeMode_t of nvml.h.
_COMPUTE_MODES = {0: "default", 1: "exclusive thread", 2: "prohibited", 3: "exclusive process"}


@dataclass(frozen=True, slots=True)
class Inventory:
    """The device of a run; what it would not tell is `None`, and `missing` says why.

    Attributes
    ----------
    cuda
        The newest CUDA that the driver serves, such as `13.0`.
    sm_count
        Where NVML tells it, which it does for parts of a device; the driver's own count is in `MpsEvidence`.
    cores
        FP32 cores; an H100 has 128 an SM.
    compute_mode, mig_mode, persistence_mode, power_limit_w
        As found.
    sm_clock_mhz, memory_clock_mhz
        At the moment of looking; the `max_` ones are the highest the device has.
    """

    name: str | None
    uuid: str | None
    driver: str | None
    cuda: str | None
    compute_capability: str | None
    memory_bytes: int | None
    sm_count: int | None
    cores: int | None
    compute_mode: str | None
    mig_mode: str | None
    persistence_mode: str | None
    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    max_sm_clock_mhz: int | None
    max_memory_clock_mhz: int | None
    power_limit_w: float | None
    pcie_generation: int | None
    pcie_width: int | None
    missing: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return the record for a manifest."""
        return asdict(self)


def take_inventory(device: NvmlDevice) -> Inventory:
    """Look at a device; a reading that fails is named in `missing`."""
    nvml, handle = device.nvml, device.handle
    readings = {
        "name": lambda: _text(nvml.nvmlDeviceGetName(handle)),
        "uuid": lambda: _text(nvml.nvmlDeviceGetUUID(handle)),
        "driver": lambda: _text(nvml.nvmlSystemGetDriverVersion()),
        "cuda": lambda: _cuda_version(nvml.nvmlSystemGetCudaDriverVersion_v2()),
        "compute_capability": lambda: "{}.{}".format(*nvml.nvmlDeviceGetCudaComputeCapability(handle)),
        "memory_bytes": lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        "sm_count": lambda: int(nvml.nvmlDeviceGetAttributes_v2(handle).multiprocessorCount),
        "cores": lambda: int(nvml.nvmlDeviceGetNumGpuCores(handle)),
        "compute_mode": lambda: _COMPUTE_MODES.get(mode := nvml.nvmlDeviceGetComputeMode(handle), str(mode)),
        "mig_mode": lambda: _on_off(nvml.nvmlDeviceGetMigMode(handle)[0]),
        "persistence_mode": lambda: _on_off(nvml.nvmlDeviceGetPersistenceMode(handle)),
        "sm_clock_mhz": lambda: int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        "memory_clock_mhz": lambda: int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
        "max_sm_clock_mhz": lambda: int(nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)),
        "max_memory_clock_mhz": lambda: int(nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_MEM)),
        "power_limit_w": lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000,
        "pcie_generation": lambda: int(nvml.nvmlDeviceGetCurrPcieLinkGeneration(handle)),
        "pcie_width": lambda: int(nvml.nvmlDeviceGetCurrPcieLinkWidth(handle)),
    }
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name, reading in readings.items():
        label = f"inventory {name}"
        found[name] = device.read(label, reading)
        if found[name] is None:
            missing[name] = device.unsupported.get(label) or device.first_errors.get(label) or "no value"
    return Inventory(**found, missing=missing)


def _cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _on_off(state: int) -> str:
    return "on" if state else "off"


def _text(found: str | bytes) -> str:
    """Return text whichever the binding gives; older ones gave bytes."""
    return found.decode(errors="replace") if isinstance(found, bytes) else found
