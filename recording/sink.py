"""The seam between a world and what is kept of a run: one method a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from recording.schema import GPUS, INSTANCES, QUOTAS, TRAINING, Table


class TableSink(Protocol):
    """Takes the rows of a run's tables (`recording.schema`); a world is handed one and knows no files.

    Values must be finite; `None` is allowed where the schema allows null.
    """

    @property
    def records_quotas(self) -> bool:
        """Whether `quota` should be called; a world skips that work otherwise."""

    def batches(self, buffer: bytes | bytearray) -> None:
        """Take packed rows (`BATCH`) of `batches`; they are copied, so the caller may reuse the buffer."""

    def instance(
        self,
        instance: int,
        function: int,
        launch_s: float,
        ready_s: float | None,
        retire_s: float | None,
        cold: bool,
        batch: int,
        request: float,
        limit: float,
        gpus: Sequence[int],
        memory_bytes: Sequence[int],
    ) -> None:
        """Take a row of `instances`, once it is known how the instance ended."""

    def gpu(
        self,
        time_s: float,
        gpu: int,
        instances: int,
        need: float,
        request: float,
        limit: float,
        memory_bytes: int,
        active_share_s: float,
    ) -> None:
        """Take a row of `gpus`; the rows of one GPU come in the order of time."""

    def quota(self, time_s: float, gpu: int, instance: int, quota: float) -> None:
        """Take a row of `quotas`."""

    def training(
        self,
        function: int,
        instance: int,
        start_s: float,
        end_s: float,
        steps: float,
        done: bool,
        workers: int,
    ) -> None:
        """Take a row of `training`."""


class RowSink(ABC):
    """A `TableSink` that treats the rows of all tables but `batches` alike: as tuples, by `row`."""

    records_quotas: bool = False

    @abstractmethod
    def batches(self, buffer: bytes | bytearray) -> None:
        """Take packed rows of `batches`."""

    @abstractmethod
    def row(self, table: Table, values: tuple[object, ...]) -> None:
        """Take one row; `values` in the order of the table's columns."""

    def instance(
        self,
        instance: int,
        function: int,
        launch_s: float,
        ready_s: float | None,
        retire_s: float | None,
        cold: bool,
        batch: int,
        request: float,
        limit: float,
        gpus: Sequence[int],
        memory_bytes: Sequence[int],
    ) -> None:
        """Take a row of `instances`."""
        identity = (instance, function, launch_s, ready_s, retire_s, cold)
        self.row(INSTANCES, (*identity, batch, request, limit, list(gpus), list(memory_bytes)))

    def gpu(
        self,
        time_s: float,
        gpu: int,
        instances: int,
        need: float,
        request: float,
        limit: float,
        memory_bytes: int,
        active_share_s: float,
    ) -> None:
        """Take a row of `gpus`."""
        self.row(GPUS, (time_s, gpu, instances, need, request, limit, memory_bytes, active_share_s))

    def quota(self, time_s: float, gpu: int, instance: int, quota: float) -> None:
        """Take a row of `quotas`, or leave it where quotas are not recorded."""
        if self.records_quotas:
            self.row(QUOTAS, (time_s, gpu, instance, quota))

    def training(
        self,
        function: int,
        instance: int,
        start_s: float,
        end_s: float,
        steps: float,
        done: bool,
        workers: int,
    ) -> None:
        """Take a row of `training`."""
        self.row(TRAINING, (function, instance, start_s, end_s, steps, done, workers))
