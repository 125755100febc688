"""What one training step costs over the SM share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from profiles.beyond import Beyond
from profiles.capacity import Capacity
from profiles.errors import ProfileError
from profiles.surface import (
    MEMO_LIMIT,
    ROUND_DIGITS,
    Covariance,
    HeldOut,
    Point,
    check_covariance,
    check_share,
    check_sharpness,
    smooth_maximum,
)


@dataclass(frozen=True)
class StepCurve:
    """Seconds of one training step: a smooth maximum of a floor that no share shortens and of SM-bound work.

    `seconds(s) = (floor_s^g + (work_s / s)^g)^(1/g)`.

    Attributes
    ----------
    floor_s
        Input, gradient exchange, pipeline bubbles, and kernels that more SMs do not speed up. Seconds.
    work_s
        SM-bound work of a step on all SMs. Seconds.
    g
        How the two overlap: 1 runs one after the other, larger values hide the smaller behind the larger.
    shares
        Smallest and largest share it was fitted on; `None` where it was not fitted.
    fit_mean_error, fit_max_error
        Relative error over the points it was fitted to; `None` where it was not.
    points
        The raw measurements, possibly none.
    covariance
        Covariance of `(floor_s, work_s, g)`, in their units; `None` where it is not known.
    held_out
        The error over the points that were held out; `None` where none were.

    Raises
    ------
    ProfileError
        If a value is not finite, the floor is negative, there is no work, `g < 1`, or the range is empty.
    """

    floor_s: float
    work_s: float
    g: float
    shares: tuple[float, float] | None = None
    fit_mean_error: float | None = None
    fit_max_error: float | None = None
    points: tuple[Point, ...] = ()
    covariance: Covariance | None = None
    held_out: HeldOut | None = None
    _memo: dict[float, float] = field(default_factory=dict, init=False, repr=False, compare=False)
    _beyond: Beyond = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0.0 <= self.floor_s < math.inf:
            raise ProfileError(f"floor_s: found {self.floor_s}, allowed are seconds from 0")
        if not 0.0 < self.work_s < math.inf:
            raise ProfileError(f"work_s: found {self.work_s}, allowed are finite numbers above 0")
        check_sharpness(self.g)
        if self.shares is not None and not 0.0 < self.shares[0] <= self.shares[1] <= 1.0:
            raise ProfileError(f"shares: found {list(self.shares)}, allowed are [min, max] in (0, 1]")
        check_covariance(self.covariance, 3)
        object.__setattr__(self, "_beyond", Beyond(None, self.shares))

    def __reduce__(self) -> tuple[type[StepCurve], tuple[Any, ...]]:
        return type(self), tuple(getattr(self, f.name) for f in fields(self) if f.init)

    def seconds(self, share: float) -> float:
        """Seconds of one step on the share `share` of the SMs, rounded to a nanosecond.

        Raises
        ------
        ProfileError
            If `share` is not in (0, 1].
        """
        found = self._memo.get(share)
        return found if found is not None else self._evaluate(share)

    def extrapolation(self) -> str | None:
        """Say what was asked for outside the fitted range since `forget`, furthest out; `None`: nothing."""
        return self._beyond.words()

    def forget(self) -> None:
        """Forget every answer and every question: what is asked from now on is this run's."""
        self._memo.clear()
        self._beyond.forget()

    def _evaluate(self, share: float) -> float:
        check_share(share)
        seconds = round(smooth_maximum(self.floor_s, self.work_s / min(share, 1.0), self.g), ROUND_DIGITS)
        self._beyond.note(1, share)
        if len(self._memo) >= MEMO_LIMIT:
            self._memo.clear()
        self._memo[share] = seconds
        return seconds


@dataclass(frozen=True)
class TrainingProfile:
    """What it costs to train a model, data-parallel or as a pipeline.

    Attributes
    ----------
    batch
        Samples a worker takes in one step.
    workers
        GPUs of one training instance, unless the deployment says otherwise.
    memory_bytes
        Device memory of one worker.
    launches
        Kernel launches of one worker in one step.
    wave_s
        Mean wait of a co-resident's kernel behind a running wave of this training. Seconds.
    step
        Seconds of one step over the share.
    capacity
        What a launch gate charges for a step; `None` where it was not measured.
    """

    batch: int
    workers: int
    memory_bytes: int
    launches: int
    wave_s: float
    step: StepCurve
    capacity: Capacity | None = None

    def step_s(self, share: float) -> float:
        """Seconds of one step on a share of each worker's GPU. Raises `ProfileError` outside (0, 1]."""
        return self.step.seconds(share)

    def measure(self, batch: int, share: float) -> float:
        """Return what sizing measures, `step_s`; a training's batch is fixed, `batch` changes nothing."""
        return self.step.seconds(share)
