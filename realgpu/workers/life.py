"""How long a worker lives: no longer than its parent, and not past a SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from realgpu.parent_death import signal_at_parent_death

TERMINATED = 128 + signal.SIGTERM
"""Exit status after a SIGTERM, as a shell would tell it."""


class Life:
    """Turns SIGTERM into the end of the process: at once, or, while it works, where work can be left off.

    Leaving off between iterations spares others on the device: a client of MPS that dies with kernels in
    flight may take the server with it (NVIDIA, Multi-Process Service, on abnormal termination).
    """

    def __init__(self) -> None:
        self.terminated = False
        self._works = False
        signal.signal(signal.SIGTERM, self._terminate)
        signal_at_parent_death(signal.SIGKILL, os.getppid())

    @contextmanager
    def working(self) -> Iterator[None]:
        """Have `terminated` set by a SIGTERM meanwhile, and the process end afterwards."""
        self._works = True
        try:
            yield
        finally:
            self._works = False
            if self.terminated:
                sys.exit(TERMINATED)

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self.terminated = True
        if not self._works:
            sys.exit(TERMINATED)
