"""Ways to carry out the work of an instance: on a device, on the CPU, or in virtual time."""

from realgpu.workers.backends.base import Backend, LeaveOff
from realgpu.workers.backends.choice import make_backend

__all__ = ["Backend", "LeaveOff", "make_backend"]
