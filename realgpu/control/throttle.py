"""How a quota takes effect beyond the board: the rates of launch gates."""

from __future__ import annotations

from typing import Protocol

from realgpu.gate import CostModel, GateFile, Mode


class Throttle(Protocol):
    """Holds workers to their quotas; all calls come from the controller's process."""

    def sit_down(self, row: int, cost_per_s: float) -> None:
        """Take note of who sits in a row of the board, and what it costs in a second on the whole GPU."""

    def apply(self, row: int, quota: float) -> None:
        """Hold the worker of a row to a quota; rows where nobody sat down are none of its business."""

    def stand_up(self, row: int) -> None:
        """Let the worker of a row go."""

    def beat(self, now_ns: int) -> None:
        """Say that the controller lives, and pass on what `apply` changed since; called on every tick."""


class GateRates:
    """Writes rates into the file that launch gates read; slot `i` is row `i` of the board.

    A quota `q` is the rate ``q C``, with C the cost a second that the worker has alone on the whole GPU; the
    whole GPU is no hold, whatever was measured. A bucket holds what the rate earns in `burst_s`. An instance
    on several GPUs is one process with one gate, and held to the quota on the first of them. Nobody is held
    before it sits down: starting up is free. Between that and its first quota nothing passes.
    """

    def __init__(self, file: GateFile, burst_s: float, cost_model: CostModel = CostModel.BLOCKS) -> None:
        self._file = file
        self._burst_s = burst_s
        self._cost_model = cost_model
        self._cost_per_s: dict[int, float] = {}
        self._changed = False

    def sit_down(self, row: int, cost_per_s: float) -> None:
        """Take note of a worker's capacity, and have its gate enforce rates."""
        self._cost_per_s[row] = cost_per_s
        self._file.slots[row].set_rate(0.0, 0.0)
        self._file.slots[row].set_mode(Mode.ENFORCE, self._cost_model)

    def apply(self, row: int, quota: float) -> None:
        """Store the rate; a worker whose capacity is not known is not held back."""
        capacity = self._cost_per_s.get(row)
        if capacity is not None:
            rate = quota * capacity
            self._file.slots[row].set_rate(rate if quota < 1.0 else None, rate * self._burst_s)
            self._changed = True

    def stand_up(self, row: int) -> None:
        """Open the gate."""
        if self._cost_per_s.pop(row, None) is not None:
            self._file.slots[row].set_rate(None, 0.0)
            self._file.slots[row].set_mode(Mode.OFF, self._cost_model)
            self._changed = True

    def beat(self, now_ns: int) -> None:
        """Store the heartbeat, and wake whoever waits if rates have changed."""
        self._file.beat(now_ns)
        if self._changed:
            self._file.announce()
            self._changed = False
