"""Keep-alive for a fixed time."""

from __future__ import annotations

from dataclasses import dataclass

from policies.slots import FunctionView


@dataclass(frozen=True, slots=True)
class FixedKeepAlive:
    """An idle instance goes after a fixed time; 600 s is OpenWhisk's default."""

    timeout_s: float = 600.0

    def idle_timeout_s(self, function: FunctionView) -> float:
        """Return the fixed time."""
        return self.timeout_s
