"""Keep-alive as caching: instances stay until their memory is needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from policies.functions import PolicyError
from policies.slots import FunctionView

MIB = 2**20

Rank = Literal["greedy-dual", "lru", "frequency", "size"]


@dataclass(frozen=True, slots=True)
class GreedyDual:
    """FaasCache's greedy-dual (Fuerst and Sharma, ASPLOS 2021): idle instances stay until others need room.

    priority = clock + frequency * cost / size: requests so far, seconds of a cold start, MiB of device
    memory. FaasCache counts the requests of the function's present containers, here all so far count.

    Attributes
    ----------
    rank
        `greedy-dual`, or what FaasCache compares it with: `lru` (the latest request), `frequency` (requests),
        `size` (the largest goes first).
    """

    rank: Rank = "greedy-dual"

    def __post_init__(self) -> None:
        if self.rank not in get_args(Rank):
            raise PolicyError(f"rank: found {self.rank!r}, allowed are {', '.join(get_args(Rank))}")

    def idle_timeout_s(self, function: FunctionView) -> float:
        """Keep for ever."""
        return math.inf

    def keep_priority(self, function: FunctionView, clock: float) -> float:
        """Rank the function's idle instances; they are worth the same."""
        if self.rank == "lru":
            return function.last_arrival_s
        if self.rank == "frequency":
            return float(function.arrived)
        size_mib = function.memory_bytes / MIB
        if self.rank == "size":
            return 1.0 / size_mib
        return clock + function.arrived * function.cold_start_s / size_mib
