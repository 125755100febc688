"""The CUDA driver through ctypes: what checks need of it, without torch and without a compiler.

Prototypes and numbers are those of cuda.h of CUDA 13.0. Nothing here sets a property of a device.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Final

LIBCUDA: Final = "libcuda.so.1"

MULTIPROCESSOR_COUNT: Final = 16
COMPUTE_CAPABILITY_MAJOR: Final = 75
COMPUTE_CAPABILITY_MINOR: Final = 76
MPS_ENABLED: Final = 133

_NO_DEVICE: Final = 100
_NON_BLOCKING: Final = 1
_CAPTURE_RELAXED: Final = 2


class NoDriverError(RuntimeError):
    """There is no driver, or it has no device."""


def need_driver(library: str = LIBCUDA) -> None:
    """See that there is a driver, without starting it.

    Raises
    ------
    NoDriverError
        If there is none.
    """
    try:
        ctypes.CDLL(library)
    except OSError as error:
        raise NoDriverError(f"no NVIDIA driver ({error})") from None


class DriverError(RuntimeError):
    """A call of the driver failed.

    Attributes
    ----------
    code
        The driver's number; 810 is `CUDA_ERROR_MPS_CLIENT_TERMINATED`.
    """

    def __init__(self, call: str, code: int, name: str) -> None:
        super().__init__(f"{call}: {code} {name}".rstrip())
        self.code = code


class CudaDriver:
    """The loaded and initialised library.

    Raises
    ------
    NoDriverError
        If it cannot be loaded, or has no device.
    DriverError
        If it does not initialise, as where a daemon of MPS is wedged.
    """

    def __init__(self, library: str = LIBCUDA) -> None:
        need_driver(library)
        self._library = ctypes.CDLL(library)
        try:
            self.call("cuInit", 0)
        except DriverError as error:
            if error.code == _NO_DEVICE:
                raise NoDriverError(f"no device ({error})") from None
            raise

    def has(self, name: str) -> bool:
        """Whether the driver exports a function."""
        return hasattr(self._library, name)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function that returns a `CUresult`.

        Raises
        ------
        DriverError
            If it is missing or fails.
        """
        try:
            function = self._library[name]
        except AttributeError:
            raise DriverError(name, -1, "the driver has no such function") from None
        code = function(*arguments)
        if code != 0:
            raise DriverError(name, code, self._error_name(code))

    def function(self, name: str) -> Callable[..., int]:
        """Return a function as it is, for calls that are timed."""
        found: Callable[..., int] = self._library[name]
        return found

    def version(self) -> int:
        """Return the newest CUDA it serves, such as 13000."""
        number = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(number))
        return number.value

    def _error_name(self, code: int) -> str:
        name = ctypes.c_char_p()
        try:
            known = self._library["cuGetErrorName"](code, ctypes.byref(name)) == 0
        except AttributeError:
            return ""
        return name.value.decode() if known and name.value else ""


class Device:
    """A device with its primary context, the one that torch uses, current to this thread."""

    def __init__(self, ordinal: int = 0, driver: CudaDriver | None = None) -> None:
        self.driver = driver or CudaDriver()
        number = ctypes.c_int()
        self.driver.call("cuDeviceGet", ctypes.byref(number), ordinal)
        self.number = number.value
        self.context = ctypes.c_void_p()
        self.driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), self.number)
        self.make_current()

    def make_current(self) -> None:
        """Make the primary context current to this thread."""
        self.driver.call("cuCtxSetCurrent", self.context)

    def attribute(self, number: int) -> int:
        """Return a device attribute."""
        value = ctypes.c_int()
        self.driver.call("cuDeviceGetAttribute", ctypes.byref(value), number, self.number)
        return value.value

    def allocate(self, size_bytes: int) -> int:
        """Return the address of memory on the device; it stays for as long as the context."""
        address = ctypes.c_uint64()
        self.driver.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size_bytes))
        return address.value

    def clear(self, address: int, size_bytes: int) -> None:
        """Set memory to zero."""
        self.driver.call(
            "cuMemsetD8_v2", ctypes.c_uint64(address), ctypes.c_ubyte(0), ctypes.c_size_t(size_bytes)
        )

    def read(self, address: int, size_bytes: int) -> bytes:
        """Copy memory to the host."""
        buffer = ctypes.create_string_buffer(size_bytes)
        self.driver.call("cuMemcpyDtoH_v2", buffer, ctypes.c_uint64(address), ctypes.c_size_t(size_bytes))
        return buffer.raw

    def synchronize(self) -> None:
        """Wait for everything in the current context."""
        self.driver.call("cuCtxSynchronize")

    def new_stream(self) -> ctypes.c_void_p:
        """Return a stream beside the default one."""
        stream = ctypes.c_void_p()
        self.driver.call("cuStreamCreate", ctypes.byref(stream), _NON_BLOCKING)
        return stream

    def wait_for(self, stream: ctypes.c_void_p | None) -> None:
        """Wait for everything in a stream."""
        self.driver.call("cuStreamSynchronize", stream)

    def load(self, ptx: str) -> ctypes.c_void_p:
        """Have PTX compiled for this device by the driver, and return the module."""
        module = ctypes.c_void_p()
        self.driver.call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(ptx.encode()))
        return module

    def kernel(self, module: ctypes.c_void_p, name: str) -> ctypes.c_void_p:
        """Return a kernel of a module."""
        function = ctypes.c_void_p()
        self.driver.call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        return function

    def launcher(
        self,
        kernel: ctypes.c_void_p,
        blocks: int,
        threads: int,
        arguments: Sequence[Any],
        stream: ctypes.c_void_p | None = None,
    ) -> Callable[[], None]:
        """Return what launches a kernel with these arguments, each time it is called.

        Parameters
        ----------
        arguments
            As ctypes, of the kernel's types.
        """
        values = list(arguments)
        places = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
        launch = self.driver.function("cuLaunchKernel")
        shape = (*map(ctypes.c_uint, (blocks, 1, 1, threads, 1, 1, 0)), stream, places, None)

        def launch_it(kept: list[Any] = values) -> None:
            code = launch(kernel, *shape)
            if code != 0:
                raise DriverError("cuLaunchKernel", code, self.driver._error_name(code))

        return launch_it

    def begin_capture(self, stream: ctypes.c_void_p) -> None:
        """Begin to record a stream into a graph."""
        self.driver.call("cuStreamBeginCapture_v2", stream, _CAPTURE_RELAXED)

    def end_capture(self, stream: ctypes.c_void_p) -> ctypes.c_void_p:
        """End recording, and return the graph, ready to be launched."""
        graph, ready = ctypes.c_void_p(), ctypes.c_void_p()
        self.driver.call("cuStreamEndCapture", stream, ctypes.byref(graph))
        self.driver.call("cuGraphInstantiateWithFlags", ctypes.byref(ready), graph, ctypes.c_uint64(0))
        return ready

    def launch_graph(self, graph: ctypes.c_void_p, stream: ctypes.c_void_p) -> None:
        """Launch a graph into a stream."""
        self.driver.call("cuGraphLaunch", graph, stream)
