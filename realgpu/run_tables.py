"""What is kept while a run goes on, and written as tables when it is over.

Replies of different workers come out of order, and the share in use is known only once all are there: so
nothing is written before the end. A batch takes some 100 bytes until then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from policies import Deployment, Launch
from policies.books import ClusterBooks
from profiles import InterferenceModel
from profiles.sharing import Sharing
from realgpu.share_in_use import GpuHistory, Occupant, integrals
from recording import BATCH, DROPPED, TableSink

GpuRow = tuple[float, int, float, float, float, int]


class RunTables:
    """Rows of all tables of one run."""

    def __init__(self, deployment: Deployment, books: ClusterBooks) -> None:
        self._functions = deployment.functions
        self._books = books
        self._batches: list[tuple[float, bytes]] = []
        self._gpus: dict[int, list[GpuRow]] = {}
        self._needs: dict[int, dict[int, float]] = {}
        self._histories: dict[int, GpuHistory] = {}
        self._launches: dict[int, Launch] = {}
        self._instances: list[tuple[Launch, float, float | None, float | None]] = []
        self._training: list[tuple[Launch, float, float, float, bool]] = []

    def enter(self, launch: Launch, now_s: float) -> None:
        """Note that an instance was placed; the books have it already."""
        function = self._functions[launch.function]
        training = function.model.training if function.kind == "training" else None
        self._launches[launch.instance] = launch
        for shard in launch.shards:
            self._needs.setdefault(shard.gpu, {})[launch.instance] = launch.size.needed
            history = self._histories.setdefault(shard.gpu, GpuHistory())
            history.occupants[launch.instance] = Occupant(
                slo_sensitive=training is None,
                request=shard.request,
                limit=shard.limit,
                part=shard.part if training is None else 1.0,
                wave_s=function.model.wave_s if training is None else training.wave_s,
                model=function.model.name,
                batch=launch.size.batch,
            )
            self._note_gpu(shard.gpu, now_s)

    def leave(self, launch: Launch, launch_s: float, ready_s: float | None, now_s: float) -> None:
        """Note that an instance has left; the books have forgotten it already."""
        for shard in launch.shards:
            del self._needs[shard.gpu][launch.instance]
            self._note_gpu(shard.gpu, now_s)
        self._instances.append((launch, launch_s, ready_s, now_s))

    def remain(self, launch: Launch, launch_s: float, ready_s: float | None) -> None:
        """Note that an instance is there at the end."""
        self._instances.append((launch, launch_s, ready_s, None))

    def batch(self, launch: Launch, first: int, count: int, start_s: float, end_s: float) -> None:
        """Note that a batch ended."""
        self._batches.append(
            (end_s, BATCH.pack(launch.function, launch.instance, first, count, start_s, end_s))
        )
        self.active(launch, start_s, end_s)

    def dropped(self, function: int, first: int, count: int, now_s: float) -> None:
        """Note that requests were given up."""
        self._batches.append((now_s, BATCH.pack(function, DROPPED, first, count, now_s, now_s)))

    def active(self, launch: Launch, start_s: float, end_s: float) -> None:
        """Note that an instance was active from then to then."""
        for shard in launch.shards:
            self._histories[shard.gpu].active(launch.instance, start_s, end_s)

    def training(self, launch: Launch, start_s: float, end_s: float, steps: float, *, done: bool) -> None:
        """Note what a training has done."""
        self._training.append((launch, start_s, end_s, steps, done))
        self.active(launch, start_s, end_s)

    def write(
        self,
        recorder: TableSink,
        changes: NDArray[np.void],
        start_ns: int,
        end_s: float,
        sharing: Sharing,
        interference: InterferenceModel | None,
    ) -> None:
        """Write everything.

        Parameters
        ----------
        changes
            Quotas, as the controller reported them (`control.records.CHANGE`).
        start_ns
            CLOCK_MONOTONIC of time 0.
        end_s
            End of the run.
        """
        recorder.batches(b"".join(row for _, row in sorted(self._batches, key=lambda row: row[0])))
        for launch, launch_s, ready_s, retire_s in self._instances:
            self._write_instance(recorder, launch, launch_s, ready_s, retire_s)
        for launch, start_s, job_end_s, steps, done in self._training:
            recorder.training(
                function=launch.function,
                instance=launch.instance,
                start_s=start_s,
                end_s=job_end_s,
                steps=steps,
                done=done,
                workers=len(launch.shards),
            )
        for time_ns, gpu, instance, quota in changes.tolist():
            time_s = max(0.0, (time_ns - start_ns) / 1e9)
            if time_s < end_s:
                self._histories[gpu].quota(instance, time_s, quota)
                recorder.quota(time_s, gpu, instance, quota)
        for gpu in self._gpus:
            self._note_gpu(gpu, end_s)
        self._write_gpus(recorder, sharing, interference)

    def _write_instance(
        self,
        recorder: TableSink,
        launch: Launch,
        launch_s: float,
        ready_s: float | None,
        retire_s: float | None,
    ) -> None:
        size = launch.size
        recorder.instance(
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

    def _note_gpu(self, gpu: int, now_s: float) -> None:
        books = self._books
        row = (
            now_s,
            int(books.residents[gpu]),
            sum(self._needs[gpu].values()),
            float(books.request[gpu]),
            float(books.limit[gpu]),
            int(books.memory[gpu]),
        )
        self._gpus.setdefault(gpu, []).append(row)

    def _write_gpus(
        self, recorder: TableSink, sharing: Sharing, interference: InterferenceModel | None
    ) -> None:
        rows: list[tuple[float, int, GpuRow, float]] = []
        for gpu, own in sorted(self._gpus.items()):
            used = integrals(self._histories[gpu], _times_s(own), sharing, interference)
            rows += ((row[0], gpu, row, in_use) for row, in_use in zip(own, used, strict=True))
        for time_s, gpu, (_, instances, need, request, limit, memory_bytes), in_use in sorted(
            rows, key=lambda row: row[0]
        ):
            recorder.gpu(
                time_s=time_s,
                gpu=gpu,
                instances=instances,
                need=need,
                request=request,
                limit=limit,
                memory_bytes=memory_bytes,
                active_share_s=in_use,
            )


def _times_s(rows: Sequence[GpuRow]) -> list[float]:
    return [row[0] for row in rows]
