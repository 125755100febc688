"""INFless's three load series, which Dilu's evaluation replays, or our processes of the same kinds.

The series are public but not shipped: `dilu traces fetch infless`. Dilu plays one value a second, times a
factor and cut to whole requests, evenly spaced in the second. Its bursty series is not INFless's: 220 values
of its own, which come without a licence, stand before the first 638 of INFless's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from traces import TraceError, locate


@dataclass(frozen=True, slots=True)
class Series:
    """A series: its file, how many of its values Dilu plays, and their mean (a process stands in with it)."""

    file: str
    values: int
    mean: float


SERIES: Final = {
    "bursty": Series("infless/Bursty.txt", 638, 5.69),
    "periodic": Series("infless/Periodic.txt", 1007, 3.10),
    "sporadic": Series("infless/Sporadic.txt", 1007, 0.152),
}
"""Means are those of Dilu's own files, its 220 bursty values included (sigserverless/Dilu @1134655)."""


def at_hand() -> bool:
    """Whether the series were fetched."""
    try:
        return all(locate(series.file).exists() for series in SERIES.values())
    except TraceError:
        return False


def replayed(kind: str, scale: float) -> dict[str, Any]:
    """Return the part of `workload.trace` that replays a series, its values times `scale`."""
    options = {"scale": scale, "truncate": True}
    return {"path": SERIES[kind].file, "format": "rate-series", "options": options}


def synthesized(kind: str, scale: float) -> dict[str, Any]:
    """Return the arrivals of `workload.synthesize` that stand in for a series."""
    return {"kind": kind, "rate_rps": SERIES[kind].mean * scale}


def named() -> str:
    """Say in words which of the two it is."""
    if at_hand():
        return (
            "The load is that of INFless's series, as Dilu replays them: a value a second. Of the bursty one "
            "these are the 638 values that Dilu took over; the 220 of its own before them come without a "
            "licence and are left out, so that the bursty trace lacks its first quarter here."
        )
    return (
        "INFless's series are not here (dilu traces fetch infless gets them): on-off bursts, a sine and rare "
        "visits of the same mean rates stand in for them, and counts are those of other bursts than the "
        "paper's."
    )
