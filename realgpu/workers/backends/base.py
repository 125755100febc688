"""What a worker asks of a backend."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from realgpu.errors import RealGpuError


class LeaveOff(Protocol):
    """Whether to leave work off; a backend asks between iterations, training steps or short sleeps."""

    def __call__(self, sleep_s: float = 0.0) -> bool:
        """Sleep so long, less if there is a reason to leave off, and say whether there is."""


class Backend(Protocol):
    """Carries out one instance's work. It says nothing to the board but cycles and steps."""

    def load(self) -> dict[str, Any]:
        """Start up; return `import_s`, `load_s` and `warm_up_s` in seconds, and facts about the device.

        Raises
        ------
        RealGpuError
            If the host or the device cannot do it.
        """

    def run(self, count: int, iterations: int, leave_off: LeaveOff) -> tuple[int, int] | None:
        """Serve a batch; return when it began and ended, `None` if `leave_off` said so before the end.

        Raises
        ------
        RealGpuError
            If the host or the device could not do it.
        """

    def train(self, iterations: int | None, leave_off: LeaveOff) -> tuple[float, int]:
        """Train for so many steps, or until `leave_off` says so; return the steps done, and when.

        Each step is a cycle.
        """


def check_options(options: Mapping[str, Any], allowed: Collection[str]) -> None:
    """See that a backend knows all of its options.

    Raises
    ------
    RealGpuError
        If it does not; the line names the nearest that it knows.
    """
    for name in options:
        if name not in allowed:
            nearest = difflib.get_close_matches(name, allowed, n=1, cutoff=0.0)
            known = (
                f"nearest is {nearest[0]!r} (allowed are {', '.join(allowed)})"
                if nearest
                else "there is none"
            )
            raise RealGpuError(f"begin: options: found {name!r}, {known}")
