"""How this host runs the workers of a backend."""

from realgpu.hosts.choice import open_host, open_host_for
from realgpu.hosts.cuda import CudaHost

__all__ = ["CudaHost", "open_host", "open_host_for"]
