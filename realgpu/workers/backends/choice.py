"""The backend that a `Begin` names."""

from __future__ import annotations

from realgpu.workers.backends.base import Backend
from realgpu.workers.protocol import Begin
from realgpu.workers.seats import Seats


def make_backend(begin: Begin, seats: Seats) -> Backend:
    """Return it, not yet loaded. What it needs is imported here, so that nobody else needs it.

    Raises
    ------
    RealGpuError
        If something in `begin` is not as the backend wants it.
    """
    if begin.backend == "virtual":
        from realgpu.workers.backends.virtual import VirtualBackend

        return VirtualBackend(begin, seats)
    if begin.backend == "cpu":
        from realgpu.workers.backends.cpu import CpuBackend

        return CpuBackend(begin, seats)
    from realgpu.workers.backends.cuda import CudaBackend

    return CudaBackend(begin, seats)
