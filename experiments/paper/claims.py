"""What the paper says, what we find, and how the two compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

Stated = Literal["text", "table", "bars", "derived"]
"""How the paper gives a value: `bars` are read off a figure, `derived` follows from values it gives."""

Verdict = Literal["agrees", "same direction", "disagrees"]

CONFIDENCE = 0.95
"""Of every interval."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One value of the paper, or the direction of an effect.

    Attributes
    ----------
    what
        What was measured, in words.
    where
        The place in the paper.
    unit
        Of the value; `ratio` for one number over another.
    paper
        The value, or the least and the largest of a range; `None` where only a direction is claimed.
    neutral
        The value that means no effect; where it is given, the paper's effect has a direction.
    direction
        `above` or `below` neutral, where the value does not say so itself.
    tolerance
        Largest difference that counts as agreement, relative to the paper's value.
    margin
        The same, absolute, in `unit`; the larger of both counts.
    """

    what: str
    where: str
    unit: str
    stated: Stated
    paper: float | tuple[float, float] | None = None
    neutral: float | None = None
    direction: Literal["above", "below"] | None = None
    tolerance: float = 0.1
    margin: float = 0.0

    def __post_init__(self) -> None:
        if self.paper is None and (self.neutral is None or self.direction is None):
            raise ValueError(f"{self.what}: a claim has a value, or a neutral one and a direction")

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The least and the largest value that the paper gives."""
        if self.paper is None or isinstance(self.paper, tuple):
            return self.paper
        return self.paper, self.paper

    @property
    def side(self) -> float:
        """1 where the effect is above neutral, -1 below, 0 if there is none or no neutral value."""
        if self.direction is not None:
            return 1.0 if self.direction == "above" else -1.0
        if self.neutral is None or self.bounds is None:
            return 0.0
        return float(np.sign(sum(self.bounds) / 2 - self.neutral))


@dataclass(frozen=True, slots=True)
class Finding:
    """What we find: one value a seed, or a single one where nothing is random."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values or not all(math.isfinite(value) for value in self.values):
            raise ValueError(f"found {self.values}, allowed are finite values, one at least")

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return float(np.mean(self.values))

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval that holds the expected mean with 95 % confidence (Student's t); `None` of one."""
        count = len(self.values)
        if count < 2:
            return None
        error = float(np.std(self.values, ddof=1)) / math.sqrt(count)
        half = error * float(stats.t.ppf((1.0 + CONFIDENCE) / 2.0, count - 1))
        return self.mean - half, self.mean + half


@dataclass(frozen=True, slots=True)
class Row:
    """A claim beside our finding; `why` is one honest sentence where they differ."""

    claim: Claim
    finding: Finding
    why: str = ""

    @property
    def verdict(self) -> Verdict:
        """`agrees` within the claim's tolerance; else whether the effect has at least the same direction.

        An effect has a direction if its interval, or its single value, is all on one side of neutral.
        """
        claim, mean = self.claim, self.finding.mean
        low, high = self.finding.interval or (mean, mean)
        if claim.bounds is not None:
            slack = max(claim.margin, claim.tolerance * max(abs(bound) for bound in claim.bounds))
            if claim.bounds[0] - slack <= mean <= claim.bounds[1] + slack:
                return "agrees"
        if claim.neutral is not None and claim.side != 0.0:
            nearest = low if claim.side > 0 else high
            if (nearest - claim.neutral) * claim.side > 0.0:
                return "same direction"
        return "disagrees"


def per_seed(values: Sequence[float | None]) -> Finding:
    """Return a finding of one value a seed.

    Raises
    ------
    ValueError
        If a seed has none.
    """
    if any(value is None for value in values):
        raise ValueError("a seed has no value; the metric does not apply to its run")
    return Finding(tuple(float(value) for value in values if value is not None))
