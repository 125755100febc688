"""No computing: work is progress, at the rate that the profile and the law of contention give it.

The board is looked at every `LOOK_S`, also when an instance is alone: a controller may change a quota, and a
neighbour become active, at any time. Only the end of a batch or step is woken for exactly. Between two looks
things are taken to be as they were at the first, so a change takes effect half a `LOOK_S` late in the mean.
Progress is integrated over the time that really passed, and what ends, ends at the instant at which its
progress reaches 1, not when somebody notices: a late wake-up does not make a batch longer.
"""

from __future__ import annotations

import time
from math import exp, log1p, sqrt
from typing import Any, Final

import numpy as np

from profiles import ModelProfile, ProfileError, find_interference
from profiles.sharing import Sharing
from realgpu.errors import RealGpuError
from realgpu.workers.backends.base import LeaveOff, check_options
from realgpu.workers.backends.neighbours import Neighbourhood
from realgpu.workers.backends.progress import batch_s, step_s
from realgpu.workers.protocol import Begin, unpacked
from realgpu.workers.seats import Seats

LOOK_S: Final = 0.001
"""How often the board is looked at. A fifth of Dilu's tick of 5 ms (ASPLOS 2025, section 3.4)."""

FOLLOWS_WITHIN_S: Final = 0.005
"""A batch that begins so soon after another follows it. Assumed: what a busy orchestrator needs."""


class VirtualBackend:
    """A `Backend` whose GPU is the profile.

    Its options are `look_s`, by default `LOOK_S`, and `noise`, by default 0: the relative standard deviation
    by which batches and steps last longer or shorter than the profile says. It is lognormal with mean one,
    and drawn from the seed and the number of the batch or step alone.

    Raises
    ------
    RealGpuError
        If an option is not as allowed, something in `begin` cannot be unpacked, the interference model is
        unknown, or the profile has none for training where it is to train.
    """

    def __init__(self, begin: Begin, seats: Seats) -> None:
        check_options(begin.options, ["look_s", "noise"])
        self._look_s = begin.options.get("look_s", LOOK_S)
        if not isinstance(self._look_s, int | float) or not 0.0 < self._look_s <= 1.0:
            raise RealGpuError(f"begin: options: look_s: found {self._look_s!r}, allowed are 0 to 1 second")
        noise = begin.options.get("noise", 0.0)
        if not isinstance(noise, int | float) or isinstance(noise, bool) or not 0.0 <= noise <= 1.0:
            raise RealGpuError(f"begin: options: noise: found {noise!r}, allowed are 0 to 1")
        self._noise, self._seed, self._batches = float(noise), begin.seed, 0
        self._profile = unpacked(begin.profile, ModelProfile, "begin: profile")
        if begin.job == "train" and self._profile.training is None:
            raise RealGpuError(f"begin: profile: {self._profile.name} has none for training")
        sharing = unpacked(begin.sharing, object, "begin: sharing")
        if not isinstance(sharing, Sharing):
            raise RealGpuError(f"begin: sharing: found {type(sharing).__name__}, allowed is a way of sharing")
        try:
            interference = None if begin.interference is None else find_interference(begin.interference)
        except ProfileError as error:
            raise RealGpuError(f"begin: {error}") from None
        self._seats = seats
        self._neighbourhood = Neighbourhood(seats, sharing, interference, begin.models)
        self._ended_ns = 0

    def load(self) -> dict[str, Any]:
        """Have nothing to start: the time of a virtual start-up is the orchestrator's to let pass."""
        return {"import_s": 0.0, "load_s": 0.0, "warm_up_s": 0.0, "backend": "virtual"}

    def run(self, count: int, iterations: int, leave_off: LeaveOff) -> tuple[int, int] | None:
        """Serve a batch; see `Backend`."""
        start_ns = time.monotonic_ns()
        fresh = (start_ns - self._ended_ns) / 1e9 > FOLLOWS_WITHIN_S
        luck = self._luck(self._batches)
        self._batches += 1
        now_s, remaining = 0.0, 1.0
        while True:
            period_s = luck * batch_s(self._profile, count, iterations, self._neighbourhood.places(), fresh)
            since_s, end_s = now_s, now_s + remaining * period_s
            if leave_off(min(self._look_s, max(0.0, end_s - _elapsed_s(start_ns)))):
                return None
            now_s = _elapsed_s(start_ns)
            if now_s >= end_s:
                self._ended_ns = start_ns + round(end_s * 1e9)
                return start_ns, self._ended_ns
            remaining -= (now_s - since_s) / period_s

    def train(self, iterations: int | None, leave_off: LeaveOff) -> tuple[float, int]:
        """Train; see `Backend`. What is left off in the middle of a step counts for the part that is done."""
        training = self._profile.training
        assert training is not None
        start_ns = time.monotonic_ns()
        now_s = begun_s = part = 0.0
        done, luck = 0, self._luck(0)
        while True:
            fair_s = step_s(training, self._neighbourhood.places())
            complete_s = now_s + (1.0 - part) * luck * fair_s
            left_off = leave_off(min(self._look_s, max(0.0, complete_s - _elapsed_s(start_ns))))
            since_s, now_s = now_s, _elapsed_s(start_ns)
            while complete_s <= now_s:
                done, part, since_s = done + 1, 0.0, complete_s
                self._seats.cycle(since_s - begun_s, training.batch)
                begun_s = since_s
                if done == iterations:
                    return float(done), start_ns + round(since_s * 1e9)
                luck = self._luck(done)
                complete_s = since_s + luck * fair_s
            part = min(1.0, part + (now_s - since_s) / (luck * fair_s))
            self._seats.steps(done + part)
            if left_off:
                return done + part, start_ns + round(now_s * 1e9)

    def _luck(self, number: int) -> float:
        """Return the factor of one batch's, or step's, time."""
        if not self._noise:
            return 1.0
        sigma = sqrt(log1p(self._noise**2))
        return exp(sigma * np.random.default_rng((self._seed, number)).standard_normal() - sigma**2 / 2)


def _elapsed_s(start_ns: int) -> float:
    return (time.monotonic_ns() - start_ns) / 1e9
