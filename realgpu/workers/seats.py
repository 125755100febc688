"""An instance's rows on the board, as its worker writes and reads them."""

from __future__ import annotations

from collections.abc import Sequence

from realgpu.board import Board
from realgpu.errors import RealGpuError


class Seats:
    """The rows of one instance.

    Raises
    ------
    RealGpuError
        If the board has no such row, or somebody else sits there.
    """

    def __init__(self, board: Board, rows: Sequence[int]) -> None:
        for row in rows:
            if not 0 <= row < len(board.seats):
                raise RealGpuError(f"begin: seats: found {row}, allowed are 0 to {len(board.seats) - 1}")
            if not board.seats["taken"][row]:
                raise RealGpuError(f"begin: seats: found {row}, but nobody has taken that seat")
        self.board = board
        self.rows = list(rows)
        self._cycles = 0

    def wake(self) -> None:
        """Say that it launches work."""
        self.board.seats["active"][self.rows] = 1

    def rest(self, at_ns: int) -> None:
        """Say that it has launched nothing since `at_ns`."""
        self.board.seats["last_active_ns"][self.rows] = at_ns
        self.board.seats["active"][self.rows] = 0

    def cycle(self, seconds: float, batch: int) -> None:
        """Say that a cycle is complete."""
        self._cycles += 1
        self.board.seats["cycle_s"][self.rows] = seconds
        self.board.seats["cycle_batch"][self.rows] = batch
        self.board.seats["cycles"][self.rows] = self._cycles

    def steps(self, steps: float) -> None:
        """Say how far training has come."""
        self.board.seats["steps"][self.rows] = steps

    def least_quota(self) -> float:
        """Return the smallest of its quotas: an instance on several GPUs waits for the slowest."""
        return float(self.board.seats["quota"][self.rows].min())
