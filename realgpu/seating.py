"""Which rows of the board are whose."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np

from policies import Function, Launch
from realgpu.board import Board
from realgpu.errors import RealGpuError

SEATS_PER_GPU: Final = 48
"""Client contexts that MPS allows on a device (NVIDIA, Multi-Process Service, r555 edition)."""


class Seating:
    """Gives rows to instances that are launched, and takes them back.

    Parameters
    ----------
    models
        Names of models, by the numbers that the board has for them.
    """

    def __init__(self, board: Board, models: Sequence[str]) -> None:
        self._board = board
        self._models = {name: number for number, name in enumerate(models)}
        # First in, first out: whoever still looks at a row that was given back finds nobody there.
        self._free = deque(range(len(board.seats)))

    def take(self, launch: Launch, function: Function) -> tuple[int, ...]:
        """Return a row for each shard of a launch, filled in.

        Raises
        ------
        RealGpuError
            If there are not as many.
        """
        if len(launch.shards) > len(self._free):
            raise RealGpuError(
                f"instance {launch.instance} ({function.name}): finds no seat; "
                f"allowed are {SEATS_PER_GPU} processes a GPU"
            )
        training = function.model.training if function.kind == "training" else None
        rows = []
        for shard in launch.shards:
            row = self._free.popleft()
            seat = self._board.seats[row : row + 1]
            seat[:] = np.zeros(1, seat.dtype)
            seat["instance"] = launch.instance
            seat["gpu"] = shard.gpu
            seat["slo_sensitive"] = function.kind != "training"
            seat["is_llm"] = function.kind == "llm"
            seat["request"] = shard.request
            seat["limit"] = shard.limit
            seat["part"] = 1.0 if training is not None else shard.part
            seat["wave_s"] = function.model.wave_s if training is None else training.wave_s
            seat["model"] = self._models[function.model.name]
            seat["batch"] = launch.size.batch
            seat["taken"] = 1
            rows.append(row)
        return tuple(rows)

    def give_back(self, rows: Sequence[int]) -> None:
        """Take rows back."""
        for row in rows:
            self._board.seats["taken"][row] = 0
            self._free.append(row)
