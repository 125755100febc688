"""The vertical loop: asks the vertical policy on each tick of its grid, while something moves.

A policy's decision is a pure function of what it is shown. Once its answer equals what holds already, the
same view would get the same answer for ever, so the GPU is left alone until its view changes in a way that
can matter: a resident came or went, became busy after an idle window or idle for one, or ended a cycle
outside the calm band that the policy named. The next tick of the grid then decides. `every_tick` turns the
skipping off; the outcome is the same, batch for batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heappush

from policies.slots import Grant, VerticalPolicy
from recording import TableSink
from sim.agenda import IDLE, TICK
from sim.gpu import INF, Agenda, Gpu
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
        self._window_s = policy.window_s
        self._gpus = gpus
        self._agenda = agenda
        self._recorder = recorder
        self._every_tick = every_tick

    def residents_changed(self, gpu: Gpu, now_s: float, *, after: bool) -> None:
        """Take note that a resident came or went.

        `after` says that the ticks of this instant have been already; the next one is a period later.
        """
        if self._policy.tick_s is not None:
            gpu.watched = len(gpu.residents) > 1
            if gpu.residents:
                self.ask(gpu, now_s, after=after)

    def ask(self, gpu: Gpu, now_s: float, *, after: bool = False) -> None:
        """Have the policy decide at the first tick of the grid from `now_s` on, or after it."""
        tick = math.floor(now_s / self._tick_s)
        time_s = tick * self._tick_s
        while time_s < now_s or (after and time_s <= now_s):
            tick += 1
            time_s = tick * self._tick_s
        if time_s < gpu.tick_at_s:
            gpu.tick_at_s = time_s
            heappush(self._agenda, (time_s, TICK + gpu.index))

    def cycle(self, instance: ServingInstance, now_s: float) -> None:
        """Take note of a completed kernel launch cycle."""
        cycle_s = (now_s - instance.start_s) / instance.units
        uncontended_s = instance.uncontended_s() / instance.units
        for resident in instance.residents:
            pressure = resident.meter.pressure(cycle_s, instance.count, uncontended_s)
            resident.cycles += 1
            resident.pressure = pressure
            if not resident.calm_low <= pressure < resident.calm_high and resident.gpu.watched:
                self.ask(resident.gpu, now_s)

    def tick(self, index: int, now_s: float) -> None:
        """Let the policy decide on a GPU."""
        gpu = self._gpus[index]
        if now_s != gpu.tick_at_s:
            return
        gpu.tick_at_s = INF
        residents = gpu.residents
        if not residents:
            return
        window_s = self._window_s
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
        grant = self._grant(gpu, idle_mask, calm)
        if grant.calm is not gpu.calm:
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
        self.watch_for_idleness(gpu)

    def _grant(self, gpu: Gpu, idle_mask: int, calm: bool) -> Grant:
        """Ask the policy, or remember what it said to the same view.

        While all pressures are calm they cannot matter, so quotas, idleness and memory are the whole view.
        """
        if not calm or gpu.memory or self._every_tick:
            return self._policy.decide(gpu)
        key = (gpu.quotas, idle_mask)
        grant = gpu.grants.get(key)
        if grant is None:
            grant = gpu.grants[key] = self._policy.decide(gpu)
        return grant

    def _record(self, gpu: Gpu, quotas: tuple[float, ...], now_s: float) -> None:
        for resident, quota in zip(gpu.residents, quotas, strict=True):
            if quota != resident.quota:
                self._recorder.quota(now_s, gpu.index, resident.instance, quota)

    def watch_for_idleness(self, gpu: Gpu) -> None:
        """Arrange a look at the time when the first of the inactive residents will have become idle."""
        if not gpu.watched:
            return
        first_s = INF
        for resident in gpu.residents:
            if not resident.active and not resident.idle and resident.last_active_s < first_s:
                first_s = resident.last_active_s
        first_s += self._window_s
        if first_s < gpu.idle_check_s:
            gpu.idle_check_s = first_s
            heappush(self._agenda, (first_s, IDLE + gpu.index))

    def idle_check(self, index: int, now_s: float) -> None:
        """Ask for a decision if a resident has become idle; look again later if one is about to."""
        gpu = self._gpus[index]
        if now_s != gpu.idle_check_s:
            return
        gpu.idle_check_s = INF
        if not gpu.watched:
            return
        for resident in gpu.residents:
            if not resident.active and not resident.idle and resident.last_active_s + self._window_s <= now_s:
                self.ask(gpu, now_s)
                return  # the tick looks for the next one
        self.watch_for_idleness(gpu)
