"""INFless's dispatcher: each instance gets a rate between what fills its batches and what it can serve."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from policies.functions import PolicyError
from policies.routing.batching import DeadlineBatching
from policies.slots import FunctionView, InstanceView


@dataclass(frozen=True, slots=True)
class AlphaDispatcher(DeadlineBatching):
    """INFless's dispatcher (ASPLOS 2022): loads instances so that batches fill in time, and idles the rest.

    An instance serves up to r_up = batch / t_exec, and its batches fill in time from
    r_low = batch / (SLO - t_exec); from 1 request/s where the batch is 1. With R the last second's rate, and
    Rmax and Rmin the sums of r_up and r_low:

    - R > Rmax: every instance gets r_up, what is left over waits for new instances;
    - R >= alpha (Rmax - Rmin) + Rmin: each gets r_up - (r_up - r_low) (Rmax - R) / (Rmax - Rmin), R together;
    - below: the newest are idled, until the second case holds for the others. Where no number of them will
      do, it is tried with the next alpha, and in the end as few as can serve R get r_low at the least.

    Only instances that are ready count, unless none is. Which ones are idled, and what happens after the last
    alpha, is ours to say: the newest are also those that scaling in takes first.

    Attributes
    ----------
    alphas
        .8, then .4 and .2 (TankLabTJU/INFless @8940934).
    """

    adapts: bool = True
    alphas: tuple[float, ...] = (0.8, 0.4, 0.2)

    def __post_init__(self) -> None:
        if not self.alphas or not all(0.0 <= alpha <= 1.0 for alpha in self.alphas):
            raise PolicyError(f"alphas: found {list(self.alphas)}, allowed are one or more numbers in [0, 1]")

    def weights(self, function: FunctionView) -> tuple[float, ...]:
        """Divide the last second's rate, taken as at least one request."""
        live = function.instances
        serving = [place for place, one in enumerate(live) if one.ready] or list(range(len(live)))
        bounds = [_bounds_rps(live[place], function.slo_s) for place in serving]
        rates = [0.0] * len(live)
        given = self._divide(max(1.0, float(function.last_rate)), bounds)
        for place, rate in zip(serving, given, strict=False):
            rates[place] = rate
        return tuple(rates)

    def _divide(self, rate_rps: float, bounds: list[tuple[float, float]]) -> list[float]:
        """Return the rates of the oldest instances; the others idle."""
        most = list(accumulate(high for _, high in bounds))
        least = list(accumulate(low for low, _ in bounds))
        if not bounds or rate_rps > most[-1]:
            return [high for _, high in bounds]
        for alpha in self.alphas:
            for count in range(len(bounds), 0, -1):
                low, high = least[count - 1], most[count - 1]
                if alpha * (high - low) + low <= rate_rps <= high:
                    return _between(rate_rps, bounds[:count], low, high)
        count = next(count for count, high in enumerate(most, start=1) if high >= rate_rps)
        return _between(max(rate_rps, least[count - 1]), bounds[:count], least[count - 1], most[count - 1])


def _bounds_rps(instance: InstanceView, slo_s: float) -> tuple[float, float]:
    """Return r_low and r_up; an instance too slow for the SLO never waits, so that its bounds coincide."""
    most_rps = instance.batch / instance.service_s
    if instance.batch == 1:
        return min(1.0, most_rps), most_rps
    spare_s = slo_s - instance.service_s
    least_rps = instance.batch / spare_s if spare_s > 0.0 else most_rps
    return min(least_rps, most_rps), most_rps


def _between(rate_rps: float, bounds: list[tuple[float, float]], least: float, most: float) -> list[float]:
    """Lower every rate from r_up towards r_low by the same part, so that they sum to the rate."""
    part = (most - rate_rps) / (most - least) if most > least else 0.0
    return [high - (high - low) * part for low, high in bounds]
