"""FaST-GS+'s eager horizontal scaling."""

from __future__ import annotations

import math
from dataclasses import dataclass

from policies.functions import PolicyError
from policies.slots import FunctionView, InstanceView, Scaling


@dataclass(frozen=True, slots=True)
class EagerScaling:
    """FaST-GS+'s eager scaling: out at once to what the last second needs, in soon after it needs fewer.

    Out as soon as one second's rate exceeds what the deployed instances are profiled to serve, by as many as
    that rate needs. In once the rate has been below what one instance fewer would serve for `patience_s`, to
    what the last second needs; the least efficient instances go first, by requests per second per resource
    (RPR; FaST-GShare, ICPP 2023), then the newest. Every action starts the patience anew.

    FaST-GS+ is FaST-GShare as Dilu's authors extended it (ASPLOS 2025); they call its scale-out eager and say
    no more. All instances are taken to serve what the function's size does.

    Attributes
    ----------
    patience_s
        15 s: assumed. Fitted to the cold starts and saved GPU time that Dilu's Table 3 gives for FaST-GS+ on
        INFless's periodic and sporadic trace (41 and 4, 650.4 s and 65.0 s; these rules give 40 and 4, 650 s
        and 71 s, at 56 rps an instance and the traces x25).
    """

    patience_s: int = 15

    def __post_init__(self) -> None:
        if self.patience_s < 0:
            raise PolicyError(f"patience_s: found {self.patience_s}, allowed are whole seconds from 0")

    def scale(self, function: FunctionView) -> Scaling:
        """Compare the last seconds with capacity."""
        live, least = function.live, function.min_instances
        if live == 0 and function.waiting:
            least = max(least, 1)
        if live < least:
            return Scaling(least, until_s=function.now_s)
        if live == 0:
            return Scaling(0, above=0.0, below=-math.inf)
        needed = math.ceil(function.last_rate / function.throughput_rps)
        capacity_rps = live * function.throughput_rps
        if function.last_rate > capacity_rps:
            return Scaling(max(needed, live + 1), until_s=function.now_s)
        fewest = max(least, 1)
        if live == fewest:
            return Scaling(live, above=capacity_rps, below=-math.inf)
        shrunk_rps = (live - 1) * function.throughput_rps
        if self._has_been_below(function, shrunk_rps):
            target = max(min(needed, live - 1), fewest)
            return Scaling(target, until_s=function.now_s, retire=_least_efficient(function, live - target))
        return Scaling(live, above=capacity_rps, below=shrunk_rps)

    def _has_been_below(self, function: FunctionView, shrunk_rps: float) -> bool:
        """Whether the rate was below already `patience_s` ago, and has been ever since."""
        if function.last_rate >= shrunk_rps:
            return False
        rates = function.rates(self.patience_s + 1)
        return len(rates) > self.patience_s and bool((rates < shrunk_rps).all())


def _least_efficient(function: FunctionView, count: int) -> tuple[int, ...]:
    def by_efficiency(one: InstanceView) -> tuple[float, int]:
        return one.batch / (one.service_s * one.request), -one.instance

    return tuple(one.instance for one in sorted(function.instances, key=by_efficiency)[:count])
