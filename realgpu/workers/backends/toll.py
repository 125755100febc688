"""What work on a CPU costs, and who makes it wait: a tariff that is learned alone, and the gate that is paid.

The cost of a piece of work is the CPU time it took when it ran alone, in nanoseconds. It is not the CPU time
that it takes now: a core that has just slept has cold caches, and a throttled instance would pay for them
again and again, several times what it costs at full speed.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Hashable, Mapping
from typing import Final

from realgpu.gate import Gate

COST_PER_S: Final = 1_000_000_000
"""Cost that a core gets done in a second."""

QUANTUM_NS: Final = 1_000_000
"""Work that owes less lets the next pay, and what owes more is paid in parts of it. Assumed: some waits a
batch, each long beside a wake-up, and at a hundredth of the core short beside the deadline of a gate."""

LEAST_COST: Final = 1
"""The least that a gate charges."""

Piece = tuple[Hashable, int]
"""A piece of work, and its size."""


class Tariff:
    """CPU time of each piece of work by its size: as in the fastest lesson, and on lines between sizes.

    All pieces of a lesson count together. The shortest time of each for itself would add up to a batch that
    no core was ever seen to do so fast.
    """

    def __init__(self) -> None:
        self._seen: dict[Hashable, dict[int, int]] = {}
        self._fastest_ns: dict[Hashable, int] = {}

    def learn(self, lesson: Hashable, took_ns: Mapping[Piece, int]) -> bool:
        """Take note of how long the pieces of a lesson took; whether none of its name was as fast before."""
        whole_ns = sum(took_ns.values())
        if whole_ns >= self._fastest_ns.get(lesson, whole_ns + 1):
            return False
        self._fastest_ns[lesson] = whole_ns
        for (piece, size), cpu_ns in took_ns.items():
            self._seen.setdefault(piece, {})[size] = cpu_ns
        return True

    def cost(self, piece: Hashable, size: int) -> int:
        """Return what it costs: as seen, or on the line through the two sizes next to it that were seen.

        What was never seen is free; with one size, cost is proportional to size.
        """
        sizes = self._seen.get(piece, {})
        if size in sizes:
            return sizes[size]
        if not sizes:
            return 0
        known = sorted(sizes)
        if len(known) == 1:
            (only,) = known
            return sizes[only] * size // only if only else sizes[only]
        right = min(max(bisect_left(known, size), 1), len(known) - 1)
        low, high = known[right - 1], known[right]
        slope = (sizes[high] - sizes[low]) / (high - low)
        return max(0, round(sizes[low] + slope * (size - low)))


class Toll:
    """Told of each piece of work when it is done, in one process; learns without a gate, else charges it."""

    def __init__(self) -> None:
        self._tariff = Tariff()
        self._gate: Gate | None = None
        self._owed = 0
        self._paid = False
        self._since_ns = 0
        self._took_ns: dict[Piece, int] = {}

    def put_up(self, gate: Gate) -> None:
        """Charge this gate from now on."""
        self._gate = gate

    def begin(self) -> None:
        """Say that work begins of which to learn the cost."""
        self._took_ns.clear()
        self._since_ns = time.process_time_ns()

    def learnt(self, lesson: Hashable) -> bool:
        """Say that it has ended; return whether it was faster than all lessons of this name before."""
        return self._tariff.learn(lesson, self._took_ns)

    def done(self, piece: Hashable, size: int = 0) -> None:
        """Say that a piece is done; it is paid for here, if enough is owed."""
        if self._gate is None:
            now_ns = time.process_time_ns()
            took_ns = now_ns - self._since_ns
            self._took_ns[piece, size] = min(took_ns, self._took_ns.get((piece, size), took_ns))
            self._since_ns = now_ns
            return
        self._owed += self._tariff.cost(piece, size)
        if self._owed >= QUANTUM_NS:
            self._pay(self._gate)

    def settle(self) -> None:
        """Pay what is owed, and wait until all of it is earned: work ends when it is paid for."""
        if self._gate is None:
            return
        self._pay(self._gate)
        if self._paid:
            self._gate.charge(LEAST_COST)  # it passes when all that was charged before it is earned
            self._paid = False

    def _pay(self, gate: Gate) -> None:
        """Pay what is owed, in parts for each of which the gate makes wait."""
        while self._owed:
            part = min(self._owed, QUANTUM_NS)
            gate.charge(part)
            self._owed -= part
            self._paid = True
