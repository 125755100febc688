"""Start-up: how long a launch takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from policies.functions import Function


@dataclass(frozen=True, slots=True)
class PolledStartUp:
    """The profile's parts of a cold start, then found ready by a poll.

    Readiness is polled every `poll_s` and traffic follows `settle_s` later: 1 s each (sigserverless/Dilu
    @1134655). The paper gives no cold-start time; the parts are the profile's.
    """

    poll_s: float = 1.0
    settle_s: float = 1.0

    def seconds(self, function: Function) -> float:
        """Round the start-up up to the next poll and add the settling time."""
        parts_s = function.model.startup.seconds()
        if self.poll_s <= 0.0:
            return parts_s + self.settle_s
        return math.ceil(parts_s / self.poll_s) * self.poll_s + self.settle_s


@dataclass(frozen=True, slots=True)
class FixedStartUp:
    """Every launch takes the same time."""

    delay_s: float = 0.0

    def seconds(self, function: Function) -> float:
        """Return the fixed time."""
        return self.delay_s
