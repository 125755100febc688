"""The vertical loop: asks the vertical policy on each tick of its grid, while something moves.

A policy's decision is a pure function of what it is shown. Once its answer equals what holds already, the
same view would get the same answer for ever, so the GPU is left alone until its view changes in a way that
can matter: a resident came or went, became busy after an idle window or idle for one, or ended a cycle
outside the calm band that the policy named. The next tick of the grid then decides.

Where at most one resident of a GPU is active, the ticks need not even be on the agenda: nobody but that
resident's batch can notice them. They lag, and are caught up with, in order and each at its own time,
before anything else happens on the GPU. The batch is looked at no later than it could end on its limit.

`every_tick` turns all of this off; the outcome is the same, batch for batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappush

from policies.slots import VerticalPolicy
from recording import TableSink
from sim.agenda import IDLE, TICK
from sim.gpu import INF, Agenda, Gpu, Resident
from sim.instances import ServingInstance


class VerticalLoop:
    """Ticks of all GPUs."""

    def __init__(
        self,
        policy: VerticalPolicy,
        gpus: Sequence[Gpu],
        agenda: Agenda,
        recorder: TableSink,
        *,
        every_tick: bool,
    ) -> None:
        self._policy = policy
        self._tick_s = policy.tick_s or INF
        self.window_s = policy.window_s
        self._gpus = gpus
        self._agenda = agenda
        self._recorder = recorder
        self._every_tick = every_tick
        # Rows of quotas come in the order of time, so that recording them forbids lagging.
        self._lags = not every_tick and not recorder.records_quotas

    def residents_changed(self, gpu: Gpu, now_s: float, *, after: bool) -> None:
        """Take note that a resident came or went.

        `after` says that the ticks of this instant have been already; the next one is a period later.
        """
        if self._policy.tick_s is None:
            return
        gpu.watched = len(gpu.residents) > 1
        gpu.may_lag = (
            self._lags
            and gpu.watched
            and gpu.plain
            and all(r.slo_sensitive and r.part == 1.0 for r in gpu.residents)
        )
        gpu.set_eagerness()
        gpu.look_s = 0.0
        gpu.first_tick_s = self._grid(now_s, after=after)
        if gpu.residents:
            self.ask(gpu, now_s, after=after)
            if gpu.eager:
                self._put_tick_on_agenda(gpu)  # which will watch for idleness, too
            else:
                self.look_ahead(gpu)

    def want(self, resident: Resident, share: float, now_s: float) -> None:
        """Let the policy know, at the next tick, what share the horizontal policy wants a resident to use."""
        if resident.wanted == share:
            return
        gpu = resident.gpu
        self.catch_up(gpu, now_s, through=True)
        resident.wanted = share
        gpu.grants.clear()
        gpu.ramps.clear()
        if self._policy.tick_s is not None:
            self.ask(gpu, now_s, after=True)

    def ask(self, gpu: Gpu, now_s: float, *, after: bool = False) -> None:
        """Have the policy decide at the first tick of the grid from `now_s` on, or after it."""
        time_s = self._grid(now_s, after=after)
        if time_s < gpu.tick_at_s:
            gpu.tick_at_s = time_s
            if gpu.eager:
                heappush(self._agenda, (time_s, TICK + gpu.index))
            elif time_s < gpu.look_s:
                gpu.look_s = time_s

    def resume(self, gpu: Gpu, now_s: float) -> None:
        """Put what lags of a GPU on the agenda, now that others may notice it."""
        self._put_tick_on_agenda(gpu)
        self.watch_for_idleness(gpu, now_s)

    def _put_tick_on_agenda(self, gpu: Gpu) -> None:
        if gpu.tick_at_s < INF:
            heappush(self._agenda, (gpu.tick_at_s, TICK + gpu.index))

    def catch_up(self, gpu: Gpu, now_s: float, *, through: bool = False) -> None:
        """Decide on the ticks that lag before `now_s`, or through it, in their order."""
        if gpu.eager:
            return
        flip_s = self._next_flip_s(gpu)
        while True:
            gpu.look_s = time_s = gpu.tick_at_s if gpu.tick_at_s < flip_s else flip_s
            if time_s > now_s or (time_s == now_s and not through):
                return
            if time_s == flip_s or gpu.memory or not self._ride(gpu, now_s if now_s < flip_s else flip_s):
                self._decide(gpu, time_s)
                flip_s = self._next_flip_s(gpu)

    def _ride(self, gpu: Gpu, until_s: float) -> bool:
        """Follow a remembered ramp from the next tick on, as far as before `until_s`; whether there was any.

        Nobody becomes idle before `until_s`, so that it need not look at who is.
        """
        if gpu.tick_at_s >= until_s:
            return False
        for resident in gpu.residents:
            if not resident.calm_low <= resident.pressure < resident.calm_high:
                return False
        key = (gpu.quotas, gpu.idle_mask, gpu.calm)
        ramp = gpu.ramps.get(key)
        if ramp is None:
            ramp = self._ramp(gpu)
            if ramp is None:
                return False
            gpu.ramps[key] = ramp
        tick = round(gpu.tick_at_s / self._tick_s)
        time_s = gpu.tick_at_s
        steps: list[tuple[float, tuple[float, ...]]] = []
        for quotas in ramp:
            if time_s >= until_s:
                gpu.tick_at_s = time_s
                break
            steps.append((time_s, quotas))
            tick += 1
            time_s = tick * self._tick_s
        else:
            gpu.tick_at_s = INF
        if steps:
            self._take_steps(gpu, steps)
        return True

    def _ramp(self, gpu: Gpu) -> tuple[tuple[float, ...], ...] | None:
        """The quotas that follow from the present view until they settle; `None` if not all are known."""
        quotas = gpu.quotas
        ramp: list[tuple[float, ...]] = []
        while True:
            grant = gpu.grants.get((quotas, gpu.idle_mask, gpu.calm))
            if grant is None or grant.memory or grant.calm != gpu.calm:
                return None
            if grant.quotas == quotas:
                return tuple(ramp)
            quotas = grant.quotas
            ramp.append(quotas)
            if grant.settled:
                return tuple(ramp)

    def _take_steps(self, gpu: Gpu, steps: list[tuple[float, tuple[float, ...]]]) -> None:
        """Give the residents one tuple of quotas after the other, each at its time; at most one is active."""
        solo = gpu.solo
        if solo is not None and isinstance(solo.owner, ServingInstance):
            position = gpu.residents.index(solo)
            own: list[tuple[float, float]] = []
            quota = solo.quota
            for time_s, quotas in steps:
                if quotas[position] != quota:  # to re-time without a change would only round differently
                    quota = quotas[position]
                    own.append((time_s, quota))
            if own:
                gpu.ramp_solo(own)
                solo.share = solo.alone = quota
                solo.owner.ramp(own)
        gpu.quotas = steps[-1][1]
        for resident, quota in zip(gpu.residents, gpu.quotas, strict=True):
            resident.quota = quota

    def after_resting(self, gpu: Gpu, now_s: float) -> None:
        """Arrange to find out when a resident that became inactive is idle, unless look_s says it already."""
        if gpu.eager:
            if gpu.idle_check_s == INF:
                self.watch_for_idleness(gpu, now_s)
        else:  # another batch is left alone: its ticks lag from now on
            gpu.look_s = 0.0
            self.look_ahead(gpu)

    def look_ahead(self, gpu: Gpu) -> None:
        """Look at the one active batch no later than it could end if a tick that lags raises its quota."""
        if gpu.solo is not None and isinstance(gpu.solo.owner, ServingInstance):
            tick_s = min(gpu.tick_at_s, self._next_flip_s(gpu))
            if tick_s < gpu.solo.owner.finish_s:
                gpu.solo.owner.expect_by(tick_s, self._agenda)

    def _grid(self, now_s: float, *, after: bool) -> float:
        """The first tick from `now_s` on, or after it."""
        tick = int(now_s / self._tick_s)
        time_s = tick * self._tick_s
        while time_s < now_s or (after and time_s <= now_s):
            tick += 1
            time_s = tick * self._tick_s
        return time_s

    def _next_flip_s(self, gpu: Gpu) -> float:
        """Tick at which the first of the inactive residents will be found idle."""
        first_s = INF
        for resident in gpu.residents:
            if not resident.active and not resident.idle and resident.last_active_s < first_s:
                first_s = resident.last_active_s
        if first_s == INF:
            return INF
        return max(self._grid(first_s + self.window_s, after=False), gpu.first_tick_s)

    def cycle(self, instance: ServingInstance, now_s: float) -> None:
        """Take note of a completed kernel launch cycle."""
        cycle_s = (now_s - instance.start_s) / instance.units
        uncontended_s = instance.uncontended_s() / instance.units if instance.contended else cycle_s
        for resident in instance.residents:
            pressure = resident.meter.pressure(cycle_s, instance.count, uncontended_s)
            resident.cycles += 1
            resident.pressure = pressure
            if not resident.calm_low <= pressure < resident.calm_high and resident.gpu.watched:
                self.ask(resident.gpu, now_s)

    def tick(self, index: int, now_s: float) -> None:
        """Let the policy decide on a GPU whose tick was on the agenda."""
        gpu = self._gpus[index]
        if now_s != gpu.tick_at_s:
            return
        self.catch_up(gpu, now_s)
        if gpu.tick_at_s == now_s:
            self._decide(gpu, now_s)

    def _decide(self, gpu: Gpu, now_s: float) -> None:
        """Let the policy decide on a GPU."""
        gpu.tick_at_s = INF
        residents = gpu.residents
        if not residents:
            return
        window_s = self.window_s
        idle_mask = 0
        calm = True
        for resident in residents:
            if resident.active or resident.last_active_s + window_s > now_s:
                resident.idle = False
            else:
                if not resident.idle:
                    resident.idle = True
                    resident.pressure = 1.0
                idle_mask |= resident.bit
            if not resident.calm_low <= resident.pressure < resident.calm_high:
                calm = False
        gpu.idle_mask = idle_mask
        if calm and not gpu.memory and not self._every_tick:
            # All pressures are within their bands, so these, the quotas and idleness are the whole view.
            key = (gpu.quotas, idle_mask, gpu.calm)
            grant = gpu.grants.get(key)
            if grant is None:
                grant = gpu.grants[key] = self._policy.decide(gpu)
        else:
            grant = self._policy.decide(gpu)
        if grant.calm != gpu.calm:
            gpu.calm = grant.calm
            for resident, (low, high) in zip(residents, grant.calm, strict=True):
                resident.calm_low, resident.calm_high = low, high
        requoted = grant.quotas != gpu.quotas
        if requoted:
            if self._recorder.records_quotas:
                self._record(gpu, grant.quotas, now_s)
            gpu.requote(grant.quotas, now_s, self._agenda)
        if self._every_tick:
            again = gpu.watched
        else:
            again = not grant.settled and (requoted or grant.memory != gpu.memory)
        gpu.memory = grant.memory
        if again:
            self.ask(gpu, now_s, after=True)
        if gpu.eager:
            self.watch_for_idleness(gpu, now_s)

    def _record(self, gpu: Gpu, quotas: tuple[float, ...], now_s: float) -> None:
        for resident, quota in zip(gpu.residents, quotas, strict=True):
            if quota != resident.quota:
                self._recorder.quota(now_s, gpu.index, resident.instance, quota)

    def watch_for_idleness(self, gpu: Gpu, now_s: float) -> None:
        """Arrange a look at the time when the first of the inactive residents will have become idle."""
        if not gpu.watched:
            return
        first_s = INF
        for resident in gpu.residents:
            if not resident.active and not resident.idle and resident.last_active_s < first_s:
                first_s = resident.last_active_s
        first_s = max(first_s + self.window_s, now_s)
        if first_s < gpu.idle_check_s:
            gpu.idle_check_s = first_s
            heappush(self._agenda, (first_s, IDLE + gpu.index))

    def idle_check(self, index: int, now_s: float) -> None:
        """Ask for a decision if a resident has become idle; look again later if one is about to."""
        gpu = self._gpus[index]
        if now_s != gpu.idle_check_s:
            return
        gpu.idle_check_s = INF
        if not gpu.watched or not gpu.eager:
            return
        for resident in gpu.residents:
            if not resident.active and not resident.idle and resident.last_active_s + self.window_s <= now_s:
                self.ask(gpu, now_s)
                return  # the tick looks for the next one
        self.watch_for_idleness(gpu, now_s)
