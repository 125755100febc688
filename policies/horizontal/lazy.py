"""Dilu's lazy horizontal scaling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policies.slots import FunctionView, Scaling


@dataclass(frozen=True, slots=True)
class LazyScaling:
    """Dilu's lazy scaling (paper section 3.5): bursts are first absorbed vertically.

    Out by one when at least `out_count` of the last `window_s` per-second rates exceed what the deployed
    instances are profiled to serve; in by one when more than `in_count` lie below what one instance fewer
    would serve. The window is cleared by every action and may act before it is full (as the reference code
    does).

    Attributes
    ----------
    window_s, out_count, in_count
        40 s, phi_out = 20, phi_in = 30 (paper section 3.5).
    strict_in
        The paper scales in on *more than* phi_in values, the reference code on at least phi_in (`False`).
    """

    window_s: int = 40
    out_count: int = 20
    in_count: int = 30
    strict_in: bool = True

    def scale(self, function: FunctionView) -> Scaling:
        """Count the window's rates above and below capacity."""
        live, least = function.live, function.min_instances
        missing = max(least, 1 if function.waiting else 0) if live == 0 else least
        if live < missing:
            return Scaling(missing, until_s=function.now_s)
        if live == 0:
            return Scaling(0, above=0.0, below=float("-inf"))
        rates = function.rates(self.window_s)
        capacity_rps = live * function.throughput_rps
        shrunk_rps = (live - 1) * function.throughput_rps
        target = live
        if np.count_nonzero(rates > capacity_rps) >= self.out_count:
            target = live + 1
        elif live > max(least, 1):
            low = np.count_nonzero(rates < shrunk_rps)
            if low > self.in_count or (low == self.in_count and not self.strict_in):
                target = live - 1
        if target != live:
            return Scaling(target, until_s=function.now_s)
        return Scaling(live, above=capacity_rps, below=shrunk_rps if live > max(least, 1) else float("-inf"))
