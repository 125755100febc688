"""FaST-GShare's packing of rectangles: a GPU is a unit square of time quota by SMs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from policies.functions import PolicyError
from policies.placement.fit import feasible, first_fit_gang, whole_shards
from policies.slots import ClusterView, PlacementRequest, Shard

CELLS = 1_000_000
"""Cells a side of the grid on which rectangles are compared: binary fractions would leave slivers."""

_Edges = tuple[int, int, int, int]
"""Left, bottom, right and top of a rectangle, in cells."""


class Rectangle(NamedTuple):
    """A part of a GPU: `width` of its time from `time`, on `height` of its SMs from `sm`."""

    time: float
    sm: float
    width: float
    height: float


class _Fit(NamedTuple):
    """Where an instance could sit on a GPU; a lower score is tighter."""

    score: tuple[int, int]
    seat: Rectangle


@dataclass(frozen=True, slots=True)
class RectanglePlacement:
    """FaST-GShare: pack instances as rectangles of time quota by SM partition, tightest free one first.

    An instance is as wide as its time quota, request / limit, and as high as its SM partition, the limit, so
    that its area is its request (Gu et al., FaST-GShare, ICPP 2023: quota x SMs sum to at most 1, and memory
    must fit). Free space is a set of maximal free rectangles. They follow from what occupies the GPU, so that
    one which an instance has left needs no restructuring. Rectangles are not turned: time is no SM.

    Active GPUs come first, then the first fresh one. A training job takes the first node with room for all
    its workers, active GPUs first: FaST-GShare places no training, Dilu's FaST-GS+ does (Dilu, ASPLOS 2025,
    section 5.1) and does not say how.

    Attributes
    ----------
    rule
        Which free rectangle: `best-area`, the smallest, ties by the shorter side left over; or
        `best-short-side`, the least left over on the shorter side, ties by the longer one. That FaST-GShare
        takes the best area is recalled.
    compared
        How many GPUs with room are compared, the fullest first. Assumed: it bounds the time of a decision.
    """

    rule: Literal["best-area", "best-short-side"] = "best-area"
    compared: int = 16
    splits_llm: bool = False

    def __post_init__(self) -> None:
        if self.rule not in ("best-area", "best-short-side"):
            raise PolicyError(f"rule: found {self.rule!r}, allowed are best-area, best-short-side")
        if self.compared < 1:
            raise PolicyError(f"compared: found {self.compared}, allowed are integers from 1")

    def place(self, request: PlacementRequest, cluster: ClusterView) -> tuple[Shard, ...] | None:
        """Take the tightest free rectangle of the fullest active GPUs; else the corner of a fresh GPU."""
        width, height = _cells(request.request / request.limit), _cells(request.limit)
        fits = feasible(request, cluster, max_request=1.0, max_limit=float("inf"))
        active, fresh = np.flatnonzero(fits & (cluster.residents > 0)), fits & (cluster.residents == 0)
        found: dict[int, _Fit] = {}
        enough = self.compared if request.gpus == 1 else len(active)
        for gpu in active[np.argsort(-cluster.request[active], kind="stable")].tolist():
            if len(found) == enough:
                break
            fit = self._fit(cluster, gpu, width, height)
            if fit is not None:
                found[gpu] = fit
        if request.gpus > 1:
            room = np.zeros(len(fits), dtype=np.bool_)
            room[list(found)] = True
            shards = first_fit_gang(request, cluster, room, fresh)
        elif found:
            shards = whole_shards(request, [min(found, key=lambda gpu: found[gpu].score)])
        elif fresh.any():
            shards = whole_shards(request, [int(np.argmax(fresh))])
        else:
            return None
        if shards is None:
            return None
        corner = _rectangle((0, 0, width, height))
        return tuple(s._replace(seat=found[s.gpu].seat if s.gpu in found else corner) for s in shards)

    def _fit(self, cluster: ClusterView, gpu: int, width: int, height: int) -> _Fit | None:
        """Return the best seat on a GPU; residents that have no rectangle count by their request alone."""
        seats = (shard.seat for shard in cluster.shards(gpu))
        best: tuple[tuple[int, int], _Edges] | None = None
        for edges in _free(tuple(seat for seat in seats if isinstance(seat, Rectangle))):
            left, bottom, right, top = edges
            short, long = sorted((right - left - width, top - bottom - height))
            if short < 0:
                continue
            area = (right - left) * (top - bottom)
            score = (area, short) if self.rule == "best-area" else (short, long)
            if best is None or score < best[0]:
                best = score, edges
        if best is None:
            return None
        score, (left, bottom, _, _) = best
        return _Fit(score, _rectangle((left, bottom, left + width, bottom + height)))


def free_rectangles(occupied: tuple[Rectangle, ...]) -> tuple[Rectangle, ...]:
    """Return every maximal rectangle of the unit square that meets none of `occupied`.

    Edges are taken to the millionth.
    """
    return tuple(_rectangle(edges) for edges in _free(occupied))


@lru_cache(maxsize=65_536)
def _free(occupied: tuple[Rectangle, ...]) -> tuple[_Edges, ...]:
    """Split what each occupied rectangle meets into what lies left, right, below and above; keep the largest.

    A part may be maximal on more than one side, and then the parts overlap: they are alternatives.
    """
    free: list[_Edges] = [(0, 0, CELLS, CELLS)]
    for rectangle in occupied:
        left, bottom = round(rectangle.time * CELLS), round(rectangle.sm * CELLS)
        right = round((rectangle.time + rectangle.width) * CELLS)
        top = round((rectangle.sm + rectangle.height) * CELLS)
        parts: dict[_Edges, None] = {}  # an ordered set
        for x0, y0, x1, y1 in free:
            if right <= x0 or left >= x1 or top <= y0 or bottom >= y1:
                parts[x0, y0, x1, y1] = None
                continue
            beside = (x0, y0, left, y1), (right, y0, x1, y1), (x0, y0, x1, bottom), (x0, top, x1, y1)
            parts |= dict.fromkeys(part for part in beside if part[0] < part[2] and part[1] < part[3])
        free = [part for part in parts if not any(_inside(part, other) for other in parts)]
    return tuple(free)


def _inside(inner: _Edges, outer: _Edges) -> bool:
    """Whether a rectangle is part of another one."""
    return (
        inner != outer
        and inner[0] >= outer[0]
        and inner[1] >= outer[1]
        and inner[2] <= outer[2]
        and inner[3] <= outer[3]
    )


def _cells(share: float) -> int:
    """Round down, so that three thirds fit, but not for what binary fractions take off."""
    return max(1, int(share * CELLS + 1e-3))


def _rectangle(edges: _Edges) -> Rectangle:
    left, bottom, right, top = edges
    return Rectangle(left / CELLS, bottom / CELLS, (right - left) / CELLS, (top - bottom) / CELLS)
