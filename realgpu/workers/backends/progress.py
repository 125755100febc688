"""What terms of contention make of an iteration: the seconds it takes.

The law itself is `profiles.contention`; this is the arithmetic that turns its terms into time, as the
simulated world does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from profiles import ModelProfile, TrainingProfile
from profiles.contention import LEAST_SHARE, PAUSED, Terms

INF = float("inf")


class Place(NamedTuple):
    """What runs on one GPU of an instance: a part of the model, and on which terms."""

    part: float
    terms: Terms


def batch_s(
    profile: ModelProfile, count: int, iterations: int, places: Sequence[Place], fresh: bool
) -> float:
    """Return the seconds of a whole batch on these terms; infinity while it makes no progress.

    An iteration of n launches that takes ``L(share)`` alone takes ``L(share) stretch + n delay_s``. Split
    over several GPUs, a stage takes its part of that. A batch that is `fresh`, that is, does not follow
    another at once, takes at least its work and the longest `wait_s`.
    """
    if any(_is_paused(place.terms) for place in places):
        return INF
    work_s = period_s = wait_s = 0.0
    for part, terms in places:
        stage_s = profile.latency.seconds(count, terms.share)
        work_s += part * stage_s
        period_s += part * (stage_s * terms.stretch + profile.launches * terms.delay_s)
        wait_s = max(wait_s, terms.wait_s)
    if not fresh:
        return iterations * period_s
    return max(iterations * period_s, iterations * work_s + wait_s)


def step_s(training: TrainingProfile, places: Sequence[Place]) -> float:
    """Return the seconds of a training step, which waits for its slowest worker; infinity if that pauses."""
    if any(_is_paused(place.terms) for place in places):
        return INF
    return max(
        training.step_s(terms.share) * terms.stretch + training.launches * terms.delay_s
        for _, terms in places
    )


def _is_paused(terms: Terms) -> bool:
    return terms.share < LEAST_SHARE or terms.stretch >= PAUSED
