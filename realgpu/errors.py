"""What this package raises for what a host lacks, or a process did wrong."""

from __future__ import annotations


class RealGpuError(RuntimeError):
    """In one line: what is wrong, where, and what to do."""
