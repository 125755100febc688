"""Measures one thing on a rig: repeats until their median is known, the first ones thrown away."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from profiles import Measurement
from profiles.measurements import Job
from realgpu.calibration.resident import AHEAD_S, Resident
from realgpu.calibration.rig import Rig

DECODE_STEPS: Final = 16
"""Decode steps by which one is measured, after the one that reads the prompt. Assumed: enough that the clock
and the prompt hardly count, and little more context than at the start."""

PREFILLS: Final = 5
"""Prompts that are timed before decode steps. Assumed: what they are off by is spread over the steps."""

BACK_TO_BACK_S: Final = 0.05
"""Batches that take longer are sent one by one; a pause beside them is short. Assumed."""

LEAST_STEP_S: Final = 1e-9
"""A decode step takes as long at least, should noise have made prompts slower than whole answers."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a thing is repeated.

    Attributes
    ----------
    spread
        Relative half width of the 95 % interval of the median (`Measurement.spread`) that is enough.
    least, most
        Repeats. The interval of fewer than six is infinite.
    most_s
        Once they took so long, there are no more than `least_slow`.
    least_slow
        Repeats of what takes long, at least.
    warm_ups, settling_s
        Repeats that are thrown away first, and for how long: caches are cold, a share was changed in the
        middle of one, and a gate's bucket may still hold what an earlier share earned in a tick of 5 ms.
    """

    spread: float = 0.01
    least: int = 7
    most: int = 60
    most_s: float = 1.5
    least_slow: int = 3
    warm_ups: int = 1
    settling_s: float = 0.02

    def longest_s(self, expected_s: float, job: Job) -> float:
        """Return what it takes at most, if a batch or step takes as long as is expected.

        Batches are repeated twice more to find out what is charged, and short ones were sent ahead.
        """
        repeats = max(float(self.least_slow), min(float(self.most), self.most_s / expected_s + 1.0))
        if job != "train":
            repeats += 2.0
        ahead_s = AHEAD_S + 2.0 * expected_s if expected_s <= BACK_TO_BACK_S else 0.0
        return self.settling_s + ahead_s + (self.warm_ups + repeats) * expected_s

    def repeat(self, once: Callable[[], float], result: Callable[[list[float]], Measurement]) -> Measurement:
        """Repeat what returns its seconds, and return the result of those that count.

        Parameters
        ----------
        result
            Makes a measurement of seconds; called after each repeat that may be the last.
        """
        begun_s, thrown_away = time.monotonic(), 0
        while thrown_away < self.warm_ups or time.monotonic() - begun_s < self.settling_s:
            once()
            thrown_away += 1
        begun_s, took_s = time.monotonic(), list[float]()
        while True:
            took_s.append(once())
            long = time.monotonic() - begun_s > self.most_s and len(took_s) >= self.least_slow
            if long or len(took_s) >= self.most:
                return result(took_s)
            if len(took_s) >= self.least and (found := result(took_s)).spread <= self.spread:
                return found


@dataclass(frozen=True, slots=True)
class Meter:
    """Measures residents of a rig. Every method raises `WorkError` if a worker fails."""

    rig: Rig
    patience: Patience

    def serve(self, resident: Resident, count: int, expected_s: float) -> list[Measurement]:
        """Measure batches; of an llm its prompts, then decode steps.

        Parameters
        ----------
        expected_s
            Of a batch, or decode step.
        """
        if resident.profile.kind != "llm":
            return [self._serve(resident, count, 1, expected_s, self.patience)]
        few = replace(self.patience, spread=math.inf, least=PREFILLS, most=PREFILLS)
        prompt = self._serve(resident, count, 1, expected_s, few)
        answer = self._serve(resident, count, 1 + DECODE_STEPS, expected_s, self.patience)
        return [replace(prompt, job="prefill"), _decode_step(prompt, answer)]

    def train(self, resident: Resident, expected_s: float) -> Measurement:
        """Measure training steps, each as the worker says it took, and charged as it found when it began."""
        launches, cost = (resident.loaded.get(f"{name}_per_batch") for name in ("launches", "cost"))

        def result(took_s: list[float]) -> Measurement:
            return Measurement(
                model=resident.profile.name,
                job="train",
                batch=resident.batch,
                share=resident.share,
                share_by=resident.share_by,
                seconds=tuple(took_s),
                launches=None if launches is None else round(launches),
                cost=cost,
                memory_bytes=resident.memory_bytes(),
            )

        return self.patience.repeat(lambda: self.rig.next_step(resident, expected_s), result)

    def _serve(
        self, resident: Resident, count: int, iterations: int, expected_s: float, patience: Patience
    ) -> Measurement:
        """Measure whole batches of so many iterations.

        Short ones follow each other without a pause: in it a launch gate would earn what the next one spends.
        """
        whole_s = iterations * expected_s
        launches, cost = self._charged(resident, count, iterations, whole_s)

        def result(took_s: list[float]) -> Measurement:
            return Measurement(
                model=resident.profile.name,
                job="serve",
                batch=count,
                share=resident.share,
                share_by=resident.share_by,
                seconds=tuple(took_s),
                launches=launches,
                cost=cost,
                memory_bytes=resident.memory_bytes(),
            )

        if whole_s > BACK_TO_BACK_S:
            return patience.repeat(lambda: self.rig.serve(resident, count, iterations, whole_s), result)
        resident.keep_busy(count, iterations, whole_s)
        found = patience.repeat(lambda: self.rig.next_batch(resident, whole_s), result)
        self.rig.let_rest(resident, whole_s)
        return found

    def _charged(
        self, resident: Resident, count: int, iterations: int, whole_s: float
    ) -> tuple[int | None, float | None]:
        """Return launches and cost of a batch, by the counters of its gate if it has one."""
        if resident.gate is None:
            return None, None
        self.rig.serve(resident, count, iterations, whole_s)  # the first may load kernels
        before = resident.gate.charged()
        self.rig.serve(resident, count, iterations, whole_s)
        after = resident.gate.charged()
        return after.launches - before.launches, float(after.cost - before.cost)


def _decode_step(prompt: Measurement, answer: Measurement) -> Measurement:
    """Return what a decode step takes: a part of an answer, but for the prompt."""

    def step(of_answer: float | None, of_prompt: float | None) -> float | None:
        if of_answer is None or of_prompt is None:
            return None
        return max(0.0, of_answer - of_prompt) / DECODE_STEPS

    launches = step(answer.launches, prompt.launches)
    return replace(
        answer,
        seconds=tuple(
            max((whole_s - prompt.median_s) / DECODE_STEPS, LEAST_STEP_S) for whole_s in answer.seconds
        ),
        launches=None if launches is None else round(launches),
        cost=step(answer.cost, prompt.cost),
    )
