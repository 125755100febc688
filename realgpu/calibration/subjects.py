"""What is to be calibrated: models, and what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from profiles import Catalog, ModelProfile, ProfileError
from realgpu.errors import RealGpuError
from realgpu.workers.protocol import Job


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, and which of its jobs are measured."""

    profile: ModelProfile
    jobs: tuple[Job, ...]

    @property
    def name(self) -> str:
        """The model's name."""
        return self.profile.name


def find_subjects(models: Sequence[str], base: Catalog) -> tuple[Subject, ...]:
    """Return what texts such as `bert-base`, `bert-base:serve` and `vgg19:train` ask for, in their order.

    A model without a job is measured at all that its profile has.

    Raises
    ------
    RealGpuError
        If there is none, a model or a job is unknown, or a model cannot be trained.
    """
    if not models:
        raise RealGpuError("models: found none, allowed is at least one")
    jobs: dict[str, list[Job]] = {}
    for text in models:
        name, colon, asked = text.partition(":")
        try:
            profile = base.model(name)
        except ProfileError as error:
            raise RealGpuError(f"models: {error}") from None
        has: list[Job] = ["serve", "train"] if profile.training is not None else ["serve"]
        if colon and asked not in has:
            raise RealGpuError(f"models: {text}: found job {asked!r}, allowed are {', '.join(has)}")
        wanted = jobs.setdefault(name, [])
        wanted += [job for job in has if job not in wanted and (not colon or job == asked)]
    return tuple(Subject(base.model(name), tuple(sorted(found))) for name, found in jobs.items())
