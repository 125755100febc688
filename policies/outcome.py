"""What a run says of itself, whichever world it ran in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from policies.functions import Size


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run says of itself, beside its tables.

    Attributes
    ----------
    simulated_s
        When it ended, on the clock of the tables.
    launches_refused
        Launches that no GPU could take.
    sizes
        The size of each function.
    notes
        What a reader of the results should know, a sentence each.
    further
        What else the world measured of itself, for the manifest.
    """

    simulated_s: float
    events: int
    launches_refused: int
    sizes: tuple[Size, ...]
    notes: tuple[str, ...] = ()
    further: Mapping[str, Any] = field(default_factory=dict)
