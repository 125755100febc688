"""The simulated world: carries out what the controller decides, and reports what became of it.

Long-lived actors are SimPy processes: a deployment that starts late, a launch, a training job that waits
for GPUs. All that comes by the million is on the agenda (`sim.agenda`). Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from heapq import heappush

from simpy.events import Event

from policies import Action, Controller, Deployment, Launch, Refused, Retire, System
from policies.cycles import CycleMeter
from policies.outcome import Outcome
from profiles import InterferenceModel
from recording import TableSink
from sim.agenda import JOB, ClusterEnvironment
from sim.functions import ServedFunction
from sim.gpu import Gpu, Resident
from sim.instances import ServingInstance, TrainingJob
from sim.occupancy import Occupancy
from sim.scaling import ScalingLoop
from sim.serving import Serving
from sim.vertical import VerticalLoop

FLUSH_BYTES = 1 << 20
"""Rows of batches are handed to the recorder in pieces of about this size."""

TRAINING_RETRY_S = 1.0
"""A training job that no GPUs could take is tried again this often."""


def simulate(
    deployment: Deployment,
    system: System,
    *,
    seed: int,
    recorder: TableSink,
    progress: Callable[[float], None] | None = None,
    skip_idle_ticks: bool = True,
    interference: InterferenceModel | None = None,
) -> Outcome:
    """Run a deployment under a system from 0 to its duration, and record what happens.

    Parameters
    ----------
    seed
        Kept for worlds that draw random numbers. This one draws none: arrivals are given and services are
        deterministic.
    progress
        Called with the simulated time, now and then.
    skip_idle_ticks
        Off, the vertical policy is asked on every tick and the horizontal one in every second. The tables
        are the same; a test holds the two against each other.
    interference
        Further interference between residents than the law of contention has by itself.

    Raises
    ------
    PolicyError
        If a function can never be placed on this cluster.
    StalledError
        If the world makes no progress.
    """
    world = World(deployment, system, recorder, skip_idle_ticks=skip_idle_ticks, interference=interference)
    return world.run(progress)


class World:
    """One run."""

    def __init__(
        self,
        deployment: Deployment,
        system: System,
        recorder: TableSink,
        *,
        skip_idle_ticks: bool,
        interference: InterferenceModel | None,
    ) -> None:
        self._deployment = deployment
        self._recorder = recorder
        self._controller = Controller(system, deployment)
        self._cycle_baseline = system.vertical.cycle_baseline
        self._first_quota = system.vertical.first_quota
        self._env = ClusterEnvironment()
        self._agenda = self._env.agenda
        self._gpus = [
            Gpu(index, system.vertical.sharing, interference) for index in range(deployment.cluster.gpus)
        ]
        self._functions: list[ServedFunction | None] = [
            None
            if spec.kind == "training"
            else ServedFunction(
                index,
                spec,
                self._controller.sizes[index],
                deployment.arrivals[index],
                deployment.output_tokens[index],
                deployment.duration_s,
                system.start_up.seconds(spec),
            )
            for index, spec in enumerate(deployment.functions)
        ]
        self._vertical = VerticalLoop(
            system.vertical, self._gpus, self._agenda, recorder, every_tick=not skip_idle_ticks
        )
        self._occupancy = Occupancy(
            self._controller.books, self._gpus, recorder, before_record=self._vertical.catch_up
        )
        self._serving = Serving(
            self._functions,
            system.routing,
            self._vertical,
            self._agenda,
            activate=self._activate,
            drained=self._drained,
        )
        self._scaling = ScalingLoop(
            self._controller,
            self._functions,
            self._agenda,
            deployment.duration_s,
            carry_out=self._carry_out,
            want=self._vertical.want,
            every_second=not skip_idle_ticks,
        )
        self._instances: dict[int, ServingInstance] = {}
        self._jobs: dict[int, TrainingJob] = {}
        self._refused = 0
        self._controller.watch(self._functions)

    def run(self, progress: Callable[[float], None] | None) -> Outcome:
        """Deploy, work off all events, and record the end."""
        for index, spec in enumerate(self._deployment.functions):
            if spec.start_s > 0.0:
                self._env.process(self._deploy_later(index, spec.start_s))
            else:
                self._deploy(index, 0.0, warm=True)
        handlers = (
            self._serving.complete,
            self._job_end,
            self._serving.close,
            self._vertical.idle_check,
            self._vertical.tick,
            self._scaling.poll,
        )

        def after_block(now_s: float) -> None:
            if len(self._serving.rows) > FLUSH_BYTES:
                self._flush()
            if progress is not None:
                progress(now_s)

        duration_s = self._deployment.duration_s
        events = self._env.run_until(duration_s, handlers, after_block)
        self._record_end(duration_s)
        if progress is not None:
            progress(duration_s)
        return Outcome(duration_s, events, self._refused, self._controller.sizes)

    # ------------------------------------------------------------------------------------- deployment

    def _deploy(self, index: int, now_s: float, *, warm: bool) -> None:
        actions = self._controller.deploy(index, warm=warm)
        self._carry_out(actions, now_s)
        function = self._functions[index]
        if function is not None:
            self._scaling.start(function, now_s)
            self._serving.arm(function, now_s)
        elif isinstance(actions[-1], Refused):
            self._env.process(self._place_job_later(index))

    def _deploy_later(self, index: int, start_s: float) -> Generator[Event, object, None]:
        yield self._env.timeout(start_s)
        self._deploy(index, self._env.now, warm=False)

    def _place_job_later(self, index: int) -> Generator[Event, object, None]:
        """Try again until GPUs can take a training job; it counts as refused once."""
        actions: tuple[Action, ...] = (Refused(index),)
        while isinstance(actions[-1], Refused):
            yield self._env.timeout(TRAINING_RETRY_S)
            actions = self._controller.deploy(index, warm=False)
        self._carry_out(actions, self._env.now)

    def _activate(self, function: ServedFunction, now_s: float) -> bool:
        function.now_s = now_s
        actions = self._controller.activate(function.index)
        self._carry_out(actions, now_s)
        return isinstance(actions[-1], Launch)

    # ---------------------------------------------------------------------------------------- actions

    def _carry_out(self, actions: tuple[Action, ...], now_s: float) -> None:
        for action in actions:
            if isinstance(action, Launch):
                self._launch(action, now_s)
            elif isinstance(action, Retire):
                self._retire(action.instance, now_s)
            else:
                self._refused += 1

    def _launch(self, launch: Launch, now_s: float) -> None:
        self._occupancy.enter(launch, launch.size.needed, now_s)
        function = self._functions[launch.function]
        if function is None:
            self._jobs[launch.instance] = self._new_job(launch, now_s)
        else:
            function.live += 1
            instance = ServingInstance(launch, function, now_s)
            function.instances.append(instance)
            function.uniform = function.uniform and launch.size == self._controller.sizes[launch.function]
            self._instances[launch.instance] = instance
        if launch.cold:
            self._env.process(self._start_up(launch))
        else:
            self._ready(launch.instance, now_s)

    def _new_job(self, launch: Launch, now_s: float) -> TrainingJob:
        spec = self._deployment.functions[launch.function]
        training = spec.model.training
        assert training is not None  # sizing measured it
        return TrainingJob(launch, launch.function, training.step, training.launches, spec.iterations, now_s)

    def _start_up(self, launch: Launch) -> Generator[Event, object, None]:
        """A cold start."""
        yield self._env.timeout(launch.start_up_s)
        self._ready(launch.instance, self._env.now)

    def _ready(self, index: int, now_s: float) -> None:
        """Let an instance that has started up begin to serve or to train, unless it was retired meanwhile."""
        instance = self._instances.get(index)
        if instance is not None:
            instance.ready_s = now_s
            wave_s = instance.function.spec.model.wave_s
            instance.residents = residents = self._sit_down(instance, instance.launch, wave_s, now_s)
            instance.resident = residents[0] if len(residents) == 1 else None
            self._serving.join(instance, now_s)
            return
        job = self._jobs.get(index)
        if job is not None:
            training = self._deployment.functions[job.function].model.training
            assert training is not None
            job.ready_s = now_s
            job.residents = self._sit_down(job, job.launch, training.wave_s, now_s)
            for worker in job.residents:
                worker.gpu.wake(worker, now_s, self._agenda)
            job.begin(now_s, self._agenda)

    def _sit_down(
        self, owner: ServingInstance | TrainingJob, launch: Launch, wave_s: float, now_s: float
    ) -> tuple[Resident, ...]:
        """Make a launched instance a resident of its GPUs."""
        spec = self._deployment.functions[launch.function]
        function = self._functions[launch.function]
        residents = []
        for shard in launch.shards:
            gpu = self._gpus[shard.gpu]
            resident = Resident(
                owner,
                gpu,
                instance=launch.instance,
                slo_sensitive=spec.kind != "training",
                is_llm=spec.kind == "llm",
                request=shard.request,
                limit=shard.limit,
                part=1.0 if spec.kind == "training" else shard.part,
                wave_s=wave_s,
                meter=CycleMeter(self._cycle_baseline),
                model=spec.model.name,
                batch=launch.size.batch,
                seat=shard.seat,
                wanted=None if function is None else function.share,
            )
            resident.quota = self._first_quota(resident)
            if self._recorder.records_quotas:
                self._recorder.quota(now_s, gpu.index, launch.instance, resident.quota)
            self._vertical.catch_up(gpu, now_s, through=now_s > 0.0)
            gpu.set_residents([*gpu.residents, resident], now_s, self._agenda)
            self._vertical.residents_changed(gpu, now_s, after=now_s > 0.0)
            residents.append(resident)
        return tuple(residents)

    # ------------------------------------------------------------------------------------ retirement

    def _retire(self, index: int, now_s: float) -> None:
        """Take no new batch; leave at once if nothing runs."""
        instance = self._instances[index]
        function = instance.function
        function.live -= 1
        function.instances.remove(instance)
        instance.draining = True
        if not instance.running:
            if instance.ready_s is not None:
                function.idle.remove(instance)
            self._leave(instance, now_s, after=True)
        if not function.live or not function.uniform:  # somebody else is next
            self._serving.arm(function, now_s)

    def _drained(self, instance: ServingInstance, now_s: float) -> None:
        self._leave(instance, now_s, after=False)

    def _leave(self, instance: ServingInstance, now_s: float, *, after: bool) -> None:
        del self._instances[instance.index]
        self._stand_up(instance.residents, now_s, after=after)
        self._controller.gone(instance.index)
        self._occupancy.leave(instance.launch, now_s)
        self._record_instance(instance.launch, instance.launch_s, instance.ready_s, now_s)

    def _job_end(self, index: int, now_s: float) -> None:
        """End a training job that has done its iterations."""
        job = self._jobs.get(index)
        if job is None or now_s != job.pending_s:
            return
        if job.finish_s > now_s:
            job.pending_s = job.finish_s
            heappush(self._agenda, (job.finish_s, JOB + index))
            return
        self._controller.finished(job.function, index)
        del self._jobs[index]
        job.running = False
        self._stand_up(job.residents, now_s, after=False)
        self._controller.gone(index)
        self._occupancy.leave(job.launch, now_s)
        self._record_instance(job.launch, job.launch_s, job.ready_s, now_s)
        self._record_job(job, now_s, steps=float(job.iterations or 0), done=True)

    def _stand_up(self, residents: tuple[Resident, ...], now_s: float, *, after: bool) -> None:
        for resident in residents:
            gpu = resident.gpu
            self._vertical.catch_up(gpu, now_s, through=after)
            gpu.set_residents([r for r in gpu.residents if r is not resident], now_s, self._agenda)
            self._vertical.residents_changed(gpu, now_s, after=after)

    # -------------------------------------------------------------------------------------- recording

    def _record_instance(
        self, launch: Launch, launch_s: float, ready_s: float | None, retire_s: float | None
    ) -> None:
        size = launch.size
        self._recorder.instance(
            instance=launch.instance,
            function=launch.function,
            launch_s=launch_s,
            ready_s=ready_s,
            retire_s=retire_s,
            cold=launch.cold,
            batch=size.batch,
            request=size.request,
            limit=size.limit,
            gpus=[shard.gpu for shard in launch.shards],
            memory_bytes=[shard.memory_bytes for shard in launch.shards],
        )

    def _record_job(self, job: TrainingJob, now_s: float, *, steps: float, done: bool) -> None:
        assert job.ready_s is not None
        self._recorder.training(
            function=job.function,
            instance=job.index,
            start_s=job.ready_s,
            end_s=now_s,
            steps=steps,
            done=done,
            workers=len(job.residents),
        )

    def _record_end(self, now_s: float) -> None:
        """Record those who are still there."""
        self._flush()
        for index in sorted([*self._instances, *self._jobs]):
            owner = self._instances.get(index) or self._jobs[index]
            self._record_instance(owner.launch, owner.launch_s, owner.ready_s, None)
        for index in sorted(self._jobs):
            job = self._jobs[index]
            if job.ready_s is not None:
                self._record_job(job, now_s, steps=job.steps_until(now_s), done=False)
        self._occupancy.close(now_s)

    def _flush(self) -> None:
        self._recorder.batches(self._serving.rows)
        self._serving.rows.clear()
