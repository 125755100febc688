"""How thoroughly a calibration measures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from realgpu.calibration.measuring import Patience
from realgpu.calibration.plan import BATCHES, SHARES, Goal

STEP_SHARES: Final = (1.0, 0.5, 0.2, 0.75, 0.1)
STEP_SHARES_HELD_OUT: Final = (0.35,)
"""Shares at which training is measured, those of most value first; a curve of three coefficients needs few.
Assumed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a calibration measures, and how often.

    Attributes
    ----------
    batches, shares
        The grid of a surface; batches above a model's largest are left out.
    step_shares, step_shares_held_out
        Where training is measured, in this order, and where it is measured to score the curve.
    goal
        When a surface is known well enough.
    patience
        How often a thing is repeated.
    start_ups
        How many starts of each model are timed.
    pairs
        Whether neighbours are measured.
    """

    batches: tuple[int, ...] = BATCHES
    shares: tuple[float, ...] = SHARES
    step_shares: tuple[float, ...] = STEP_SHARES
    step_shares_held_out: tuple[float, ...] = STEP_SHARES_HELD_OUT
    goal: Goal = field(default_factory=Goal)
    patience: Patience = field(default_factory=Patience)
    start_ups: int = 3
    pairs: bool = True
