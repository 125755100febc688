"""Controllers of named systems with some policies replaced by ones of plain answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hand_made import cluster

from policies import (
    Cluster,
    Controller,
    Deployment,
    Function,
    PlacementRequest,
    Poll,
    Retire,
    Scaling,
    Shard,
    Size,
    find_system,
)
from policies.slots import ClusterView, FunctionView
from policies.still_views import StillFunction

SIZE = Size(4, 0.3, 0.6)
INF = float("inf")


def controls(
    *functions: Function, name: str = "dilu", on: Cluster | None = None, **policies: Any
) -> Controller:
    """Return the controller of a named system, some of its policies replaced."""
    system = replace(find_system(name), **policies)
    arrivals = (np.zeros(0),) * len(functions)
    return Controller(
        system, Deployment(on or cluster(), functions, arrivals, (None,) * len(functions), 60.0)
    )


@dataclass(frozen=True)
class Wants:
    """Horizontal scaling to a fixed number."""

    target: int

    def scale(self, function: FunctionView) -> Scaling:
        """Return the number, with a band of its own."""
        return Scaling(self.target, above=7.0, below=3.0)


@dataclass(frozen=True)
class Says:
    """Horizontal scaling with a fixed answer."""

    scaling: Scaling

    def scale(self, function: FunctionView) -> Scaling:
        """Return the answer."""
        return self.scaling


@dataclass(frozen=True)
class Stays:
    """Horizontal scaling that leaves the instances as they are."""

    def scale(self, function: FunctionView) -> Scaling:
        """Return their number, with a band of its own."""
        return Scaling(function.live, above=7.0, below=3.0)


def decide(
    controller: Controller, *, live: int, least: int = 1, now_s: int = 100, idle: Any = ()
) -> tuple[Poll, list[int]]:
    """Poll function 0 and return the outcome and the instances that it retires."""
    view = StillFunction((0,) * now_s, live=live, min_instances=least)
    poll = controller.poll(0, view, list(idle))
    return poll, [action.instance for action in poll.actions if isinstance(action, Retire)]


@dataclass(frozen=True)
class Fits:
    """The first GPU whose requests leave room; it looks at no choices."""

    splits_llm: bool = False

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...] | None:
        """Return the first fit."""
        return fits(request.request, request.limit, request.memory_bytes, cluster)


def fits(
    request: float, limit: float, memory_bytes: int, cluster: ClusterView, batch: int = 0
) -> tuple[Shard, ...] | None:
    """Return one shard on the first GPU with room for a request."""
    free = np.flatnonzero(cluster.request + request <= 1.0 + 1e-9)
    return (Shard(int(free[0]), request, limit, memory_bytes, batch=batch),) if len(free) else None
