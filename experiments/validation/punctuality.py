"""How punctual real runs were, as their manifests say: the evidence for lateness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from recording import Run


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and 99th percentile, in seconds; the mean of each over repeats."""

    p50_s: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class Punctuality:
    """How late batches were sent and ticks began; `None` where there were none.

    `ticks_missed` is the part of all ticks, over all repeats, that were left out.
    """

    sending: Spread | None
    ticks: Spread | None
    ticks_missed: float | None


def punctuality(runs: Sequence[Run]) -> Punctuality:
    """Read it from the manifests (`measured`) of real runs."""
    measured = [run.manifest.further.get("measured") or {} for run in runs]
    ticks = sum(one.get("ticks", 0) for one in measured)
    missed = sum(one.get("ticks_missed", 0) for one in measured)
    return Punctuality(
        sending=_mean([one.get("send_lateness_s") for one in measured]),
        ticks=_mean([one.get("tick_lateness_s") for one in measured]),
        ticks_missed=missed / (ticks + missed) if ticks + missed else None,
    )


def _mean(spreads: Sequence[Mapping[str, Any] | None]) -> Spread | None:
    there = [spread for spread in spreads if spread]
    if not there:
        return None
    return Spread(fmean(float(one["p50"]) for one in there), fmean(float(one["p99"]) for one in there))
