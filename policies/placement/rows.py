"""HAS-GPU's aligned rows: the instances of a row share one SM partition and divide its time."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from policies.functions import PolicyError
from policies.placement.fit import ROUNDING, feasible, first_fit_gang, whole_shards
from policies.slots import ClusterView, PlacementRequest, Shard


class _Seat(NamedTuple):
    """The row of a GPU that an instance would join, or open."""

    row: Hashable
    width: float
    opens: bool


@dataclass(frozen=True, slots=True)
class AlignedRows:
    """HAS-GPU: at most two SM partitions a GPU, whose instances divide their time; least occupied GPU first.

    A GPU has rows, MPS partitions whose SMs sum to at most 1. An instance opens a row as wide as its limit,
    rounded up to the SM step, or joins one that is at least so wide; its time quota is request / row width,
    and the quotas of a row sum to at most 1 (HAS-GPU, Euro-Par 2025, and its code: "SM alignment"). The HGO
    of a GPU is the sum of SMs x quota over its instances, which is the sum of their requests.

    Used GPUs are tried by ascending HGO: all for a row with room, of which the narrowest, then all for a new
    row. Then comes the first fresh GPU. A shard's limit is the width of its row, and its seat the row's
    number. The quotas are those of arrival: what vertical scaling makes of them later is not seen here.
    HAS-GPU falls back on the least occupied GPU when nothing has room; here that is a refusal. It places no
    training; here a job takes the first node with room for all its workers, used GPUs first.

    Attributes
    ----------
    rows, sm_step, hgo_threshold
        2 rows, 20 % of the SMs, and no newcomer on a GPU whose HGO is .95: constants of HAS-GPU's code.
    """

    rows: int = 2
    sm_step: float = 0.2
    hgo_threshold: float = 0.95
    splits_llm: bool = False

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise PolicyError(f"rows: found {self.rows}, allowed are integers from 1")
        if not 0.0 < self.sm_step <= 1.0:
            raise PolicyError(f"sm_step: found {self.sm_step}, allowed is 0 < sm_step <= 1")
        if not self.hgo_threshold > 0.0:
            raise PolicyError(f"hgo_threshold: found {self.hgo_threshold}, allowed are shares above 0")

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...] | None:
        """Join a row, else open one on a used GPU, else on a fresh one."""
        fits = feasible(request, cluster, max_request=1.0, max_limit=float("inf"))
        below = (cluster.residents > 0) & (cluster.request < self.hgo_threshold)
        used, fresh = np.flatnonzero(fits & below), fits & (cluster.residents == 0)
        new = _Seat(0, self._width(request.limit), opens=True)
        found: dict[int, _Seat] = {}
        for gpu in used[np.argsort(cluster.request[used], kind="stable")].tolist():
            seat = self._seat(request.request, new.width, cluster.shards(gpu))
            if seat is not None:
                found[gpu] = seat
                if not seat.opens and request.gpus == 1:
                    return _seated(whole_shards(request, [gpu]), found, new)
        if request.gpus == 1:
            gpus = [*found, *np.flatnonzero(fresh)[:1].tolist()]
            return _seated(whole_shards(request, gpus[:1]), found, new) if gpus else None
        room = np.zeros(len(fits), dtype=np.bool_)
        room[list(found)] = True
        shards = first_fit_gang(request, cluster, room, fresh)
        return None if shards is None else _seated(shards, found, new)

    def _width(self, limit: float) -> float:
        return min(1.0, round(math.ceil(limit / self.sm_step - ROUNDING) * self.sm_step, 9))

    def _seat(self, request: float, width: float, shards: Sequence[Shard]) -> _Seat | None:
        """Return the narrowest row with room, else a new one, if the GPU may have one more."""
        widths = {shard.seat: shard.limit for shard in shards}
        quotas = dict.fromkeys(widths, 0.0)
        for shard in shards:
            quotas[shard.seat] += shard.request / shard.limit
        joined = [
            _Seat(row, wide, opens=False)
            for row, wide in widths.items()
            if wide >= width - ROUNDING and quotas[row] + request / wide <= 1.0 + ROUNDING
        ]
        if joined:
            return min(joined, key=lambda seat: seat.width)
        if len(widths) < self.rows and sum(widths.values()) + width <= 1.0 + ROUNDING:
            return _Seat(next(row for row in range(self.rows) if row not in widths), width, opens=True)
        return None


def _seated(shards: tuple[Shard, ...], found: dict[int, _Seat], new: _Seat) -> tuple[Shard, ...]:
    """Seat each shard where its GPU has room, on a fresh GPU in a `new` row."""
    seats = (found.get(shard.gpu, new) for shard in shards)
    return tuple(
        shard._replace(limit=seat.width, seat=seat.row) for shard, seat in zip(shards, seats, strict=True)
    )
