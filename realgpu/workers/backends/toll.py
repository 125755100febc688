"""What work on a CPU costs, and who makes it wait: a tariff that is learned alone, and the gate that is paid.

The cost of a piece of work is the CPU time it took when it ran alone, in nanoseconds. It is not the CPU time
that it takes now: a core that has just slept has cold caches, and a throttled instance would pay for them
again and again, several times what it costs at full speed.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import Final

from realgpu.gate import Gate

COST_PER_S: Final = 1_000_000_000
"""Cost that a core gets done in a second."""

QUANTUM_NS: Final = 1_000_000
"""Work that owes less lets the next pay. Assumed: some waits a batch, each long beside a wake-up."""


class Tariff:
    """CPU time of each piece of work by its size: the shortest seen, and a line between sizes."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, dict[int, int]] = {}

    def learn(self, piece: Hashable, size: int, cpu_ns: int) -> None:
        """Take note that a piece of work of this size took so long."""
        sizes = self._seen.setdefault(piece, {})
        sizes[size] = min(cpu_ns, sizes.get(size, cpu_ns))

    def cost(self, piece: Hashable, size: int) -> int:
        """Return what it costs: as seen, or on the line through the smallest and the largest size seen.

        What was never seen is free; with one size, cost is proportional to size.
        """
        sizes = self._seen.get(piece, {})
        if size in sizes:
            return sizes[size]
        if not sizes:
            return 0
        low, high = min(sizes), max(sizes)
        if low == high:
            return sizes[low] * size // low if low else sizes[low]
        slope = (sizes[high] - sizes[low]) / (high - low)
        return max(0, round(sizes[low] + slope * (size - low)))


class Toll:
    """Told of each piece of work when it is done, in one process; learns without a gate, else charges it."""

    def __init__(self) -> None:
        self._tariff = Tariff()
        self._gate: Gate | None = None
        self._owed = 0
        self._since_ns = 0

    def put_up(self, gate: Gate) -> None:
        """Charge this gate from now on."""
        self._gate = gate

    def begin(self) -> None:
        """Say that work begins of which to learn the cost."""
        self._since_ns = time.process_time_ns()

    def done(self, piece: Hashable, size: int = 0) -> None:
        """Say that a piece is done; it is paid for here, if enough is owed."""
        if self._gate is None:
            now_ns = time.process_time_ns()
            self._tariff.learn(piece, size, now_ns - self._since_ns)
            self._since_ns = now_ns
            return
        self._owed += self._tariff.cost(piece, size)
        if self._owed >= QUANTUM_NS:
            self.settle()

    def settle(self) -> None:
        """Pay what is owed, and wait until the gate lets on."""
        if self._gate is not None and self._owed:
            self._gate.charge(self._owed)
            self._owed = 0
