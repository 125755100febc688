"""What a neighbour costs, and the wait behind its waves that this means by the law of contention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from profiles import InterferenceMeasurement, Measurement, ModelProfile
from profiles.contention import contention
from profiles.sharing import Sharing
from realgpu.workers.backends.neighbours import Sharer
from realgpu.workers.protocol import Job


class Part(NamedTuple):
    """What one of two does: a model's job, at a batch, on a share."""

    profile: ModelProfile
    job: Job
    batch: int
    share: float

    @property
    def label(self) -> str:
        """What it is called in measurements."""
        return f"{self.profile.name}:{self.job}@{self.share:g}:b{self.batch}"

    @property
    def launches(self) -> int:
        """Kernel launches of a batch or step, by the profile."""
        training = self.profile.training
        return training.launches if self.job == "train" and training is not None else self.profile.launches

    def alone_s(self, share: float) -> float:
        """Return the seconds of a batch or step alone, by the profile."""
        return self.profile.measurement("training" if self.job == "train" else self.profile.kind)(
            self.batch, share
        )


@dataclass(frozen=True, slots=True)
class Effect:
    """What a neighbour does to a victim by the law, but for how long its waves are.

    Attributes
    ----------
    share
        What is left of the victim's share.
    exposure
        Seconds by which each launch of the victim waits, for each second of the neighbour's wave.
    """

    share: float
    exposure: float


def effect_of(victim: Part, neighbour: Part, sharing: Sharing) -> Effect:
    """Return it by `profiles.contention`, of a neighbour whose waves last one second."""
    sharers = [
        Sharer(
            slo_sensitive=part.job == "serve",
            request=part.share,
            limit=part.share,
            quota=part.share,
            part=1.0,
            wave_s=wave_s,
            model=part.profile.name,
            batch=part.batch,
        )
        for part, wave_s in ((victim, 0.0), (neighbour, 1.0))
    ]
    _, (terms, _) = contention(sharers, sharing)
    return Effect(terms.share, terms.delay_s)


def interference(
    victim: Part, neighbour: Part, alone: Measurement, beside: Measurement, sharing: Sharing
) -> InterferenceMeasurement:
    """Return what a neighbour cost.

    The wave solves ``T = L(share left) + n exposure w`` for w, with T the median beside the neighbour, n the
    launches, and L what it takes alone: as measured, and where shares were scaled down, times how much the
    profile says that a smaller share costs. Waits are not negative; what noise makes of them is 0, and stays
    in `extra_s_per_launch`. Without launches, or exposure, there is no wave to be told.
    """
    effect = effect_of(victim, neighbour, sharing)
    alone_s = alone.median_s
    if effect.share != victim.share:
        alone_s *= victim.alone_s(effect.share) / victim.alone_s(victim.share)
    launches = beside.launches or alone.launches or victim.launches
    extra_s = beside.median_s - alone_s
    waits = launches * effect.exposure
    return InterferenceMeasurement(
        victim=victim.label,
        victim_share=victim.share,
        neighbour=neighbour.label,
        neighbour_share=neighbour.share,
        slowdown=beside.median_s / alone.median_s,
        extra_s_per_launch=extra_s / max(launches, 1),
        wave_s=max(0.0, extra_s / waits) if waits > 0.0 else None,
    )
