"""INFless's non-uniform scaling: the instances of one function may differ in size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from policies.functions import Choice, Function, Size
from policies.sizing.growth import Trials, target_s, unreachable
from policies.sizing.rivals import InflessSizing
from profiles import Measure


@dataclass(frozen=True)
class NonUniformSizing(InflessSizing):
    """INFless's sizing (ASPLOS 2022) with every configuration on offer that meets the SLO, for each launch.

    A batch of 1 may execute for the whole SLO, a larger one for half of it, as in `InflessSizing`. A
    configuration serves up to r_up = batch / t_exec, and makes sense from r_low = batch / (SLO - t_exec), or
    from 1 request/s where the batch is 1; r_low is never above r_up. t_exec is the prediction, with its
    margin; for an LLM, whose SLO is per output token, it is that of an answer, and rates are of requests.
    `size` returns the most efficient one.

    A pinned size is the only choice. Pinned too slow for the SLO, it makes sense at r_up alone.
    """

    def choices(self, function: Function, measure: Measure) -> tuple[Choice, ...]:
        """Return every configuration in time, by batch, then share.

        Raises
        ------
        SizingError
            If the function has no SLO, or no configuration meets it.
        """
        trials = Trials(measure)
        tokens = function.output_tokens
        if function.size is not None:
            size = self.reserve(function.size)
            slo_s = math.inf if function.slo_s is None else function.slo_s
            return (_choice(size, self._predicted_s(size, trials) * tokens, slo_s * tokens),)
        slo_s = target_s(function)
        found = []
        for batch, share in product(sorted(self.batches), self.shares):
            if batch > function.model.max_batch:
                continue
            size = self.reserve(Size(batch, share, share))
            predicted_s = self._predicted_s(size, trials)
            if predicted_s <= (slo_s if batch == 1 else slo_s * self.slo_fraction):
                found.append(_choice(size, predicted_s * tokens, slo_s * tokens))
        if not found:
            raise unreachable(function.name, slo_s, trials)
        return tuple(found)

    def _predicted_s(self, size: Size, trials: Trials) -> float:
        return trials.seconds(size.batch, size.request) * (1.0 + self.margin)


def _choice(size: Size, service_s: float, slo_s: float) -> Choice:
    """Add the rates for which a size makes sense; seconds are those of whole answers."""
    most_rps = size.batch / service_s
    spare_s = slo_s - service_s
    fills_rps = size.batch / spare_s if spare_s > 0.0 else math.inf
    least_rps = 1.0 if size.batch == 1 else fills_rps
    return Choice(size, service_s, min(least_rps, most_rps), most_rps)
