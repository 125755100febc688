"""What the vertical policy sees of a GPU, read from the board."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from policies.cycles import CycleMeter
from policies.functions import Function
from profiles.contention import LEAST_SHARE, contention
from profiles.sharing import Sharing
from realgpu.board import Board
from realgpu.control.messages import Place, SitDown


class SeatedResident:
    """One instance's part on one GPU (a `policies.slots.ResidentView`, and a `profiles.contention.Sharer`).

    Attributes
    ----------
    alone
        The share that its quota would mean if nobody else were active.
    """

    def __init__(
        self, newcomer: SitDown, place: Place, function: Function, sharing: Sharing, cycle_baseline: str
    ) -> None:
        training = function.model.training if function.kind == "training" else None
        self.instance = newcomer.instance
        self.row = place.row
        self.gpu = place.gpu
        self.slo_sensitive = function.kind != "training"
        self.is_llm = function.kind == "llm"
        self.request = place.request
        self.limit = place.limit
        self.part = place.part
        self.seat: Hashable = place.seat
        self.wanted = newcomer.wanted
        self.model = function.model.name
        self.batch = newcomer.batch
        self.wave_s = function.model.wave_s if training is None else training.wave_s
        self.quota = 0.0
        self.alone = LEAST_SHARE
        self.idle = True
        self.cycles = 0
        self.pressure = 1.0
        self._sharing = sharing
        self._meter = CycleMeter(cycle_baseline)

    def take_quota(self, quota: float) -> None:
        """Have a quota from now on."""
        self.quota = quota
        _, (terms,) = contention([self], self._sharing)
        self.alone = terms.alone

    def note_cycles(self, count: int, cycle_s: float, batch: int, uncontended_s: float) -> None:
        """Take note that so many cycles were completed, and of the latest."""
        self.cycles += count
        self.pressure = self._meter.pressure(cycle_s, batch, uncontended_s)

    def look_whether_idle(self, board: Board, now_ns: int, window_ns: float) -> None:
        """Find out whether it launched nothing for a window; an idle one is under no pressure."""
        row = board.seats[self.row]
        last_ns = int(row["last_active_ns"])
        if row["active"] or (last_ns and last_ns + window_ns > now_ns):
            self.idle = False
        elif not self.idle:
            self.idle = True
            self.pressure = 1.0


class SharedGpu:
    """One GPU (a `policies.slots.GpuView`)."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.residents: list[SeatedResident] = []
        self.memory: object = None
        self.asks = False
        """A resident that is alone here has still to be asked about."""

    @property
    def contended(self) -> bool:
        """Several sit here, so that the policy is asked on every tick."""
        return len(self.residents) > 1


class SeatedInstance:
    """An instance on its GPUs, and the quotas it had since its present cycle began."""

    def __init__(self, residents: Sequence[SeatedResident], function: Function, board: Board) -> None:
        self.residents = tuple(residents)
        self._seconds = function.model.latency.seconds
        self._cycles_seen = self._cycles_on(board)
        self._shares: list[tuple[float, ...]] = []
        self._lasted_ns: list[int] = []

    @property
    def serves(self) -> bool:
        """Completes kernel launch cycles that a policy may see; training has none."""
        return self.residents[0].slo_sensitive

    def look_at_cycles(self, board: Board, elapsed_ns: int, *, counted: bool) -> None:
        """Take note of what was completed since the last look, `elapsed_ns` ago.

        `counted` is off where nobody asks for cycles, as nobody shares the GPU: they leave no trace.
        """
        shares = tuple(resident.alone for resident in self.residents)
        if self._shares and self._shares[-1] == shares:
            self._lasted_ns[-1] += elapsed_ns
        else:
            self._shares.append(shares)
            self._lasted_ns.append(elapsed_ns)
        completed = self._cycles_on(board) - self._cycles_seen
        if completed > 0:
            if counted:
                row = board.seats[self.residents[0].row]
                cycle_s, batch = float(row["cycle_s"]), int(row["cycle_batch"])
                uncontended_s = self._uncontended_s(batch)
                for resident in self.residents:
                    resident.note_cycles(completed, cycle_s, batch, uncontended_s)
            self._cycles_seen += completed
        if completed > 0 or not board.seats[self.residents[0].row]["active"]:
            self._shares.clear()
            self._lasted_ns.clear()

    def _cycles_on(self, board: Board) -> int:
        return int(board.seats[self.residents[0].row]["cycles"])

    def _uncontended_s(self, batch: int) -> float:
        """Seconds of one cycle alone, on the quotas it had: as if progress had been that of one alone."""
        alone_s = [self._alone_s(batch, shares) for shares in self._shares]
        lasted_ns = sum(self._lasted_ns)
        if not lasted_ns:
            return alone_s[-1]
        return lasted_ns / sum(ns / seconds for ns, seconds in zip(self._lasted_ns, alone_s, strict=True))

    def _alone_s(self, batch: int, shares: tuple[float, ...]) -> float:
        return sum(
            resident.part * self._seconds(batch, share)
            for resident, share in zip(self.residents, shares, strict=True)
        )
