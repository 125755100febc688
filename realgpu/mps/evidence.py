"""What a worker finds out about itself: whether it runs under MPS, and how much of the device it was given.

A process that cannot reach the daemon runs without MPS and is told nothing (NVIDIA, Multi-Process Service,
3.3.2), so an environment that was set proves nothing. The driver knows: device attribute 133.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import asdict, dataclass
from typing import Any

from realgpu.mps.control import PIPE_DIRECTORY, MpsControl, MpsError

# From cuda.h of CUDA 13.0: enum CUdevice_attribute.
_MULTIPROCESSOR_COUNT = 16
_MPS_ENABLED = 133

_LIBCUDA = "libcuda.so.1"


@dataclass(frozen=True, slots=True)
class MpsEvidence:
    """What one process saw; `None` is what it could not find out, and `reason` says why.

    Attributes
    ----------
    driver
        Version of CUDA that the driver speaks, such as 13000.
    mps_enabled
        Device attribute 133, `CU_DEVICE_ATTRIBUTE_MPS_ENABLED`.
    sm_count
        Device attribute 16, `CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT`: under MPS it is what the cap left.
    in_client_list
        Whether the daemon lists this process as a client of one of its servers. It does so only once the
        process has a context, and may know it under another number where pid namespaces differ.
    pipe_directory, percentage, memory_limit
        What the environment asked for.
    """

    pid: int
    driver: int | None
    mps_enabled: int | None
    sm_count: int | None
    in_client_list: bool | None
    pipe_directory: str | None
    percentage: str | None
    memory_limit: str | None
    reason: str | None

    @property
    def runs_under_mps(self) -> bool:
        """Whether this may be called MPS; nothing but the driver's own word counts."""
        return self.mps_enabled == 1

    def as_json(self) -> dict[str, Any]:
        """Return the record for a manifest."""
        return {**asdict(self), "runs_under_mps": self.runs_under_mps}


def collect(ordinal: int = 0, *, control: MpsControl | None = None, libcuda: str = _LIBCUDA) -> MpsEvidence:
    """Look at this process; call it once the worker has done its first work on the device.

    Parameters
    ----------
    ordinal
        The device, as this process counts them.
    control
        The shell to ask for clients; by default that of the daemon that the environment names.
    libcuda
        The driver's library. It is loaded and initialised, no context is made.

    Returns
    -------
    MpsEvidence
        Always: whatever goes wrong stands in `reason`.
    """
    driver, attributes, reasons = _ask_driver(libcuda, ordinal)
    listed: bool | None = None
    if control is not None or PIPE_DIRECTORY in os.environ:
        try:
            listed = _is_listed(control or MpsControl())
        except MpsError as error:
            reasons.append(f"client list: {error}")
    return MpsEvidence(
        pid=os.getpid(),
        driver=driver,
        mps_enabled=attributes.get(_MPS_ENABLED),
        sm_count=attributes.get(_MULTIPROCESSOR_COUNT),
        in_client_list=listed,
        pipe_directory=os.environ.get(PIPE_DIRECTORY),
        percentage=os.environ.get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"),
        memory_limit=os.environ.get("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"),
        reason="; ".join(reasons) or None,
    )


def _is_listed(control: MpsControl) -> bool:
    return any(os.getpid() in control.client_pids(server_pid) for server_pid in control.server_pids())


def _ask_driver(libcuda: str, ordinal: int) -> tuple[int | None, dict[int, int], list[str]]:
    """Return the driver's version, the attributes it told, and why anything lacks."""
    try:
        cuda = ctypes.CDLL(libcuda)
    except OSError as error:
        return None, {}, [f"no driver ({error})"]
    version, device, value = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    attributes: dict[int, int] = {}
    reasons: list[str] = []

    def succeeds(name: str, *arguments: Any) -> bool:
        try:
            code = cuda[name](*arguments)
        except AttributeError:
            reasons.append(f"{name}: not in {libcuda}")
            return False
        if code != 0:
            reasons.append(f"{name}: {_error_name(cuda, code)}")
        return bool(code == 0)

    known = succeeds("cuDriverGetVersion", ctypes.byref(version))
    if succeeds("cuInit", 0) and succeeds("cuDeviceGet", ctypes.byref(device), ordinal):
        for attribute in (_MPS_ENABLED, _MULTIPROCESSOR_COUNT):
            if succeeds("cuDeviceGetAttribute", ctypes.byref(value), attribute, device):
                attributes[attribute] = value.value
    return version.value if known else None, attributes, reasons


def _error_name(cuda: ctypes.CDLL, code: int) -> str:
    """Return the driver's name of an error, such as 805 CUDA_ERROR_MPS_CONNECTION_FAILED."""
    name = ctypes.c_char_p()
    try:
        known = cuda["cuGetErrorName"](code, ctypes.byref(name)) == 0
    except AttributeError:
        known = False
    return f"{code} {name.value.decode()}" if known and name.value else str(code)
