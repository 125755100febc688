"""Green contexts: a part of the SMs for the streams of one process, through the driver (CUDA 12.4 and later).

`CUdevResource` of cuda.h 13.0 has 144 bytes: the type, 92 bytes of padding, then for SMs their count, the
least that a part may have and what its size is a multiple of. Later members lie within the 48 bytes kept for
them.
"""

from __future__ import annotations

import ctypes
from types import TracebackType
from typing import Final, Self

from realgpu.checks.driver import Device, DriverError

FIRST_DRIVER: Final = 12040
"""`cuGreenCtxCreate` came with CUDA 12.4."""

_FUNCTIONS: Final = (
    "cuDeviceGetDevResource",
    "cuDevSmResourceSplitByCount",
    "cuDevResourceGenerateDesc",
    "cuGreenCtxCreate",
    "cuGreenCtxStreamCreate",
    "cuGreenCtxDestroy",
    "cuCtxFromGreenCtx",
)
_TYPE_SM: Final = 1
_DEFAULT_STREAM: Final = 1
_NON_BLOCKING: Final = 1


class Resource(ctypes.Structure):
    """A `CUdevResource` of SMs."""

    _fields_ = (
        ("type", ctypes.c_uint),
        ("padding", ctypes.c_ubyte * 92),
        ("sm_count", ctypes.c_uint),
        ("least_sms", ctypes.c_uint),
        ("multiple_of_sms", ctypes.c_uint),
        ("kept_free", ctypes.c_ubyte * 36),
    )


def missing_functions(device: Device) -> list[str]:
    """Return what the driver lacks for green contexts."""
    return [name for name in _FUNCTIONS if not device.driver.has(name)]


def sm_resource(device: Device) -> Resource:
    """Return the SMs that this process may part; under MPS those of its cap."""
    resource = Resource()
    device.driver.call("cuDeviceGetDevResource", device.number, ctypes.byref(resource), _TYPE_SM)
    return resource


class GreenContext:
    """A part of the SMs; while it is entered, it is the current context of this thread.

    Parameters
    ----------
    sm_count
        SMs wanted, rounded up by the driver; `None`: all, unparted.

    Attributes
    ----------
    sm_count
        SMs it has.
    stream
        Work in it runs there.
    """

    def __init__(self, device: Device, sm_count: int | None) -> None:
        self._device = device
        part = sm_resource(device)
        if sm_count is not None:
            whole, rest, parts = part, Resource(), ctypes.c_uint(1)
            part = Resource()
            device.driver.call(
                "cuDevSmResourceSplitByCount",
                ctypes.byref(part),
                ctypes.byref(parts),
                ctypes.byref(whole),
                ctypes.byref(rest),
                ctypes.c_uint(0),
                ctypes.c_uint(sm_count),
            )
            if parts.value < 1:
                raise DriverError("cuDevSmResourceSplitByCount", -1, f"no part of {sm_count} SMs")
        self.sm_count = int(part.sm_count)
        described, self._context, self.stream = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        call = device.driver.call
        call("cuDevResourceGenerateDesc", ctypes.byref(described), ctypes.byref(part), ctypes.c_uint(1))
        call("cuGreenCtxCreate", ctypes.byref(self._context), described, device.number, _DEFAULT_STREAM)
        try:
            call("cuGreenCtxStreamCreate", ctypes.byref(self.stream), self._context, _NON_BLOCKING, 0)
        except DriverError:
            call("cuGreenCtxDestroy", self._context)
            raise

    def __enter__(self) -> Self:
        as_context = ctypes.c_void_p()
        self._device.driver.call("cuCtxFromGreenCtx", ctypes.byref(as_context), self._context)
        self._device.driver.call("cuCtxSetCurrent", as_context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._device.make_current()

    def close(self) -> None:
        """Give the SMs back."""
        self._device.wait_for(self.stream)
        self._device.driver.call("cuStreamDestroy_v2", self.stream)
        self._device.driver.call("cuGreenCtxDestroy", self._context)
