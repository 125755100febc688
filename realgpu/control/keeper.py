"""Asks the vertical policy about every GPU that is shared, and puts its quotas on the board."""

from __future__ import annotations

from collections.abc import Sequence

from policies.functions import Function
from policies.slots import VerticalPolicy
from profiles.contention import LEAST_SHARE
from realgpu.board import Board
from realgpu.control.messages import SitDown, StandUp, Want
from realgpu.control.records import ChangeLog
from realgpu.control.residents import SeatedInstance, SeatedResident, SharedGpu
from realgpu.control.throttle import Throttle


class QuotaKeeper:
    """Quotas of everybody who sits on a GPU. It knows no clock but the times it is told.

    Parameters
    ----------
    functions
        Those of the deployment, by index.
    throttle
        What else holds workers to their quotas; `None`: the board alone.
    """

    def __init__(
        self,
        policy: VerticalPolicy,
        functions: Sequence[Function],
        board: Board,
        throttle: Throttle | None = None,
    ) -> None:
        self.changes = ChangeLog()
        self._policy = policy
        self._functions = functions
        self._board = board
        self._throttle = throttle
        self._window_ns = policy.window_s * 1e9
        self._instances: dict[int, SeatedInstance] = {}
        self._gpus: dict[int, SharedGpu] = {}
        self._looked_ns: int | None = None

    def take(self, message: SitDown | StandUp | Want, now_ns: int) -> None:
        """Take note of who comes, who goes, and what is wanted."""
        if isinstance(message, SitDown):
            self._sit_down(message, now_ns)
        elif isinstance(message, StandUp):
            self._stand_up(message.instance)
        else:
            self._want(message)

    def tick(self, now_ns: int) -> None:
        """Look at the board, and let the policy decide."""
        elapsed_ns = 0 if self._looked_ns is None else now_ns - self._looked_ns
        self._looked_ns = now_ns
        for instance in self._instances.values():
            if instance.serves:
                first = instance.residents[0]
                counted = self._gpus[first.gpu].contended or len(instance.residents) > 1
                instance.look_at_cycles(self._board, elapsed_ns, counted=counted)
        for gpu in self._gpus.values():
            if gpu.contended or gpu.asks:
                self._decide(gpu, now_ns)

    def _decide(self, gpu: SharedGpu, now_ns: int) -> None:
        for resident in gpu.residents:
            resident.look_whether_idle(self._board, now_ns, self._window_ns)
        grant = self._policy.decide(gpu)
        requoted = False
        for resident, quota in zip(gpu.residents, grant.quotas, strict=True):
            requoted = self._give(resident, quota, now_ns) or requoted
        gpu.asks = not grant.settled and (requoted or grant.memory != gpu.memory)
        gpu.memory = grant.memory

    def _give(self, resident: SeatedResident, quota: float, now_ns: int) -> bool:
        """Set a quota, above 0 and up to the limit; return whether it is another one."""
        quota = min(max(quota, LEAST_SHARE), resident.limit)
        if quota == resident.quota:
            return False
        resident.take_quota(quota)
        self._board.seats["quota"][resident.row] = quota
        if self._throttle is not None:
            self._throttle.apply(resident.row, quota)
        self.changes.add(now_ns, resident.gpu, resident.instance, quota)
        return True

    def _sit_down(self, newcomer: SitDown, now_ns: int) -> None:
        function = self._functions[newcomer.function]
        policy = self._policy
        residents = [
            SeatedResident(newcomer, place, function, policy.sharing, policy.cycle_baseline)
            for place in newcomer.places
        ]
        self._instances[newcomer.instance] = SeatedInstance(residents, function, self._board)
        if self._throttle is not None and newcomer.cost_per_s is not None:
            self._throttle.sit_down(residents[0].row, newcomer.cost_per_s)
        for resident in residents:
            gpu = self._gpus.setdefault(resident.gpu, SharedGpu(resident.gpu))
            self._give(resident, policy.first_quota(resident), now_ns)
            gpu.residents.append(resident)
            gpu.asks = True

    def _stand_up(self, instance: int) -> None:
        residents = self._instances.pop(instance).residents
        if self._throttle is not None:
            self._throttle.stand_up(residents[0].row)
        for resident in residents:
            gpu = self._gpus[resident.gpu]
            gpu.residents.remove(resident)
            gpu.asks = bool(gpu.residents)

    def _want(self, message: Want) -> None:
        instance = self._instances.get(message.instance)
        if instance is None:
            return
        for resident in instance.residents:
            if resident.wanted != message.share:
                resident.wanted = message.share
                self._gpus[resident.gpu].asks = True
