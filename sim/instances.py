"""What runs on GPUs: serving instances and training jobs. Work is progress, re-timed as shares change."""

from __future__ import annotations

from heapq import heappush
from math import nextafter

from policies import Launch
from profiles import StepCurve
from sim.agenda import JOB
from sim.functions import ServedFunction
from sim.gpu import INF, Agenda, Resident

ROUNDING_S = 1e-9
"""A batch that might end at the earliest is looked at so much before, whatever rounding does to its end."""


class ServingInstance:
    """A serving instance and the batch it runs.

    A `policies.slots.InstanceView`. An iteration of `count` requests takes ``seconds(count, share) * stretch
    + launches * delay`` on one GPU. Split over several, a stage holds a part of the model and takes that
    part of the iteration. A batch is `units` iterations: 1, or the output tokens of its longest answer
    (static batching).
    """

    __slots__ = (
        "alone_s",
        "alone_so_far_s",
        "contended",
        "count",
        "draining",
        "finish_s",
        "first",
        "fresh",
        "function",
        "idle_since_s",
        "index",
        "launch",
        "launch_s",
        "launches",
        "pending_s",
        "period_s",
        "ready_s",
        "remaining",
        "resident",
        "residents",
        "running",
        "seconds",
        "since_s",
        "start_s",
        "taken",
        "units",
    )

    def __init__(self, launch: Launch, function: ServedFunction, launch_s: float) -> None:
        self.index = launch.instance
        self.launch = launch
        self.function = function
        self.launch_s = launch_s
        self.ready_s: float | None = None
        self.seconds = function.spec.model.latency.seconds
        self.launches = function.spec.model.launches
        self.residents: tuple[Resident, ...] = ()
        self.resident: Resident | None = None
        """The only one, unless the model is split."""
        self.running = False
        self.draining = False
        self.first = 0
        self.count = 0
        self.units = 1
        self.start_s = 0.0
        self.since_s = 0.0
        self.remaining = 0.0
        self.period_s = 0.0
        self.alone_s = 0.0
        self.alone_so_far_s = 0.0
        self.contended = False
        """A neighbour has cost this batch anything."""
        self.fresh = True
        """This batch began after a pause, not right after another: it waits for its turn."""
        self.finish_s = INF
        self.pending_s = INF
        """Time of the agenda entry that will look at this batch; other entries are stale."""
        self.idle_since_s = 0.0
        self.taken = 0.0
        """Requests it has been given, less what its rate is when the furthest behind has had its own."""

    @property
    def instance(self) -> int:
        """Its number."""
        return self.index

    @property
    def ready(self) -> bool:
        """Has started up."""
        return self.ready_s is not None

    @property
    def idle(self) -> bool:
        """Is ready and runs no batch."""
        return self.ready_s is not None and not self.running

    @property
    def batch(self) -> int:
        """Largest batch it serves."""
        return self.launch.size.batch

    @property
    def request(self) -> float:
        """Floor share."""
        return self.launch.shards[0].request

    @property
    def limit(self) -> float:
        """Ceiling share."""
        return self.launch.shards[0].limit

    @property
    def quota(self) -> float:
        """The share it may use now, on the first of its GPUs; the request until it is ready."""
        return self.residents[0].quota if self.residents else self.request

    @property
    def service_s(self) -> float:
        """Profiled time of one full batch at its request share."""
        return self._profiled_s(self.request)

    @property
    def fastest_s(self) -> float:
        """Profiled time of one full batch at its limit share."""
        return self._profiled_s(self.limit)

    def _profiled_s(self, share: float) -> float:
        function = self.function
        return function.spec.model.measure(self.batch, share) * function.iterations(self.batch)

    def begin(self, count: int, now_s: float, agenda: Agenda) -> None:
        """Run the next `count` requests of the function; the residents are active and know their shares."""
        function = self.function
        self.first = first = function.cursor
        function.cursor = first + count
        self.count = count
        if function.is_llm:
            self.units = function.longest_answer(first, count)
        self.start_s = self.since_s = now_s
        self.remaining = 1.0
        self.alone_so_far_s = 0.0
        self.contended = False
        self.fresh = not self.running
        self.running = True
        resident = self.resident
        if resident is not None and not resident.disturbed:
            self.period_s = self.alone_s = period_s = self.units * self.seconds(count, resident.share)
        else:
            self._set_period()
            period_s = self.period_s
        self.finish_s = self.pending_s = finish_s = now_s + period_s
        heappush(agenda, (finish_s, self.index))

    def retime(self, now_s: float, agenda: Agenda) -> None:
        """Keep the progress so far and re-time the rest.

        A batch that now ends later leaves its agenda entry where it is; the entry will find that it is
        early and move.
        """
        if not self.running:
            return
        progress = (now_s - self.since_s) / self.period_s
        if progress > self.remaining:
            progress = self.remaining
        self.remaining -= progress
        self.alone_so_far_s += progress * self.alone_s
        self.since_s = now_s
        self._set_period()
        self.finish_s = finish_s = now_s + self.remaining * self.period_s
        if finish_s < self.pending_s:
            self.pending_s = finish_s
            heappush(agenda, (finish_s, self.index))

    def ramp(self, steps: list[tuple[float, float]]) -> None:
        """Re-time at each time, alone on the quota from then on; the agenda has its earliest end already."""
        remaining, since_s, period_s = self.remaining, self.since_s, self.period_s
        alone_so_far_s, alone_s = self.alone_so_far_s, self.alone_s
        for time_s, quota in steps:
            progress = min(remaining, (time_s - since_s) / period_s)
            remaining -= progress
            alone_so_far_s += progress * alone_s
            since_s = time_s
            period_s = alone_s = self.units * self.seconds(self.count, quota)
        self.remaining, self.since_s, self.period_s = remaining, since_s, period_s
        self.alone_so_far_s, self.alone_s = alone_so_far_s, alone_s
        self.finish_s = since_s + remaining * period_s

    def expect_by(self, tick_s: float, agenda: Agenda) -> None:
        """Have this batch looked at no later than it could end were its quota the limit from `tick_s` on."""
        remaining = self.remaining - (tick_s - self.since_s) / self.period_s
        fastest_s = self.units * self.seconds(self.count, self.residents[0].limit)
        look_s = tick_s + max(0.0, remaining) * fastest_s - ROUNDING_S
        look_s = max(look_s, nextafter(tick_s, INF))  # the tick itself comes after what ends with it
        if look_s < self.pending_s:
            self.pending_s = look_s
            heappush(agenda, (look_s, self.index))

    def uncontended_s(self) -> float:
        """Seconds that the batch which ends now would have taken alone, on the quotas it had."""
        return self.alone_so_far_s + self.remaining * self.alone_s

    def _set_period(self) -> None:
        """Work out the seconds of the whole batch at the present shares, and alone on the present quotas."""
        count, seconds = self.count, self.seconds
        resident = self.resident
        if resident is not None and not resident.disturbed:
            self.period_s = self.alone_s = self.units * seconds(count, resident.share)
            return
        if resident is not None:
            self.contended = True
            share, alone, units = resident.share, resident.alone, self.units
            work_s = seconds(count, share)
            self.alone_s = units * (work_s if alone == share else seconds(count, alone))
            self.period_s = units * (work_s * resident.stretch + self.launches * resident.delay_s)
            if resident.wait_s and self.fresh:
                self.period_s = max(self.period_s, units * work_s + resident.wait_s)
            return
        work_s = period_s = alone_s = wait_s = 0.0
        for stage in self.residents:
            stage_s = seconds(count, stage.share)
            work_s += stage.part * stage_s
            alone_s += stage.part * (stage_s if stage.alone == stage.share else seconds(count, stage.alone))
            period_s += stage.part * (stage_s * stage.stretch + self.launches * stage.delay_s)
            if stage.wait_s > wait_s and self.fresh:
                wait_s = stage.wait_s
            self.contended = self.contended or stage.disturbed
        self.alone_s = self.units * alone_s
        self.period_s = max(self.units * period_s, self.units * work_s + wait_s)


class TrainingJob:
    """A training instance: a step waits for its slowest worker."""

    __slots__ = (
        "curve",
        "finish_s",
        "function",
        "index",
        "iterations",
        "launch",
        "launch_s",
        "launches",
        "pending_s",
        "period_s",
        "ready_s",
        "residents",
        "running",
        "since_s",
        "steps",
    )

    def __init__(
        self,
        launch: Launch,
        function: int,
        curve: StepCurve,
        launches: int,
        iterations: int | None,
        launch_s: float,
    ) -> None:
        self.index = launch.instance
        self.launch = launch
        self.function = function
        self.curve = curve
        self.launches = launches
        self.iterations = iterations
        self.launch_s = launch_s
        self.ready_s: float | None = None
        self.residents: tuple[Resident, ...] = ()
        self.running = False
        self.steps = 0.0
        self.since_s = 0.0
        self.period_s = INF
        self.finish_s = INF
        self.pending_s = INF

    def begin(self, now_s: float, agenda: Agenda) -> None:
        """Take the first step; all workers are active and know their shares."""
        self.running = True
        self.since_s = now_s
        self.retime(now_s, agenda)

    def retime(self, now_s: float, agenda: Agenda) -> None:
        """Keep the steps done so far and re-time the next ones."""
        if not self.running:
            return
        self.steps = self.steps_until(now_s)
        self.since_s = now_s
        period_s = 0.0
        for worker in self.residents:
            step_s = self.curve.seconds(worker.share) * worker.stretch + self.launches * worker.delay_s
            period_s = max(period_s, step_s)
        self.period_s = period_s
        if self.iterations is None:
            return
        self.finish_s = finish_s = now_s + max(0.0, self.iterations - self.steps) * period_s
        if finish_s < self.pending_s:
            self.pending_s = finish_s
            heappush(agenda, (finish_s, JOB + self.index))

    def steps_until(self, now_s: float) -> float:
        """Steps done by `now_s`, the part of the present one included."""
        return self.steps + (now_s - self.since_s) / self.period_s
