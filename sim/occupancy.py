"""What is allocated on each GPU, as rows of `gpus`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from policies import Launch
from policies.books import ClusterBooks
from recording import TableSink
from sim.gpu import Gpu


class Occupancy:
    """Records a row for every GPU whose allocation changes, and the final one of each used GPU."""

    def __init__(
        self,
        books: ClusterBooks,
        gpus: Sequence[Gpu],
        recorder: TableSink,
        *,
        before_record: Callable[[Gpu, float], None] | None = None,
    ) -> None:
        self._books = books
        self._gpus = gpus
        self._recorder = recorder
        self._before_record = before_record
        self._needs: dict[int, dict[int, float]] = {}
        """For each used GPU, the profiled request of each instance on it."""

    def enter(self, launch: Launch, need: float, now_s: float) -> None:
        """Record that an instance was placed; the books have it already."""
        for shard in launch.shards:
            self._needs.setdefault(shard.gpu, {})[launch.instance] = need
            self._record(shard.gpu, now_s)

    def leave(self, launch: Launch, now_s: float) -> None:
        """Record that an instance has left; the books have forgotten it already."""
        for shard in launch.shards:
            del self._needs[shard.gpu][launch.instance]
            self._record(shard.gpu, now_s)

    def close(self, now_s: float) -> None:
        """Record the end of the run."""
        for gpu in sorted(self._needs):
            self._record(gpu, now_s)

    def _record(self, gpu: int, now_s: float) -> None:
        books = self._books
        if self._before_record is not None:
            self._before_record(self._gpus[gpu], now_s)
        self._recorder.gpu(
            time_s=now_s,
            gpu=gpu,
            instances=int(books.residents[gpu]),
            need=sum(self._needs[gpu].values()),
            request=float(books.request[gpu]),
            limit=float(books.limit[gpu]),
            memory_bytes=int(books.memory[gpu]),
            active_share_s=self._gpus[gpu].active_share_until(now_s),
        )
