"""An MPS daemon of one's own, from start to end, and what a run may ask of it."""

from __future__ import annotations

import atexit
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from realgpu.mps.capability import MpsCapability, answers, probe
from realgpu.mps.control import (
    CONTROL_BINARY,
    PIPE_DIRECTORY,
    MpsClient,
    MpsControl,
    MpsError,
    without_mps,
)
from realgpu.mps.daemon import Ending, KeptDaemon

_SOCKET_PATH_LIMIT = 107
"""Bytes of a UNIX socket's path without its closing zero (unix(7): `sun_path` has 108)."""

_PIPE_NAME_BYTES = 32
"""Kept free for the daemon's own names in the directory; the longest known, `control_privileged`, has 18."""

_MIB = 2**20
_DEVICES = "CUDA_VISIBLE_DEVICES"


class MpsState(StrEnum):
    """What stands at the pipe directory.

    `foreign` is a daemon that we did not start; `fault` is our own, with a server in FAULT, or not answering.
    """

    ABSENT = "absent"
    OWN = "own"
    FOREIGN = "foreign"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class MpsTimeouts:
    """How long each step may take, in seconds.

    `fault_s` is how long servers may take to return to ACTIVE before the daemon is started anew; `quit_s` and
    `kill_s` are given twice each while ending: to two ways of `quit`, then to SIGTERM and to SIGKILL.
    """

    command_s: float = 5.0
    start_s: float = 20.0
    fault_s: float = 20.0
    terminate_s: float = 10.0
    quit_s: float = 10.0
    kill_s: float = 5.0
    poll_s: float = 0.1


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a fault ended: the servers became active again, or the daemon was started anew (`restarted`)."""

    restarted: bool
    waited_s: float


class MpsSupervisor:
    """A private MPS daemon; as a context manager it is started on entry and ended on every way out.

    The daemon is the child of a small keeper process that ends it when this process ends, however it ends.
    Workers become its clients by their environment, see `client_environment`. No setting of a device is
    changed: MPS works in the default compute mode. `CUDA_VISIBLE_DEVICES` of this process bounds what the
    daemon sees. For one thread.

    Parameters
    ----------
    binary
        Name on the path, or path, of `nvidia-cuda-mps-control`.
    base_directory
        Where the private directories are made; short and local. The default is the system's.
    pipe_directory
        A fixed pipe directory in place of a private one. Starting is refused where a daemon already answers.
    log_directory
        Where daemon and servers write, which stays. The default is private and goes with the daemon.
    """

    def __init__(
        self,
        *,
        binary: str | Path = CONTROL_BINARY,
        base_directory: Path | None = None,
        pipe_directory: Path | None = None,
        log_directory: Path | None = None,
        timeouts: MpsTimeouts | None = None,
    ) -> None:
        self._binary = str(binary)
        self._base_directory = base_directory
        self._pipe_directory = None if pipe_directory is None else pipe_directory.absolute()
        self._log_directory = None if log_directory is None else log_directory.absolute()
        self._timeouts = timeouts or MpsTimeouts()
        self._daemon: KeptDaemon | None = None
        self._last_ending: Ending | None = None
        self._capability: MpsCapability | None = None
        self._help: str | None = None
        self._recoveries: list[Recovery] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the daemon and one server for this user, and wait until the server stands.

        Raises
        ------
        MpsError
            If MPS is not installed, a daemon already answers there, or the daemon or its server does not come
            up; then nothing is left of it. The run goes on without MPS and says so.
        """
        if self._daemon is not None:
            raise MpsError("the MPS daemon is already started", "refused")
        self._capability = probe(self._binary, timeout_s=self._timeouts.command_s)
        if self._capability.control_path is None:
            raise MpsError(f"{self._binary}: not found; it comes with the driver's packages", "no binary")
        if self._pipe_directory is not None and self._foreign_daemon():
            raise MpsError(f"{self._pipe_directory}: a daemon that is not ours answers here", "refused")
        try:
            self._daemon = KeptDaemon.start(
                str(Path(self._capability.control_path).absolute()),
                base_directory=self._short_base(),
                pipe_directory=self._pipe_directory,
                log_directory=self._log_directory,
                quit_s=self._timeouts.quit_s,
                kill_s=self._timeouts.kill_s,
            )
            atexit.register(self.stop)
            self._bring_up()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> Ending | None:
        """End the daemon if it is ours and runs; stop the workers first. Returns how it ended."""
        if self._daemon is not None:
            atexit.unregister(self.stop)
            self._last_ending = self._daemon.stop()
            self._daemon = None
        return self._last_ending

    def state(self) -> MpsState:
        """Return what stands at the pipe directory now."""
        daemon = self._daemon
        if daemon is None:
            foreign = self._pipe_directory is not None and self._foreign_daemon()
            return MpsState.FOREIGN if foreign else MpsState.ABSENT
        try:
            ill = "FAULT" in self.server_statuses().values()
        except MpsError:  # it runs and does not answer, unless it ended meanwhile
            ill = True
        if daemon.ended() is not None:
            return MpsState.ABSENT
        return MpsState.FAULT if ill else MpsState.OWN

    @property
    def control(self) -> MpsControl:
        """The shell of the daemon.

        Raises
        ------
        MpsError
            While no daemon is started.
        """
        return MpsControl(
            self._running().pipe_directory, binary=self._binary, timeout_s=self._timeouts.command_s
        )

    def server_statuses(self) -> dict[int, str]:
        """Return each server of the daemon with its status."""
        statuses: dict[int, str] = {}
        for pid in self.control.server_pids():
            self._running().remember(pid)
            statuses[pid] = self.control.server_status(pid)
        return statuses

    def clients(self) -> list[MpsClient]:
        """Return the processes that are clients now."""
        return self.control.clients()

    def client_environment(
        self,
        percentage: float | None = None,
        memory_bytes: int | None = None,
        *,
        device: int = 0,
        base: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Return the whole environment of a worker that shall be a client.

        Parameters
        ----------
        percentage
            The most of the SMs it may use, above 0 to 100; fixed once the process runs, and rounded down by
            the driver to what the hardware can do. It reserves nothing.
        memory_bytes
            The most memory it may allocate on `device`, CUDA's own included; rounded down to MiB.
        device
            The device, as the daemon counts them.
        base
            The environment to start from; by default that of this process. Its own MPS settings are dropped.

        Raises
        ------
        MpsError
            If a limit is out of range, or no daemon is started.
        """
        environment = without_mps(os.environ if base is None else base)
        environment[PIPE_DIRECTORY] = str(self._running().pipe_directory)
        if not _only_uuids(environment.get(_DEVICES)):
            # The daemon was started under it and counts what it left from 0: applied twice it would go wrong.
            del environment[_DEVICES]
        if percentage is not None:
            if isinstance(percentage, bool) or not (math.isfinite(percentage) and 0 < percentage <= 100):
                raise MpsError(f"percentage: found {percentage!r}, allowed is above 0 to 100", "refused")
            environment["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = f"{percentage:.6g}"
        if memory_bytes is not None:
            if isinstance(memory_bytes, bool) or memory_bytes < _MIB:
                raise MpsError(f"memory_bytes: found {memory_bytes!r}, allowed is {_MIB} or more", "refused")
            environment["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"{device}={memory_bytes // _MIB}M"
        return environment

    def terminate_client(self, pid: int) -> bool:
        """End the work of a client on the device, so that its process may be killed.

        Killing a client with work in flight is undefined behaviour and may wedge every other: idle the worker
        and let it exit; only where it hangs call this, and kill it after.

        Returns
        -------
        bool
            False if no server knows the process as its client.

        Raises
        ------
        MpsError
            If the daemon does not say that it succeeded: then do not kill the process, `recover` instead.
        """
        for server_pid in self.control.server_pids():
            if pid in self.control.client_pids(server_pid):
                self.control.terminate_client(server_pid, pid, self._timeouts.terminate_s)
                return True
        return False

    def recover(self) -> Recovery:
        """Get a working daemon back after a device fault; stop all workers first, as all of them are hit.

        Servers return to ACTIVE once every client is gone. Where they do not in time, or the daemon does not
        answer, the daemon is ended and another one started: ask for client environments anew.

        Raises
        ------
        MpsError
            If the new daemon does not come up either.
        """
        start_s = time.monotonic()
        while not (active := self._all_active()) and time.monotonic() - start_s < self._timeouts.fault_s:
            if self._running().ended() is not None:
                break
            time.sleep(self._timeouts.poll_s)
        if not active:
            self.stop()
            self.start()
        recovery = Recovery(restarted=not active, waited_s=time.monotonic() - start_s)
        self._recoveries.append(recovery)
        return recovery

    def record(self) -> dict[str, Any]:
        """Return what a manifest keeps of the daemon, as JSON; whether a worker used it is `evidence`."""
        daemon, ending = self._daemon, self._last_ending
        return {
            "state": str(self.state()),
            "capability": None if self._capability is None else self._capability.as_json(),
            "shell_help": self._help,
            "daemon_pid": None if daemon is None else daemon.daemon_pid,
            "pipe_directory": None if daemon is None else str(daemon.pipe_directory),
            "log_directory": None if daemon is None else str(daemon.log_directory),
            "open_files": None if daemon is None else daemon.open_files,
            "adopts_orphans": None if daemon is None else daemon.adopts_orphans,
            "visible_devices": os.environ.get(_DEVICES),
            "timeouts": asdict(self._timeouts),
            "recoveries": [asdict(recovery) for recovery in self._recoveries],
            "last_ending": None if ending is None else asdict(ending),
        }

    def _bring_up(self) -> None:
        """Wait for the daemon, start a server, and wait until no server is starting any more."""
        deadline_s = time.monotonic() + self._timeouts.start_s
        self._await(deadline_s, self._answers, "the daemon does not answer")
        with suppress(MpsError):  # for the record alone
            self._help = self.control.ask("help")
        self.control.start_server(os.getuid(), max(0.1, deadline_s - time.monotonic()))
        self._await(deadline_s, self._all_active, "no server became ACTIVE")

    def _await(self, deadline_s: float, ready: Callable[[], bool], otherwise: str) -> None:
        """Poll until something holds.

        Raises
        ------
        MpsError
            If the daemon ends first, or the deadline passes.
        """
        reason = ""
        while time.monotonic() < deadline_s:
            ending = self._running().ended()
            if ending is not None:
                raise MpsError(f"the daemon ended ({ending.daemon_status}): {ending.log}", "no daemon")
            try:
                if ready():
                    return
            except MpsError as error:
                reason = f": {error}"
            time.sleep(self._timeouts.poll_s)
        raise MpsError(f"{otherwise} within {self._timeouts.start_s:g} s{reason}", "timeout")

    def _all_active(self) -> bool:
        try:
            statuses = self.server_statuses()
            if not statuses:  # it goes with its last client
                self.control.start_server(os.getuid())
        except MpsError:
            return False
        return bool(statuses) and set(statuses.values()) == {"ACTIVE"}

    def _answers(self) -> bool:
        self.control.server_pids()
        return True

    def _foreign_daemon(self) -> bool:
        return answers(
            MpsControl(self._pipe_directory, binary=self._binary, timeout_s=self._timeouts.command_s)
        )

    def _running(self) -> KeptDaemon:
        if self._daemon is None:
            raise MpsError("no MPS daemon is started", "no daemon")
        return self._daemon

    def _short_base(self) -> Path:
        """Return a directory under which sockets have paths that fit."""
        base = self._base_directory or Path(tempfile.gettempdir())
        longest = base / "mps-12345678" if self._pipe_directory is None else self._pipe_directory
        if len(os.fsencode(longest)) + 1 + _PIPE_NAME_BYTES > _SOCKET_PATH_LIMIT:
            raise MpsError(f"{longest}: too long for a UNIX socket; choose a shorter directory", "refused")
        return base.absolute()


def _only_uuids(devices: str | None) -> bool:
    """Whether a list of visible devices means the same to the daemon and to its clients."""
    return devices is None or all(part.strip().startswith(("GPU-", "MIG-")) for part in devices.split(","))
