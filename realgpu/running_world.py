"""One run of the real world, from the first launch to the last table.

Nothing here decides anything. Times are seconds since time 0, the moment at which everybody who is warm was
ready.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from math import floor
from typing import Final

from policies import Action, Controller, Deployment, Launch, Refused, Retire, System
from policies.outcome import Outcome
from profiles import InterferenceModel
from realgpu.control.messages import Place, SitDown, StandUp, Start, Want
from realgpu.errors import RealGpuError
from realgpu.hosting import Host
from realgpu.household import Household
from realgpu.jobs import Job
from realgpu.queueing import Queueing
from realgpu.run_report import RunReport
from realgpu.run_tables import RunTables
from realgpu.seating import Seating
from realgpu.served import INF, ServedFunction, ServedInstance
from realgpu.staff import Event, Staff, Work
from realgpu.workers.protocol import Done, Finished, Ready, Run
from recording import TableSink

TRAINING_RETRY_S: Final = 1.0
"""A training job that no GPUs could take is tried again this often."""

LEAD_S: Final = 0.05
"""Time 0 is so long after everybody was ready."""

LEAST_EXPECTED_SHARE: Final = 0.01
"""What a batch is expected to take is that on a share of so much at least. Dilu's floor (RCKM.c)."""

PROGRESS_S: Final = 0.1
"""How often progress is reported at the most."""

DEPLOY, RETRY, SEAT = range(3)
"""What a timer is for: a late deployment, a training job without a place, an instance that is ready."""


class RunningWorld:
    """One run."""

    def __init__(
        self,
        deployment: Deployment,
        system: System,
        controller: Controller,
        household: Household,
        staff: Staff,
        work: Work,
        host: Host,
    ) -> None:
        self._deployment = deployment
        self._system = system
        self._controller = controller
        self._household = household
        self._staff = staff
        self._host = host
        self._start_up_is_virtual = work.backend == "virtual"
        self._tables = RunTables(deployment, controller.books)
        self._report = RunReport(work.backend)
        self._seating = Seating(household.board, work.models)
        self._queueing = Queueing(system.routing, send=self._send, drop=self._drop, activate=self._activate)
        self._functions = [
            None
            if spec.kind == "training"
            else ServedFunction(
                index,
                deployment,
                controller.sizes[index],
                system.start_up.seconds(spec),
                household.board,
                weighed=self._queueing.weighs,
            )
            for index, spec in enumerate(deployment.functions)
        ]
        self._hosted: dict[int, ServedInstance | Job] = {}
        self._capacities: dict[int, float | None] = {}
        self._timers: list[tuple[float, int, int]] = []
        self._start_ns: int | None = None
        controller.watch(self._functions)

    # --------------------------------------------------------------------------------- the run itself

    def open(self, ready_by_s: float) -> None:
        """Start what is warm at time 0, wait until it is ready, and begin.

        Raises
        ------
        RealGpuError
            If that is not before `ready_by_s` on the monotonic clock.
        """
        for index, spec in enumerate(self._deployment.functions):
            if spec.start_s > 0.0:
                heappush(self._timers, (spec.start_s, DEPLOY, index))
            else:
                self._deploy(index, 0.0, warm=True)
        starting = set(self._hosted)
        while starting:
            for instance, event in self._staff.wait(time.monotonic_ns() + 10**9):
                if isinstance(event, Ready):
                    self._note_start_up(instance, event)
                    starting.discard(instance)
            if time.monotonic() > ready_by_s:
                raise RealGpuError("budget_s: used up before everybody was ready")
        self._start_ns = time.monotonic_ns() + round(LEAD_S * 1e9)
        self._household.board.header["start_ns"][0] = self._start_ns
        self._household.controller.tell(Start(self._start_ns))
        self._host.begin(self._start_ns)
        while (left_ns := self._start_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / 1e9)
        for instance in sorted(self._hosted):
            self._seat(instance, 0.0)

    def work(self, progress: Callable[[float], None] | None) -> None:
        """Do whatever is due, and hear whoever reports, until the end."""
        duration_s = self._deployment.duration_s
        told_s = -INF
        while (now_s := self._now_s()) < duration_s:
            due_s, do = self._next()
            if due_s <= now_s:
                self._report.events += 1
                do(now_s)
                due_s = now_s
            wake_s = min(due_s, duration_s)
            if progress is not None:
                if now_s >= told_s + PROGRESS_S:
                    told_s = now_s
                    progress(now_s)
                wake_s = min(wake_s, told_s + PROGRESS_S)
            for instance, event in self._staff.wait(self._ns(wake_s)):
                heard_s = self._now_s()
                if heard_s < duration_s:
                    self._take(instance, event, heard_s)
                else:
                    self._take_last(instance, event)
        if progress is not None:
            progress(duration_s)

    def end(self, recorder: TableSink, interference: InterferenceModel | None) -> Outcome:
        """Stop everybody, and record the run."""
        duration_s = self._deployment.duration_s
        jobs = {index: one for index, one in self._hosted.items() if isinstance(one, Job)}
        steps = {index: self._steps(job) - job.steps_before for index, job in jobs.items()}
        for instance, event in self._staff.wait(time.monotonic_ns()):
            self._take_last(instance, event)
        control = self._household.controller.report()
        self._host.let_go()
        self._household.stop_workers()
        for instance in sorted(self._hosted):
            one = self._hosted[instance]
            self._tables.remain(one.launch, one.launch_s, one.ready_s)
            if isinstance(one, ServedInstance):
                if one.running is not None:
                    self._tables.active(one.launch, one.running[2], duration_s)
            elif one.ready_s is not None and one.done_s is None:
                self._tables.training(one.launch, one.ready_s, duration_s, steps[instance], done=False)
        assert self._start_ns is not None
        vertical = self._system.vertical
        self._tables.write(
            recorder, control.changes, self._start_ns, duration_s, vertical.sharing, interference
        )
        sizes, ticks = self._controller.sizes, vertical.tick_s is not None
        return self._report.outcome(duration_s, sizes, control, self._host, ticks=ticks)

    def _next(self) -> tuple[float, Callable[[float], None]]:
        """What is due next, and when: of what is due at once, batches first, then polls, then timers."""
        due_s: float = INF
        do: Callable[[float], None] = self._do_timer
        if self._timers:
            due_s = self._timers[0][0]
        for function in self._functions:
            if function is not None and function.polled_at_s <= due_s:
                due_s, do = function.polled_at_s, partial(self._poll, function)
        for function in self._functions:
            if function is not None and function.due_s <= due_s:
                due_s, do = function.due_s, partial(self._queueing.close, function)
        return due_s, do

    def _do_timer(self, now_s: float) -> None:
        _, purpose, whom = heappop(self._timers)
        if purpose == DEPLOY:
            self._deploy(whom, now_s, warm=False)
        elif purpose == RETRY:
            self._place_job(whom, now_s)
        elif whom in self._hosted and not self._is_leaving(whom):
            self._seat(whom, now_s)

    def _now_s(self) -> float:
        return self._s(time.monotonic_ns())

    def _s(self, time_ns: int) -> float:
        return 0.0 if self._start_ns is None else (time_ns - self._start_ns) / 1e9

    def _ns(self, time_s: float) -> int:
        assert self._start_ns is not None
        return self._start_ns + round(time_s * 1e9)

    # ------------------------------------------------------------------------------------ deployment

    def _deploy(self, index: int, now_s: float, *, warm: bool) -> None:
        actions = self._controller.deploy(index, warm=warm)
        self._carry_out(actions, now_s)
        function = self._functions[index]
        if function is not None:
            function.since_s = now_s
            function.polled_at_s = floor(now_s) + 1.0
            self._queueing.arm(function, now_s)
        elif isinstance(actions[-1], Refused):
            heappush(self._timers, (now_s + TRAINING_RETRY_S, RETRY, index))

    def _place_job(self, index: int, now_s: float) -> None:
        """Try again to place a training job; it counted as refused once."""
        actions = self._controller.deploy(index, warm=False)
        if isinstance(actions[-1], Refused):
            heappush(self._timers, (now_s + TRAINING_RETRY_S, RETRY, index))
        else:
            self._carry_out(actions, now_s)

    def _activate(self, function: ServedFunction, now_s: float) -> bool:
        function.now_s = now_s
        actions = self._controller.activate(function.index)
        self._carry_out(actions, now_s)
        return isinstance(actions[-1], Launch)

    def _poll(self, function: ServedFunction, now_s: float) -> None:
        """Let the policies decide on a function, as of the second that has just ended."""
        second_s = function.polled_at_s
        function.polled_at_s = second_s + 1.0
        function.now_s = second_s
        idle = [(one.idle_since_s, one.instance) for one in function.idle]
        poll = self._controller.poll(function.index, function, idle)
        function.memory = poll.memory
        if poll.share is not None:
            function.share = poll.share
            for one in function.instances:
                if one.ready:
                    self._household.controller.tell(Want(one.instance, poll.share))
        if poll.actions:
            if not all(isinstance(action, Refused) for action in poll.actions):
                function.since_s = second_s  # a refused launch was no action: the window stays
            self._carry_out(poll.actions, now_s)

    # --------------------------------------------------------------------------------------- actions

    def _carry_out(self, actions: tuple[Action, ...], now_s: float) -> None:
        for action in actions:
            if isinstance(action, Launch):
                self._launch(action, now_s)
            elif isinstance(action, Retire):
                self._retire(action.instance, now_s)
            else:
                self._report.refused += 1

    def _launch(self, launch: Launch, now_s: float) -> None:
        self._tables.enter(launch, now_s)
        spec = self._deployment.functions[launch.function]
        function = self._functions[launch.function]
        rows = self._seating.take(launch, spec)
        if function is None:
            self._hosted[launch.instance] = Job(launch, now_s, rows)
        else:
            instance = ServedInstance(launch, function, now_s, rows)
            self._hosted[launch.instance] = instance
            function.instances.append(instance)
            own_size = launch.size == self._controller.sizes[launch.function]
            function.uniform = function.uniform and own_size
        self._staff.hire(launch, spec, rows)

    def _retire(self, index: int, now_s: float) -> None:
        """Take no new batch; leave at once if nothing runs."""
        instance = self._hosted[index]
        assert isinstance(instance, ServedInstance)
        function = instance.function
        function.instances.remove(instance)
        instance.draining = True
        if instance.idle:
            function.idle.remove(instance)
        if instance.running is None:
            self._staff.stop(index)
        self._queueing.arm(function, now_s)

    def _seat(self, index: int, now_s: float) -> None:
        """Let an instance that has started up begin to serve or to train."""
        one = self._hosted[index]
        launch = one.launch
        one.ready_s = now_s
        if isinstance(one, Job):
            one.steps_before = self._steps(one)
        function = self._functions[launch.function]
        places = tuple(
            Place(row, shard.gpu, shard.request, shard.limit, self._part(launch, shard.part), shard.seat)
            for row, shard in zip(one.rows, launch.shards, strict=True)
        )
        wanted = None if function is None else function.share
        cost_per_s = self._capacities.pop(index)
        self._household.controller.tell(
            SitDown(index, launch.function, launch.size.batch, places, wanted, cost_per_s)
        )
        if isinstance(one, ServedInstance):
            self._queueing.join(one, now_s)

    def _part(self, launch: Launch, part: float) -> float:
        """A worker of a training gang holds the whole model, a shard of an LLM its part."""
        return 1.0 if self._functions[launch.function] is None else part

    def _send(self, instance: ServedInstance, first: int, count: int, late_s: float) -> None:
        function = instance.function
        iterations = function.longest_answer(first, count)
        share = max(min(instance.quota, instance.request), LEAST_EXPECTED_SHARE)
        expected_s = iterations * function.spec.model.latency.seconds(count, share)
        self._staff.run(instance.instance, Run(first, count, iterations), expected_s)
        self._report.late_s.append(late_s)

    def _drop(self, function: ServedFunction, first: int, count: int, now_s: float) -> None:
        self._tables.dropped(function.index, first, count, now_s)

    # --------------------------------------------------------------------------------------- reports

    def _take(self, index: int, event: Event, now_s: float) -> None:
        """Take note of what a worker reports."""
        self._report.events += 1
        if isinstance(event, Ready):
            self._note_start_up(index, event)
            launch = self._hosted[index].launch
            ready_s = now_s
            if self._start_up_is_virtual:
                ready_s = max(now_s, self._hosted[index].launch_s + launch.start_up_s)
            heappush(self._timers, (ready_s, SEAT, index))
        elif isinstance(event, Done):
            instance = self._note_batch(index, event)
            if instance.draining:
                self._staff.stop(index)
            else:
                self._queueing.done(instance, self._s(event.end_ns), now_s)
        elif isinstance(event, Finished):
            self._finish(index, event)
        else:
            self._gone(index, now_s)

    def _take_last(self, index: int, event: Event) -> None:
        """Take note of what ended in time, but was heard of after the end."""
        duration_s = self._deployment.duration_s
        if isinstance(event, Done) and self._s(event.end_ns) < duration_s:
            self._note_batch(index, event)
        elif isinstance(event, Finished) and self._s(event.at_ns) < duration_s:
            self._finish(index, event)

    def _note_batch(self, index: int, event: Done) -> ServedInstance:
        instance = self._hosted[index]
        assert isinstance(instance, ServedInstance)
        if instance.running is None or instance.running[:2] != (event.first, event.count):
            raise self._household.workers[index].fault(f"reported {event}, but runs {instance.running}")
        instance.running = None
        start_s, end_s = self._s(event.start_ns), self._s(event.end_ns)
        self._tables.batch(instance.launch, event.first, event.count, start_s, end_s)
        self._queueing.note(instance.function, event.first, event.count, end_s)
        return instance

    def _finish(self, index: int, event: Finished) -> None:
        """End a training job that has done its iterations."""
        job = self._hosted[index]
        assert isinstance(job, Job)
        assert job.ready_s is not None
        job.done_s = max(self._s(event.at_ns), job.ready_s)
        self._controller.finished(job.launch.function, index)
        self._tables.training(job.launch, job.ready_s, job.done_s, event.steps, done=True)
        self._staff.stop(index)

    def _gone(self, index: int, now_s: float) -> None:
        """Free what an instance occupied: its process has ended."""
        one = self._hosted.pop(index)
        if one.ready_s is not None:
            self._household.controller.tell(StandUp(index))
        self._controller.gone(index)
        self._tables.leave(one.launch, one.launch_s, one.ready_s, now_s)
        self._seating.give_back(one.rows)

    def _note_start_up(self, index: int, event: Ready) -> None:
        launch = self._hosted[index].launch
        self._report.start_up(index, self._deployment.functions[launch.function].name, event.loaded)
        # Before time 0 nobody works but to warm up, and whoever does that on a device does it alone.
        alone = self._start_ns is None
        self._capacities[index] = self._host.capacity(launch, event.loaded, alone=alone)

    def _is_leaving(self, index: int) -> bool:
        one = self._hosted[index]
        return isinstance(one, ServedInstance) and one.draining

    def _steps(self, job: Job) -> float:
        return float(self._household.board.seats["steps"][job.rows[0]])
