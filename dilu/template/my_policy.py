"""A policy of my own: how many instances a function should have. All else stays as in Dilu."""

import math
from dataclasses import dataclass

from policies import Scaling
from policies.slots import FunctionView
from policies.testing import check_policy


@dataclass(frozen=True, slots=True)
class Headroom:
    """Keeps so many instances that the busiest second of the last minute would load them to 70 %."""

    load: float = 0.7  # fields are constants; an experiment can change them: config: {horizontal.load: 0.5}
    window_s: int = 60

    def scale(self, function: FunctionView) -> Scaling:
        """Decide from what `function` shows and nothing else: no clock, no randomness, no state."""
        busiest_rps = max(function.history(self.window_s), default=0)
        wanted = math.ceil(busiest_rps / (self.load * function.throughput_rps))
        return Scaling(max(wanted, function.min_instances, min(function.waiting, 1)))


if __name__ == "__main__":
    print("keeps the contract of:", *check_policy(Headroom()))
