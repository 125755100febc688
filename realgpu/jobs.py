"""A training instance, as the world knows it."""

from __future__ import annotations

from dataclasses import dataclass

from policies import Launch


@dataclass
class Job:
    """A training instance, its rows on the board, and when it was launched, ready and done.

    `steps_before` are those that its worker took before it was seated: virtual ones wait for nobody.
    """

    launch: Launch
    launch_s: float
    rows: tuple[int, ...]
    ready_s: float | None = None
    steps_before: float = 0.0
    done_s: float | None = None
