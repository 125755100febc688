"""A host with GPUs: MPS where the way of sharing wants it, launch gates, and samples of the devices.

What cannot be had is done without, a step at a time: without MPS the driver's time slices and the gate; where
there is no gate either, quotas are not enforced, and a system that needs them is refused. Each step down is a
note, and what the run is called is what its workers found out themselves. No setting of a device is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from policies import Launch
from profiles.sharing import Sharing
from realgpu.control import GateRates
from realgpu.errors import RealGpuError
from realgpu.gate import GateError
from realgpu.gate.shared import DEFAULT_PERIOD_NS
from realgpu.hosting import Host, Hosting, HostReport
from realgpu.hosts.capacities import Capacities
from realgpu.hosts.gates import Gates
from realgpu.hosts.gpus import NO_DAEMON, Gpu, find_gpus
from realgpu.hosts.means import Means, means_of
from realgpu.hosts.mechanism import mechanism
from realgpu.mps import MpsCapability, MpsError, MpsSupervisor, probe
from realgpu.mps.control import PIPE_DIRECTORY, without_mps
from realgpu.sampling import DeviceSampler, NoDeviceError, NvmlDevice
from realgpu.seating import SEATS_PER_GPU

READY_WITHIN_S: Final = 600.0
"""Importing torch and making a model of billions takes minutes, and workers of a GPU warm up one after the
other. Assumed."""

BURST_S: Final = DEFAULT_PERIOD_NS / 1e9
"""A bucket holds what its rate earns in a tick of 5 ms (Dilu, ASPLOS 2025, section 3.4)."""

_ORDERLY: Final = ("quit", "by itself")
_PRIORITY: Final = "CUDA_MPS_CLIENT_PRIORITY"


class CudaHost(Host):
    """The GPUs of this host for one run. Entering it gives the `Hosting`; leaving it ends all it started.

    Parameters
    ----------
    sharing
        What quotas mean.
    gpus
        How many are needed; GPU `i` of the cluster is the i-th that CUDA shows this process.
    trains
        Whether a launch is of training.
    quota
        The quota of a launch for as long as that lives; `None`: quotas change, up to the limit.

    Raises
    ------
    RealGpuError
        On entry: without a driver or enough GPUs, or if quotas have to be enforced and cannot be.
    """

    def __init__(
        self,
        *,
        sharing: Sharing,
        gpus: int,
        trains: Callable[[Launch], bool],
        quota: Callable[[Launch], float] | None,
    ) -> None:
        self._wanted = gpus
        self._trains = trains
        self._quota = quota
        self._means: Means = means_of(sharing)
        self._gpus: tuple[Gpu, ...] = ()
        self._mps: MpsSupervisor | None = None
        self._capability: MpsCapability | None = None
        self._gates: Gates | None = None
        self._no_gates: str | None = None
        self._no_mps: str | None = None
        self._samplers: list[DeviceSampler] = []
        self._capacities = Capacities()
        self._held = False
        self._notes: list[str] = []
        self._open = ExitStack()

    def __enter__(self) -> Hosting:
        with ExitStack() as opening:
            self._gpus = find_gpus()
            if self._wanted > len(self._gpus):
                raise RealGpuError(
                    f"cluster: found {self._wanted} GPUs, allowed are the {len(self._gpus)} of this host"
                )
            self._put_up_gates(opening)
            self._start_mps(opening)
            self._keep_nvml(opening)
            opening.callback(self._stop_sampling)
            self._open = opening.pop_all()
        gates, mps = self._gates, self._mps
        return Hosting(
            environment=self._environment,
            throttle=None if gates is None else GateRates(gates.file, BURST_S),
            gpus_available=len(self._gpus),
            before_kill=None if mps is None else self._terminate_client,
            ready_within_s=READY_WITHIN_S,
            host=self,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    # ------------------------------------------------------------------------------------- opening

    def _put_up_gates(self, opening: ExitStack) -> None:
        try:
            self._gates = opening.enter_context(Gates(SEATS_PER_GPU * self._wanted))
        except GateError as error:
            self._no_gates = str(error)
            self._notes.append(f"launches pass ungated and uncounted: {error}")
            self._refuse_if_all_are_held()

    def _start_mps(self, opening: ExitStack) -> None:
        self._capability = probe()
        if not self._means.mps:
            return
        mps = MpsSupervisor()
        try:
            opening.enter_context(mps)
        except MpsError as error:
            self._no_mps = str(error)
            self._means = self._means.without_mps()
            self._notes.append(f"without MPS the driver gives processes time slices: {error}")
            self._refuse_if_all_are_held()
        else:
            self._mps = mps

    def _refuse_if_all_are_held(self) -> None:
        """Refuse at once what every launch would have to be refused for."""
        if self._gates is None and self._means.held == "all":
            raise self._cannot_enforce()

    def _cannot_enforce(self) -> RealGpuError:
        reasons = "; ".join(reason for reason in (self._no_mps, self._no_gates) if reason is not None)
        return RealGpuError(f"backend cuda: quotas cannot be enforced: {reasons}")

    def _keep_nvml(self, opening: ExitStack) -> None:
        """Initialise NVML, which may take a second: at time 0 there is none to spare."""
        for gpu in self._gpus[: self._wanted]:
            try:
                device = NvmlDevice(gpu.uuid)
            except NoDeviceError as error:
                self._notes.append(f"the device was not sampled: {error}")
                return
            opening.callback(device.close)

    # ------------------------------------------------------------------------------------- workers

    def _environment(self, launch: Launch, row: int) -> Mapping[str, str]:
        """Return the environment of a worker: its GPUs, MPS, and around both its gate."""
        self._is_held(launch, self._means)  # rather than refuse it when it has started up
        base = {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(self._uuids(launch))}
        if self._mps is not None:
            environment = self._client_environment(self._mps, launch, base)
        else:
            environment = without_mps(base)
            if self._capability is not None and self._capability.ambient_daemon:
                environment[PIPE_DIRECTORY] = NO_DAEMON
        return environment if self._gates is None else self._gates.environment(row, environment)

    def _client_environment(
        self, mps: MpsSupervisor, launch: Launch, base: Mapping[str, str]
    ) -> dict[str, str]:
        percentage = None
        if self._means.percentage == "quota" and self._quota is not None:
            percentage = 100 * self._quota(launch)
        elif self._means.percentage is not None:
            percentage = 100 * max(shard.limit for shard in launch.shards)
        environment = mps.client_environment(percentage, base=base)
        if self._means.prioritised:
            environment[_PRIORITY] = "1" if self._trains(launch) else "0"
        return environment

    def _uuids(self, launch: Launch) -> list[str]:
        """Return the GPUs of a launch, each once."""
        numbers = dict.fromkeys(shard.gpu for shard in launch.shards)
        if max(numbers) >= len(self._gpus):
            raise RealGpuError(
                f"instance {launch.instance}: found GPU {max(numbers)}, allowed are the "
                f"{len(self._gpus)} of this host, numbered from 0"
            )
        return [self._gpus[number].uuid for number in numbers]

    def _terminate_client(self, pid: int) -> None:
        """Tell MPS of a client that is to be killed; it is killed all the same, and the daemon ends soon."""
        if self._mps is None:
            return
        try:
            self._mps.terminate_client(pid)
        except MpsError as error:
            self._notes.append(f"a client was killed that MPS did not let go: {error}")

    # ----------------------------------------------------------------------------------- while it runs

    def capacity(self, launch: Launch, loaded: Mapping[str, Any], *, alone: bool) -> float | None:
        """Return the capacity of a worker that a gate holds; see `Host`.

        A worker that is no client of MPS though it should be is not kept to its percentage: it is held by its
        gate instead.
        """
        means = self._means if _is_client(loaded) else self._means.without_mps()
        if not self._is_held(launch, means):
            return None
        self._held = True
        gpu = self._gpus[launch.shards[0].gpu]
        return self._capacities.take(launch, loaded, gpu.sm_count, alone=alone)

    def _is_held(self, launch: Launch, means: Means) -> bool:
        """Whether a gate holds a launch to its quota; the whole GPU for ever is no hold."""
        whole = self._quota is not None and self._quota(launch) >= 1.0
        held = means.holds(training=self._trains(launch)) and not whole
        if held and self._gates is None:
            raise self._cannot_enforce()
        return held

    def begin(self, start_ns: int) -> None:
        """Sample the devices from time 0 on."""
        for gpu in self._gpus[: self._wanted]:
            sampler = DeviceSampler(gpu.uuid, origin_s=start_ns / 1e9)
            self._samplers.append(sampler)
            sampler.start()

    def let_go(self) -> None:
        """Open all gates."""
        if self._gates is not None:
            self._gates.open()

    def explain(self, error: RealGpuError) -> RealGpuError:
        """Add that a fault of the device has hit every client of MPS, if it has."""
        if self._mps is None:
            return error
        try:
            statuses = set(self._mps.server_statuses().values())
        except MpsError as silence:
            return RealGpuError(f"{error}; MPS does not answer ({silence}): the run is invalid")
        if "FAULT" not in statuses:
            return error
        return RealGpuError(f"{error}; a fault of the device hit every client of MPS: the run is invalid")

    # --------------------------------------------------------------------------------------- the end

    def conclude(self, start_ups: Sequence[Mapping[str, Any]]) -> HostReport:
        """End samples and MPS, and say what the run ran on."""
        self._stop_sampling()
        clients = [_is_client(loaded) for loaded in start_ups]
        label = mechanism(clients, held=self._held, gated=self._gates is not None)
        mps = self._end_mps()
        names = ", ".join(dict.fromkeys(gpu.name for gpu in self._gpus[: self._wanted]))
        means = self._means if all(clients) else self._means.without_mps()
        notes = [f"ran on {names} by {label}", *means.notes, *self._notes, *self._capacities.notes()]
        if self._mps is not None and not all(clients):
            notes.append(
                f"{clients.count(False)} of {len(clients)} workers were no clients of MPS "
                "by the driver's word (device attribute 133)"
            )
        if self._gates is not None:
            notes += self._gates.notes()
        record = {
            "mechanism": label,
            "workers": len(clients),
            "workers_under_mps": clients.count(True),
            "gpus": [gpu.as_json() for gpu in self._gpus[: self._wanted]],
            "sampling": [sampler.record() for sampler in self._samplers],
            "mps": mps,
            "gate": {"missing": self._no_gates} if self._gates is None else self._gates.record(),
            "capacities": self._capacities.as_json(),
            "notes": notes,
        }
        return HostReport(record, tuple(notes))

    def write_samples(self, folder: Path) -> None:
        """Write `device_samples` and `device_activity`; of further GPUs with their number."""
        for number, sampler in enumerate(self._samplers):
            sampler.write(folder, f"-gpu{number}.parquet" if number else ".parquet")

    def _end_mps(self) -> dict[str, Any]:
        """Return the record of MPS, the end of the daemon in it."""
        if self._mps is None:
            return {"capability": None if self._capability is None else self._capability.as_json()}
        record = self._mps.record()
        ending = self._mps.stop()
        if ending is not None:
            record["last_ending"] = asdict(ending)
            if ending.how not in _ORDERLY:
                self._notes.append(f"the MPS daemon did not end on quit: {ending.how}")
        return record

    def _stop_sampling(self) -> None:
        for sampler in self._samplers:
            sampler.stop()


def _is_client(loaded: Mapping[str, Any]) -> bool:
    """Whether a worker runs under MPS, by what the driver told it."""
    evidence = loaded.get("mps")
    return isinstance(evidence, Mapping) and evidence.get("runs_under_mps") is True
