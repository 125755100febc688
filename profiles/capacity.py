"""What a launch gate charges for a model's work, and what an LLM's prompt costs."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

from profiles.errors import ProfileError

Amounts = tuple[tuple[int, float], ...]
"""Pairs (batch, amount), in the order of the batches."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a launch gate charges for one batch or step, and how fast that is spent by one that runs alone.

    Attributes
    ----------
    cost_model
        What the gate counts: `blocks`, `launches` or `time` (nanoseconds), as its own cost models are called.
    cost_per_s
        What is spent a second alone on the whole GPU: the rate that a quota of 1 stands for.
    measured
        Cost of one batch at the batches where it was measured; either this or `line`.
    line
        Cost of one batch as ``line[0] + line[1] * batch``.

    Raises
    ------
    ProfileError
        If a value is impossible, or there are not either costs or a line.
    """

    cost_model: str
    cost_per_s: float
    measured: Amounts = ()
    line: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.cost_model.strip():
            raise ProfileError("cost_model: found no text, a cost needs what is counted")
        if not 0.0 < self.cost_per_s < math.inf:
            raise ProfileError(f"cost_per_s: found {self.cost_per_s}, allowed are finite numbers above 0")
        if bool(self.measured) == (self.line is not None):
            raise ProfileError("batch_cost: allowed are either costs by batch or a line")
        check_amounts("batch_cost", self.measured)
        if self.line is not None and not (
            0.0 <= self.line[0] < math.inf and 0.0 <= self.line[1] < math.inf and sum(self.line) > 0.0
        ):
            raise ProfileError(f"line: found {list(self.line)}, allowed are two numbers from 0, one above")

    def batch_cost(self, batch: int) -> float:
        """Return what one batch costs: on the line, or between the two batches measured next to it.

        Outside those that were measured the nearest two are extended, and a single one is proportional.
        """
        if self.line is not None:
            return self.line[0] + self.line[1] * batch
        if len(self.measured) == 1:
            return self.measured[0][1] * batch / self.measured[0][0]
        batches = [measured for measured, _ in self.measured]
        right = min(max(bisect_left(batches, batch), 1), len(batches) - 1)
        (low, low_cost), (high, high_cost) = self.measured[right - 1], self.measured[right]
        return low_cost + (high_cost - low_cost) * (batch - low) / (high - low)


@dataclass(frozen=True, slots=True)
class Prefill:
    """What the prompt of an LLM costs on the whole GPU; measured, and not used by the simulated world yet.

    Attributes
    ----------
    tokens
        Length of the prompts.
    seconds
        Seconds of the prompts of one batch, at the batches where it was measured.

    Raises
    ------
    ProfileError
        If a value is impossible.
    """

    tokens: int
    seconds: Amounts

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ProfileError(f"tokens: found {self.tokens}, allowed are integers from 1")
        if not self.seconds:
            raise ProfileError("prefill: found no seconds, allowed is at least one batch")
        check_amounts("prefill", self.seconds)


def check_amounts(field: str, amounts: Amounts) -> None:
    """Raise `ProfileError` unless batches rise from 1 and amounts are finite and above 0."""
    batches = [batch for batch, _ in amounts]
    if batches != sorted(set(batches)) or (batches and batches[0] < 1):
        raise ProfileError(
            f"{field}: found batches {batches}, allowed are different integers from 1 that rise"
        )
    for batch, amount in amounts:
        if not 0.0 < amount < math.inf:
            raise ProfileError(f"{field}: batch {batch}: found {amount}, allowed are finite numbers above 0")
