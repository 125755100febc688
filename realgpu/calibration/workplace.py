"""Where a calibration works: a host and a rig, opened when they are needed, and anew after a fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Self

from profiles import ModelProfile
from profiles.sharing import Sharing
from realgpu.calibration.failures import WorkError
from realgpu.calibration.resident import Resident
from realgpu.calibration.rig import Rig, unlimited
from realgpu.errors import RealGpuError
from realgpu.hosting import Host, Hosting
from realgpu.interruption import Interruption
from realgpu.workers.protocol import BackendName, Job

OpenHosting = Callable[[], AbstractContextManager[Hosting]]
"""Opens the host for workers: what `realgpu.hosts.open_host` returns when it is called."""


class Workplace:
    """Residents by what they do, kept for as long as they are of use. A context manager.

    Attributes
    ----------
    memory_bytes
        What residents may hold of the device together; idle ones end to make room.

    Parameters
    ----------
    opened
        Told of every worker that has started up.
    left_s
        As of `Rig`.

    Raises
    ------
    RealGpuError
        From `resident` and `start`, if the host cannot be opened at all.
    """

    def __init__(
        self,
        backend: BackendName,
        open_hosting: OpenHosting,
        interruption: Interruption,
        *,
        sharing: Sharing,
        models: Sequence[str],
        seed: int,
        memory_bytes: int,
        opened: Callable[[Resident], None],
        left_s: Callable[[], float] = unlimited,
    ) -> None:
        self.sharing = sharing
        self._backend: BackendName = backend
        self._open_hosting = open_hosting
        self._interruption = interruption
        self._models = models
        self._seed = seed
        self.memory_bytes = memory_bytes
        self._opened = opened
        self._left_s = left_s
        self._open = ExitStack()
        self._rig: Rig | None = None
        self._host: Host | None = None
        self._kept: list[Resident] = []
        self._loaded: list[Mapping[str, Any]] = []
        self.host_record: Mapping[str, Any] | None = None

    @property
    def rig(self) -> Rig:
        """The rig, opened if it is not."""
        if self._rig is None:
            hosting = self._enter_host()
            self._host = hosting.host
            self._rig = self._open.enter_context(
                Rig(
                    self._backend,
                    hosting,
                    self._interruption,
                    sharing=self.sharing,
                    models=self._models,
                    seed=self._seed + len(self._loaded),
                    left_s=self._left_s,
                )
            )
        return self._rig

    def _enter_host(self) -> Hosting:
        try:
            return self._open.enter_context(self._open_hosting())
        except RealGpuError as error:
            if not self._loaded:
                raise
            raise WorkError("refused", f"the host cannot be opened again: {error}") from None

    def has(self, profile: ModelProfile, job: Job, batch: int, share: float) -> bool:
        """Whether such a resident is there, so that nobody has to start up."""
        return self._found(profile, job, batch, share) is not None

    def resident(self, profile: ModelProfile, job: Job, batch: int, share: float) -> Resident:
        """Return a resident that does this on this share; it is the only one that works.

        Raises
        ------
        WorkError
            If it cannot be had.
        """
        found = self._found(profile, job, batch, share)
        if found is None or found.job == "serve":
            self.rest()
        if found is None:
            self._make_room(profile)
            found = self.start(profile, job, batch, share)
        elif found.share != share:
            self.rig.give(found, share)
        return found

    def start(self, profile: ModelProfile, job: Job, batch: int, share: float) -> Resident:
        """Start a resident, whoever else is there. Raises as `resident`."""
        resident = self.rig.open(profile, job, batch, share)
        self._kept.append(resident)
        self._loaded.append(resident.loaded)
        self._opened(resident)
        return resident

    def dismiss(self, resident: Resident) -> None:
        """End a resident."""
        self._kept.remove(resident)
        self.rig.close_resident(resident)

    def rest(self) -> None:
        """End residents that work by themselves: training."""
        for resident in [one for one in self._kept if one.job == "train"]:
            self.dismiss(resident)

    def clear(self) -> None:
        """End all residents."""
        for resident in tuple(self._kept):
            self.dismiss(resident)

    def recover(self, failure: WorkError, resident: Resident | None) -> None:
        """Let go of who failed. After a fault on a device, which may have hit everybody there, begin anew."""
        if self._backend == "cuda" and failure.kind in ("crashed", "hung"):
            self.close()
        elif resident is not None and resident in self._kept:
            self.dismiss(resident)

    def close(self) -> None:
        """End everything, and keep what the host says of it; it is opened again when it is needed."""
        self._kept.clear()
        rig, host, self._rig, self._host = self._rig, self._host, None, None
        try:
            if rig is not None:
                rig.close()
            if host is not None:
                report = host.conclude(self._loaded)
                self.host_record = self.host_record if report is None else report.record
        finally:
            self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _found(self, profile: ModelProfile, job: Job, batch: int, share: float) -> Resident | None:
        for one in self._kept:
            same = one.profile.name == profile.name and one.job == job and one.batch >= batch
            if same and (one.changeable or one.share == share):
                return one
        return None

    def _make_room(self, profile: ModelProfile) -> None:
        """End the oldest residents until there is room for another one."""
        while self._kept and self._held_bytes() + profile.memory_bytes > self.memory_bytes:
            self.dismiss(self._kept[0])

    def _held_bytes(self) -> int:
        return sum(one.memory_bytes() or one.profile.memory_bytes for one in self._kept)
