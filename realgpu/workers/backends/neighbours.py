"""Who else is active on the GPUs of an instance, and on which terms it runs beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from profiles import InterferenceModel
from profiles.contention import LEAST_SHARE, Terms, contention
from profiles.sharing import Sharing
from realgpu.board import SEAT
from realgpu.errors import RealGpuError
from realgpu.workers.backends.progress import Place
from realgpu.workers.seats import Seats

_PAUSED: Final = Terms(0.0, 0.0)

# What the law depends on are the fields up to `active`; what workers count after it changes all the time.
_LAWFUL: Final = np.dtype(SEAT.descr[: SEAT.names.index("active") + 1] if SEAT.names else [])


@dataclass(slots=True)
class Sharer:
    """A row of the board (a `profiles.contention.Sharer`)."""

    slo_sensitive: bool
    request: float
    limit: float
    quota: float
    part: float
    wave_s: float
    model: str
    batch: int


class Neighbourhood:
    """The board as an instance sees it that is active itself.

    Parameters
    ----------
    models
        Names of models by their numbers on the board.
    """

    def __init__(
        self, seats: Seats, sharing: Sharing, interference: InterferenceModel | None, models: Sequence[str]
    ) -> None:
        self._seats = seats
        self._sharing = sharing
        self._interference = interference
        self._models = models
        self._seen = b""
        self._places: tuple[Place, ...] = ()

    def places(self) -> tuple[Place, ...]:
        """Return the present terms on each of its GPUs; they are worked out when the board has changed.

        A resident without a quota makes no progress, and launches nothing that others could feel.

        Raises
        ------
        RealGpuError
            If the board has a model that nobody told us of.
        """
        board = self._seats.board.seats
        seen = board.view(np.uint8).reshape(len(board), SEAT.itemsize)[:, : _LAWFUL.itemsize].tobytes()
        if seen != self._seen:
            rows = np.frombuffer(seen, _LAWFUL)
            launching = (rows["taken"] != 0) & (rows["active"] != 0) & (rows["quota"] >= LEAST_SHARE)
            self._places = tuple(self._place(rows, row, launching) for row in self._seats.rows)
            self._seen = seen
        return self._places

    def _place(self, rows: Any, own: int, launching: Any) -> Place:
        """Return the terms of one of its rows among those that launch on the same GPU."""
        part = float(rows["part"][own])
        if rows["quota"][own] < LEAST_SHARE:
            return Place(part, _PAUSED)
        others = np.flatnonzero(launching & (rows["gpu"] == rows["gpu"][own]))
        active = [own, *(int(other) for other in others if other != own)]
        _, terms = contention([self._sharer(rows[row]) for row in active], self._sharing, self._interference)
        return Place(part, terms[0])

    def _sharer(self, row: Any) -> Sharer:
        number = int(row["model"])
        if not 0 <= number < len(self._models):
            raise RealGpuError(f"board: model: found {number}, allowed are 0 to {len(self._models) - 1}")
        return Sharer(
            slo_sensitive=bool(row["slo_sensitive"]),
            request=float(row["request"]),
            limit=float(row["limit"]),
            quota=float(row["quota"]),
            part=float(row["part"]),
            wave_s=float(row["wave_s"]),
            model=self._models[number],
            batch=int(row["batch"]),
        )
