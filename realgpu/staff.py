"""The workers at work: what they are told, what they report, and whether they still live."""

from __future__ import annotations

import selectors
import time
from dataclasses import dataclass
from typing import Final

from policies import Function, Launch
from profiles.sharing import Sharing
from realgpu.errors import RealGpuError
from realgpu.hosted import HostedWorker, is_halted
from realgpu.hosting import Hosting
from realgpu.household import Household
from realgpu.interruption import Interruption
from realgpu.workers.protocol import (
    BackendName,
    Begin,
    Done,
    Failed,
    Finished,
    Message,
    Ready,
    Run,
    Stopped,
    packed,
)

STALE_S: Final = 5.0
"""A controller whose last heartbeat is so old hangs."""

EXIT_WITHIN_S: Final = 1.0
"""A worker that has closed its socket ends within so long."""

CHECK_S: Final = 1.0
"""How often it is seen to that nobody hangs."""

MISSED_CHECKS: Final = 3
"""If so many checks were missed, the one that is due judges nobody: others may have stood still as well."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker that was told to stop has ended."""


Event = Ready | Done | Finished | Gone


@dataclass(frozen=True, slots=True)
class Work:
    """What all workers of a run are told alike."""

    backend: BackendName
    sharing: Sharing
    interference: str | None
    models: tuple[str, ...]
    seed: int


class Staff:
    """Workers of a household.

    Raises
    ------
    RealGpuError
        From `wait`, if a worker or the controller crashed or hangs, or a worker fails; the line names it.
    KeyboardInterrupt, SystemExit
        From `wait`, after Ctrl-C and SIGTERM.
    """

    def __init__(
        self, household: Household, interruption: Interruption, hosting: Hosting, work: Work
    ) -> None:
        self._household = household
        self._interruption = interruption
        self._hosting = hosting
        self._work = work
        # The only selector that does not round timeouts up to milliseconds; its descriptors are below 1024.
        self._selector = selectors.SelectSelector()
        self._selector.register(interruption, selectors.EVENT_READ)
        self._selector.register(household.controller, selectors.EVENT_READ)
        self._deadlines: dict[int, tuple[int, str]] = {}
        """Until when a worker must have done what."""
        self._checked_ns = time.monotonic_ns()

    def hire(self, launch: Launch, function: Function, rows: tuple[int, ...]) -> None:
        """Start the worker of a launch on these rows of the board."""
        hosting, work = self._hosting, self._work
        label = f"instance {launch.instance} ({function.name})"
        worker = self._household.hire(
            launch.instance, label, hosting.command, hosting.environment(launch, rows[0])
        )
        self._selector.register(worker.channel, selectors.EVENT_READ, launch.instance)
        self._selector.register(worker.exit_descriptor, selectors.EVENT_READ, launch.instance)
        self._expect(launch.instance, hosting.ready_within_s, "start up")
        worker.tell(
            Begin(
                board=str(self._household.board.path),
                seats=rows,
                backend=work.backend,
                job="train" if function.kind == "training" else "serve",
                model=function.model.name,
                profile=packed(function.model),
                batch=launch.size.batch,
                sharing=packed(work.sharing),
                interference=work.interference,
                iterations=function.iterations if function.kind == "training" else None,
                seed=work.seed,
                models=work.models,
                options=dict(hosting.worker_options),
            )
        )

    def run(self, instance: int, batch: Run, expected_s: float) -> None:
        """Have an instance run a batch that is expected to take so long."""
        self._household.workers[instance].tell(batch)
        hosting = self._hosting
        within_s = max(hosting.reply_within_s, hosting.reply_within_expected * expected_s)
        self._expect(instance, within_s, "end its batch")

    def stop(self, instance: int) -> None:
        """Have a worker end. One that still starts up has nothing to end, and is not waited for."""
        worker = self._household.workers[instance]
        starts_up = self._deadlines.get(instance, (0, ""))[1] == "start up"
        worker.stop()
        if starts_up:
            worker.terminate()
        self._expect(instance, self._hosting.reply_within_s, "stop")

    def wait(self, until_ns: int) -> list[tuple[int, Event]]:
        """Wait for reports, at the longest until a time of CLOCK_MONOTONIC; return them, by instance."""
        now_ns = time.monotonic_ns()
        wait_s = min(max(0, until_ns - now_ns) / 1e9, CHECK_S)
        events: list[tuple[int, Event]] = []
        ready = self._selector.select(wait_s)
        self._interruption.check()
        for key, _ in ready:
            if key.fileobj is self._household.controller:
                raise self._household.controller.fault()
            if key.data is None or key.data not in self._household.workers:
                continue
            events += ((key.data, event) for event in self._hear(key.data))
        self._check_on_everybody()
        return events

    def _hear(self, instance: int) -> list[Event]:
        """Read what a worker has to say, and see whether it lives."""
        worker = self._household.workers[instance]
        ended = worker.ended  # before reading: whatever it said, it had said by then
        events: list[Event] = []
        try:
            while (message := worker.channel.receive(0.0)) is not None:
                events += self._reported(instance, worker, message)
        except RealGpuError as error:
            raise worker.fault(str(error)) from None
        left = ended or worker.channel.closed  # a child of one that has ended may hold its socket open
        if left and not worker.stopping:
            raise worker.fault("ended unasked" if worker.wait(EXIT_WITHIN_S) else "hung up")
        if left and worker.channel in self._selector.get_map():
            self._selector.unregister(worker.channel)
        if not ended:
            return events
        self._selector.unregister(worker.exit_descriptor)
        self._deadlines.pop(instance, None)
        self._household.bury(instance)
        return [*events, Gone()]

    def _reported(self, instance: int, worker: HostedWorker, message: Message) -> list[Event]:
        """Return what is of interest in a message."""
        if isinstance(message, Failed):
            raise RealGpuError(message.reason)
        if not isinstance(message, Ready | Done | Finished | Stopped):
            raise RealGpuError(f"sent {type(message).__name__}, which is no reply")
        if worker.stopping or isinstance(message, Stopped):
            return []
        self._deadlines.pop(instance, None)
        return [message]

    def _expect(self, instance: int, within_s: float, what: str) -> None:
        self._deadlines[instance] = (time.monotonic_ns() + round(within_s * 1e9), what)

    def _check_on_everybody(self) -> None:
        now_ns = time.monotonic_ns()
        since_ns, allowed_ns = now_ns - self._checked_ns, round(CHECK_S * 1e9)
        if since_ns < allowed_ns:
            return
        self._checked_ns = now_ns
        if since_ns > MISSED_CHECKS * allowed_ns:
            return  # this process stood still, perhaps with the controller beside it: a Ctrl-Z, and `fg`
        for instance, worker in self._household.workers.items():
            if worker.halted:
                raise worker.fault("was halted by a signal")
            deadline_ns, what = self._deadlines.get(instance, (now_ns, ""))
            if now_ns > deadline_ns:
                raise worker.fault(f"hangs: did not {what} in time")
        if is_halted(self._household.controller.pid):
            raise RealGpuError("controller: was halted by a signal")
        heartbeat_ns = int(self._household.board.header["heartbeat_ns"][0])
        if heartbeat_ns and now_ns > heartbeat_ns + STALE_S * 1e9:
            raise RealGpuError(f"controller: hangs: no heartbeat for {STALE_S:g} s")
