"""What is measured, in the order of what it is worth, in the time that there is.

Every step is estimated before it begins, and none is begun that cannot be ended. What was measured is
written down at once; what is written down is not measured again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from profiles import Measurement, ModelProfile
from realgpu.calibration.budget import Budget, StartUps, expected_s
from realgpu.calibration.failures import Failure, WorkError
from realgpu.calibration.ledger import Ledger
from realgpu.calibration.measuring import DECODE_STEPS, Meter
from realgpu.calibration.plan import FEWEST_POINTS, Grid, Spot, Wanted, next_point
from realgpu.calibration.resident import Resident
from realgpu.calibration.settings import Settings
from realgpu.calibration.subjects import Subject
from realgpu.calibration.workplace import Workplace
from realgpu.workers.protocol import Job

Progress = Callable[[str, float], None]
"""Told what is being done, and which part of the whole is behind, from 0 to 1."""

MOST_FAILURES_IN_A_ROW: Final = 3
"""After so many, nothing more of that model's job is tried. Assumed."""

MOST_OF_A_BATCH: Final = 2
"""A batch of a size that failed so often, on whatever share, is not tried again. Assumed."""

RESTLESS: Final = 0.1
"""A median that is not known to this part of itself was disturbed by others who use the machine. Assumed."""

MOST_TRIES: Final = 3
"""A measurement that was disturbed is made so often at most, and the calmest is kept. Assumed."""

INF: Final = float("inf")

OTHERS: Final = "others have their part of the time"

SERVE_WORTH, TRAIN_WORTH, START_WORTH = 3.0, 2.0, 0.5
"""How the time is divided between what is still to be done. Assumed."""


@dataclass(frozen=True, slots=True)
class Task:
    """A part of a campaign; `do` is told when, on the budget's clock, others want their time."""

    what: str
    worth: float
    do: Callable[[float], None]


class Campaign:
    """Measures subjects into a ledger.

    Attributes
    ----------
    skipped
        What was left out, and why.
    """

    def __init__(
        self,
        workplace: Workplace,
        ledger: Ledger,
        budget: Budget,
        start_ups: StartUps,
        settings: Settings,
    ) -> None:
        self.skipped: dict[str, str] = {}
        self.workplace = workplace
        self.ledger = ledger
        self.budget = budget
        self.settings = settings
        self._start_ups = start_ups

    def run(self, tasks: Sequence[Task], progress: Progress | None = None) -> None:
        """Do tasks in their order; each has its part of the time that is left, by what they are worth."""
        for number, task in enumerate(tasks):
            if progress is not None:
                progress(task.what, number / len(tasks))
            worth = sum(later.worth for later in tasks[number:])
            task.do(self.budget.spent_s + self.budget.left_s * task.worth / worth)
        if progress is not None:
            progress("measured", 1.0)

    def tasks(self, subjects: Sequence[Subject]) -> list[Task]:
        """Return what is measured of subjects alone."""
        return [
            *(
                Task(f"{one.name}: batches", SERVE_WORTH, partial(self._serve_surface, one.profile))
                for one in subjects
                if "serve" in one.jobs
            ),
            *(
                Task(f"{one.name}: training", TRAIN_WORTH, partial(self._step_curve, one.profile))
                for one in subjects
                if "train" in one.jobs
            ),
        ]

    def start_tasks(self, subjects: Sequence[Subject]) -> list[Task]:
        """Return the starts that are still to be timed."""
        return [
            Task(
                f"{one.name}: starting up",
                START_WORTH,
                partial(self._start_repeatedly, one.profile, one.jobs[0]),
            )
            for one in subjects
        ]

    @property
    def meter(self) -> Meter:
        """What measures on the rig of the moment."""
        return Meter(self.workplace.rig, self.settings.patience)

    # ------------------------------------------------------------------------------------- serving

    def _serve_surface(self, profile: ModelProfile, until_s: float) -> None:
        """Measure batches where the plan wants them, at least as many as a fit needs."""
        largest, in_a_row, failed, without = self.largest_batch(profile), 0, Counter[int](), set[Spot]()
        while in_a_row < MOST_FAILURES_IN_A_ROW:
            batches = tuple(
                batch
                for batch in self.settings.batches
                if batch <= largest and failed[batch] < MOST_OF_A_BATCH
            )
            if len(batches) < 2:
                self.skipped[f"{profile.name}: batches"] = f"a surface needs two sizes, found {list(batches)}"
                return
            points = self.ledger.points(profile.name, "serve")
            grid = Grid(batches, self.settings.shares)
            wanted = next_point(
                grid,
                points,
                without=without,
                goal=self.settings.goal,
                effort_s=partial(self._spot_s, profile, largest),
            )
            if wanted is None:
                return
            if len(points) >= FEWEST_POINTS and self.budget.spent_s > until_s:
                self.skipped[f"{profile.name}: more batches"] = OTHERS
                return
            if not self._has_time(profile, "serve", largest, wanted):
                without.add(wanted.spot)
                if not self._has_time(profile, "serve", largest, Wanted(batches[0], grid.shares[-1], False)):
                    return
                continue
            failure = self._measure_at(profile, "serve", largest, wanted)
            in_a_row = 0 if failure is None else in_a_row + 1
            if failure is not None:
                failed[wanted.batch] += 1
                largest = min(largest, self.largest_batch(profile))

    def largest_batch(self, profile: ModelProfile) -> int:
        """Return the largest batch that memory has not been too small for."""
        largest = max((b for b in self.settings.batches if b <= profile.max_batch), default=profile.max_batch)
        for failure in self.ledger.failed(profile.name, "serve"):
            if failure.kind == "oom":
                largest = min(largest, failure.batch // 2)
        return largest

    # ------------------------------------------------------------------------------------ training

    def _step_curve(self, profile: ModelProfile, until_s: float) -> None:
        """Measure a training's steps on some shares, at least as many as a fit needs."""
        assert profile.training is not None
        batch, failures = profile.training.batch, 0
        shares = [(share, False) for share in self.settings.step_shares]
        shares += [(share, True) for share in self.settings.step_shares_held_out]
        for share, held_out in shares:
            measured = {round(point.share, 6) for point in self.ledger.points(profile.name, "train")}
            if share in measured or failures >= MOST_FAILURES_IN_A_ROW:
                continue
            wanted = Wanted(batch, share, held_out)
            if not self._has_time(profile, "train", batch, wanted):
                continue
            if len(measured) > 3 and self.budget.spent_s > until_s:
                self.skipped[f"{profile.name}: more of training"] = OTHERS
                break
            failure = self._measure_at(profile, "train", batch, wanted)
            failures = 0 if failure is None else failures + 1
        self.workplace.rest()

    # ---------------------------------------------------------------------------------- both alike

    def _has_time(self, profile: ModelProfile, job: Job, largest: int, wanted: Wanted) -> bool:
        """Whether there is time to measure at a place."""
        return self.has_time(
            f"{profile.name}: {job}, some shares", self._point_s(profile, job, largest, wanted.spot)
        )

    def _spot_s(self, profile: ModelProfile, largest: int, spot: Spot) -> float:
        return self._point_s(profile, "serve", largest, spot)

    def _point_s(self, profile: ModelProfile, job: Job, largest: int, spot: Spot) -> float:
        """Return what a place takes at most, a start of the worker included if it needs one."""
        measuring_s = self.longest_s(profile, job, spot.batch, spot.share)
        if self.workplace.has(profile, job, largest, spot.share):
            return measuring_s
        return measuring_s + self.start_s(job)

    def has_time(self, what: str, estimate_s: float) -> bool:
        """Whether there is time for something; what there is none for is noted."""
        allowed = self.budget.allows(estimate_s)
        if not allowed:
            left_s = max(0.0, self.budget.left_s)
            self.skipped.setdefault(what, f"may take {estimate_s:.1f} s, {left_s:.1f} s are left")
        return allowed

    def start_s(self, job: Job) -> float:
        """Return what a start may take."""
        return self._start_ups.expected_s(job)

    def expected_s(self, profile: ModelProfile, job: Job, batch: int, share: float) -> float:
        """Return what a batch, decode step or training step is taken to need."""
        return expected_s(profile, job, batch, share, self.ledger.points(profile.name, job))

    def longest_s(self, profile: ModelProfile, job: Job, batch: int, share: float) -> float:
        """Return what measuring takes at most, once the worker is there."""
        once_s = self.expected_s(profile, job, batch, share)
        patience = self.settings.patience
        if job == "serve" and profile.kind == "llm":
            answer_s = (1 + DECODE_STEPS) * once_s
            return patience.longest_s(once_s, job) + patience.longest_s(answer_s, job)
        return patience.longest_s(once_s, job)

    def _measure_at(self, profile: ModelProfile, job: Job, largest: int, wanted: Wanted) -> WorkError | None:
        """Measure at a place; return what went wrong, if anything did."""
        resident: Resident | None = None
        batch, once_s = largest, self.expected_s(profile, job, wanted.batch, wanted.share)
        try:
            resident = self.workplace.resident(profile, job, largest, wanted.share)
            batch = wanted.batch
            measured = self._measure_calmly(resident, batch, once_s)
        except WorkError as failure:
            self.fail(profile, job, batch, wanted.share, failure, resident)
            return failure
        for one in measured:
            self.ledger.add(replace(one, held_out=wanted.held_out and one.job == job))
        return None

    def _measure_calmly(self, resident: Resident, batch: int, once_s: float) -> list[Measurement]:
        """Measure, more than once if the machine was restless, and return the calmest."""
        tries: list[list[Measurement]] = []
        while not tries or (
            len(tries) < MOST_TRIES
            and RESTLESS < tries[-1][-1].spread < INF
            and self.budget.allows(self.longest_s(resident.profile, resident.job, batch, resident.share))
        ):
            if resident.job == "train":
                tries.append([self.meter.train(resident, once_s)])
            else:
                tries.append(self.meter.serve(resident, batch, once_s))
        return min(tries, key=lambda measured: measured[-1].spread)

    def fail(
        self,
        profile: ModelProfile,
        job: str,
        batch: int,
        share: float,
        failure: WorkError,
        resident: Resident | None = None,
    ) -> None:
        """Write a failure down, and let go of who failed."""
        self.ledger.add_failure(Failure(profile.name, job, batch, share, failure.kind, str(failure)))
        self.workplace.recover(failure, resident)

    # ------------------------------------------------------------------------------------ starting

    def _start_repeatedly(self, profile: ModelProfile, job: Job, until_s: float) -> None:
        """Start a worker until enough starts were timed."""
        training = profile.training
        batch = training.batch if job == "train" and training is not None else self.largest_batch(profile)
        timed = sum(one.model == profile.name for one in self.ledger.start_ups)
        for _ in range(timed, self.settings.start_ups):
            if not self.has_time(f"{profile.name}: a start", self.start_s(job)):
                return
            self.workplace.clear()
            try:
                self.workplace.start(profile, job, batch, 1.0)
            except WorkError as failure:
                self.fail(profile, job, batch, 1.0, failure)
                return
