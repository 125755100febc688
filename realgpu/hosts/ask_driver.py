"""Asks the NVIDIA driver for its GPUs, in a process of its own: who initialises CUDA cannot fork any more.

Run by its path under a bare interpreter (`python -I -S ask_driver.py`). It prints one line of JSON, `{"gpus":
[...], "driver": N}` or `{"fault": TEXT}`, of the GPUs that `CUDA_VISIBLE_DEVICES` leaves, in their order.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

_MULTIPROCESSOR_COUNT = 16  # enum CUdevice_attribute of cuda.h, CUDA 13.0
_LONGEST_NAME = 256


class DriverFaultError(Exception):
    """What the driver said, in words."""


def gpus_of_driver(library: str = "libcuda.so.1") -> dict[str, Any]:
    """Return what the driver tells; no context is made."""
    try:
        cuda = ctypes.CDLL(library)
    except OSError as error:
        raise DriverFaultError(f"no NVIDIA driver ({error})") from None

    def ask(name: str, *arguments: Any) -> None:
        try:
            code = cuda[name](*arguments)
        except AttributeError:
            raise DriverFaultError(f"the driver has no {name}, it is too old") from None
        if code != 0:
            raise DriverFaultError(f"the driver finds no GPU to use ({name}: {_error_name(cuda, code)})")

    version, count = ctypes.c_int(), ctypes.c_int()
    ask("cuInit", 0)
    ask("cuDriverGetVersion", ctypes.byref(version))
    ask("cuDeviceGetCount", ctypes.byref(count))
    gpus = []
    for ordinal in range(count.value):
        device, sm_count, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
        name, uuid = ctypes.create_string_buffer(_LONGEST_NAME), (ctypes.c_ubyte * 16)()
        ask("cuDeviceGet", ctypes.byref(device), ordinal)
        ask("cuDeviceGetName", name, _LONGEST_NAME, device)
        ask("cuDeviceGetUuid_v2", uuid, device)
        ask("cuDeviceGetAttribute", ctypes.byref(sm_count), _MULTIPROCESSOR_COUNT, device)
        ask("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
        gpus.append(
            {
                "uuid": _written(bytes(uuid).hex()),
                "name": name.value.decode(errors="replace"),
                "sm_count": sm_count.value,
                "memory_bytes": memory.value,
            }
        )
    return {"gpus": gpus, "driver": version.value}


def _written(digits: str) -> str:
    """Return a UUID as `CUDA_VISIBLE_DEVICES` and NVML write it."""
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "GPU-" + "-".join(parts)


def _error_name(cuda: ctypes.CDLL, code: int) -> str:
    name = ctypes.c_char_p()
    try:
        known = cuda["cuGetErrorName"](code, ctypes.byref(name)) == 0
    except AttributeError:
        known = False
    return f"{code} {name.value.decode()}" if known and name.value else str(code)


if __name__ == "__main__":
    try:
        answer = gpus_of_driver()
    except DriverFaultError as fault:
        answer = {"fault": str(fault)}
    sys.stdout.write(json.dumps(answer) + "\n")
