"""INFless's placement, which chooses the size of each instance together with its GPU."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from policies.functions import Choice
from policies.placement.fit import ROUNDING, best, feasible, whole_shards
from policies.placement.static import InflessPlacement
from policies.slots import ClusterView, PlacementRequest, Shard


@dataclass(frozen=True, slots=True)
class InflessChoices:
    """INFless: choose size and GPU together, most throughput a share for the least fragment left behind.

    Of the choices of largest batch that fit somewhere, take the pair of choice and GPU with the greatest
    efficiency (Yang et al., INFless, ASPLOS 2022, greedy scheduling)::

        efficiency = (most_rps / request share) / (share of the GPU that would be left)

    For one choice that is the fullest GPU with room, and a choice that just fills a GPU outweighs all others.
    Fresh GPUs take part like active ones; more would be left of them. INFless divides the numerator by the
    best ratio of the function, which changes no maximum, and weighs CPU cores into resources and fragments;
    here there are only GPUs.

    A launch without choices (training, the first instance of an idle function) goes where `InflessPlacement`
    puts it.

    Attributes
    ----------
    max_request
        Bound on the sum of requests, which are the limits, on a GPU: quotas are never oversubscribed.
    affinity
        For launches without choices, as in `InflessPlacement`.
    """

    max_request: float = 1.0
    affinity: bool = True
    splits_llm: bool = False

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...] | None:
        """Try the batches from the largest down; within one take the most efficient choice and GPU."""
        if not request.choices:
            return InflessPlacement(self.max_request, self.affinity).place(request, cluster)
        for batch in sorted({choice.size.batch for choice in request.choices}, reverse=True):
            group = (choice for choice in request.choices if choice.size.batch == batch)
            found = [fit for choice in group if (fit := self._fit(choice, request, cluster)) is not None]
            if found:
                _, shards = max(found, key=lambda fit: fit[0])
                return shards
        return None

    def _fit(
        self, choice: Choice, request: PlacementRequest, cluster: ClusterView
    ) -> tuple[float, tuple[Shard, ...]] | None:
        """Return the efficiency and the shard of a choice on its best GPU."""
        size = choice.size
        asked = dataclasses.replace(request, request=size.request, limit=size.limit, choices=())
        fits = feasible(asked, cluster, max_request=self.max_request, max_limit=self.max_request)
        gpu = best(fits, -cluster.request)
        if gpu is None:
            return None
        left = max(self.max_request - float(cluster.request[gpu]) - size.request, ROUNDING)
        efficiency = choice.most_rps / size.request / left
        return efficiency, tuple(s._replace(batch=size.batch) for s in whole_shards(asked, [gpu]))
