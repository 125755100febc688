"""INFless's horizontal scaling: by the rate that is left over."""

from __future__ import annotations

import math
from dataclasses import dataclass

from policies.slots import FunctionView, Scaling


@dataclass(frozen=True, slots=True)
class ResidualRateScaling:
    """INFless's scale-out: as many instances at once as the last second's rate needs (ASPLOS 2022).

    The part of the rate that the deployed instances cannot serve is served by new ones at once. Instances
    leave through the keep-alive policy alone. The published system predicts the rate; this one takes the
    last second's.
    """

    def scale(self, function: FunctionView) -> Scaling:
        """Compare the last second's rate with capacity."""
        live = function.live
        last = function.history(1)
        rate_rps = float(last[-1]) if len(last) else 0.0
        needed = live
        if rate_rps > live * function.throughput_rps:
            needed = math.ceil(rate_rps / function.throughput_rps)
        elif live == 0 and function.waiting:
            needed = 1
        target = max(needed, live, function.min_instances)
        if target != live:
            return Scaling(target, until_s=function.now_s)
        return Scaling(live, above=live * function.throughput_rps, below=float("-inf"))
