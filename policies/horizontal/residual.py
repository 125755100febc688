"""INFless's horizontal scaling: by the rate that is left over."""

from __future__ import annotations

import math
from dataclasses import dataclass

from policies.functions import PolicyError
from policies.slots import FunctionView, Scaling


@dataclass(frozen=True, slots=True)
class ResidualRateScaling:
    """INFless's scale-out: as many instances at once as the last second's rate needs (ASPLOS 2022).

    The part of the rate that the deployed instances cannot serve is served by new ones at once. Instances
    leave through the keep-alive policy alone. The published system predicts the rate; this one takes the
    highest of the last seconds.

    Attributes
    ----------
    by_choices
        Instances may differ in size: state the residual rate, R less the sum of batch / t_exec over the live
        ones, and leave it to sizing's choices and to placement how many instances serve it.
    window_s
        How many seconds the rate is the highest of. Assumed.
    """

    by_choices: bool = False
    window_s: int = 1

    def __post_init__(self) -> None:
        if self.window_s < 1:
            raise PolicyError(f"window_s: found {self.window_s}, allowed are integers from 1")

    def scale(self, function: FunctionView) -> Scaling:
        """Compare the rate with capacity."""
        rates = function.history(self.window_s)
        rate_rps = float(rates.max()) if len(rates) else 0.0
        if self.by_choices:
            return self._scale_by_choices(function, rate_rps)
        live = function.live
        needed = live
        if rate_rps > live * function.throughput_rps:
            needed = math.ceil(rate_rps / function.throughput_rps)
        elif live == 0 and function.waiting:
            needed = 1
        target = max(needed, live, function.min_instances)
        if target != live:
            return Scaling(target, until_s=function.now_s)
        return Scaling(live, above=live * function.throughput_rps, below=float("-inf"))

    def _scale_by_choices(self, function: FunctionView, rate_rps: float) -> Scaling:
        """State the residual rate, less what instances up to the target will serve."""
        live = function.live
        capacity_rps = sum(one.batch / one.service_s for one in function.instances)
        target = max(live, function.min_instances, 1 if function.waiting else 0)
        unserved_rps = max(0.0, rate_rps - capacity_rps - (target - live) * function.throughput_rps)
        if target != live or unserved_rps > 0.0:
            return Scaling(target, until_s=function.now_s, unserved_rps=unserved_rps)
        return Scaling(live, above=capacity_rps, below=float("-inf"))
