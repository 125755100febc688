"""A device as NVML knows it. Only functions that read are called: `nvmlDeviceGet*` and reading `nvmlGpm*`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

_Value = TypeVar("_Value")


class NoDeviceError(RuntimeError):
    """There is no device to look at; the message says why."""


class NvmlDevice:
    """One device; NVML stays initialised until `close`.

    Parameters
    ----------
    device
        Index as NVML counts, which heeds no `CUDA_VISIBLE_DEVICES`, or the UUID (`GPU-...`), which is safe.
    binding
        The module `pynvml` of the package nvidia-ml-py; imported where it is not given.

    Attributes
    ----------
    errors
        How often each reading failed, by name.
    first_errors
        What it said the first time.
    unsupported
        Readings that the device does not have; they are not asked for again.

    Raises
    ------
    NoDeviceError
        Without the package, the library, the driver or the device.
    """

    def __init__(self, device: int | str = 0, binding: Any = None) -> None:
        try:
            self.nvml = importlib.import_module("pynvml") if binding is None else binding
        except ImportError as error:
            raise NoDeviceError(f"no NVML binding: {error}; install nvidia-ml-py") from None
        try:
            self.nvml.nvmlInit()
        except self.nvml.NVMLError as error:
            raise NoDeviceError(f"NVML does not start: {error}") from None
        try:
            by_uuid = isinstance(device, str)
            find = self.nvml.nvmlDeviceGetHandleByUUID if by_uuid else self.nvml.nvmlDeviceGetHandleByIndex
            self.handle = find(device)
        except self.nvml.NVMLError as error:
            self.close()
            raise NoDeviceError(f"device {device}: {error}") from None
        self.errors: dict[str, int] = {}
        self.first_errors: dict[str, str] = {}
        self.unsupported: dict[str, str] = {}

    def close(self) -> None:
        """Let NVML go."""
        with suppress(self.nvml.NVMLError):
            self.nvml.nvmlShutdown()

    def read(self, name: str, read: Callable[[], _Value]) -> _Value | None:
        """Return a reading; `None` where it fails, which is counted."""
        if name in self.unsupported:
            return None
        try:
            return read()
        except self.nvml.NVMLError as error:
            self._note(name, error)
        except AttributeError as error:  # an older binding
            self.unsupported[name] = str(error)
        return None

    def _note(self, name: str, error: Any) -> None:
        absent = (self.nvml.NVML_ERROR_NOT_SUPPORTED, self.nvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        if getattr(error, "value", None) in absent:
            self.unsupported[name] = str(error)
            return
        self.errors[name] = self.errors.get(name, 0) + 1
        self.first_errors.setdefault(name, str(error))
