"""A rig: workers of one backend on one GPU, without a controller, to measure what their work costs.

Who measures is the controller: shares are written on the board and into launch gates from here, and a thread
shows that somebody lives, so that no gate opens by itself.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from policies import Function, Launch, Shard, Size
from profiles import ModelProfile
from profiles.measurements import ShareBy
from profiles.sharing import Sharing, SpaceSharing
from realgpu.calibration.failures import WorkError
from realgpu.calibration.resident import Resident
from realgpu.control.loop import BEAT_NS
from realgpu.control.throttle import Throttle
from realgpu.errors import RealGpuError
from realgpu.gate import GateError
from realgpu.hosting import Hosting
from realgpu.household import Crew
from realgpu.interruption import Interruption
from realgpu.seating import SEATS_PER_GPU, Seating
from realgpu.workers.backends.own_gate import OwnGate
from realgpu.workers.protocol import BackendName, Begin, Job, packed

SERVES, TRAINS = range(2)
"""What the function of a launch does (`Launch.function`)."""

CHECK_S: Final = 1.0
"""How often it is seen to that who is waited for was not halted."""

GRACE_S: Final = 3.0
"""What was begun in time may end so much later. Assumed: the end of a budget has room for it."""


def unlimited() -> float:
    """Return how much time is left where nobody counts it."""
    return float("inf")


class Rig:
    """The workers that are measured. A context manager that leaves no process and no file.

    Parameters
    ----------
    sharing
        What a share means.
    models
        Names of all models that may be opened.
    seed
        Of a worker: this plus its number.
    left_s
        How many seconds are left: nobody is waited for much longer.

    Raises
    ------
    RealGpuError
        If the folder cannot be made.
    """

    def __init__(
        self,
        backend: BackendName,
        hosting: Hosting,
        interruption: Interruption,
        *,
        sharing: Sharing,
        models: Sequence[str],
        seed: int = 0,
        left_s: Callable[[], float] = unlimited,
    ) -> None:
        self.residents: list[Resident] = []
        self._backend = backend
        self._hosting = hosting
        self._interruption = interruption
        self._sharing = sharing
        self._models = tuple(dict.fromkeys(models))
        self._seed = seed
        self._left_s = left_s
        self._started = 0
        self._crew = Crew(SEATS_PER_GPU, before_kill=hosting.before_kill)
        self._seating = Seating(self._crew.board, self._models)
        self._pulse = _Pulse(hosting.throttle)

    # ------------------------------------------------------------------------------- who comes and goes

    def open(self, profile: ModelProfile, job: Job, batch: int, share: float) -> Resident:
        """Start a worker on a share, and return it when it is ready; one that trains has begun then.

        Raises
        ------
        WorkError
            If it does not start up, or the share cannot be realised; nothing of it is left.
        KeyboardInterrupt, SystemExit
            After Ctrl-C and SIGTERM.
        """
        launch, function = self._launch(profile, job, batch, share)
        (row,) = self._seating.take(launch, function)
        try:
            resident = self._start(launch, row, profile, job, batch, share)
        except BaseException:
            self._seating.give_back([row])
            raise
        self.residents.append(resident)
        try:
            within_s = self._hosting.ready_within_s
            self._await(resident, lambda: bool(resident.ready_ns), within_s, "start up")
            self._seat(resident, launch)
        except BaseException:
            self.close_resident(resident)
            raise
        return resident

    def give(self, resident: Resident, share: float) -> None:
        """Change a resident's share.

        Raises
        ------
        RealGpuError
            If it is fixed for as long as the worker lives.
        """
        if not resident.changeable and share != resident.share:
            raise RealGpuError(f"{resident.worker.label}: its share cannot be changed, start it anew")
        resident.share = share
        self._pulse.apply(resident.row, share)
        self._crew.board.seats["quota"][resident.row] = share

    def close_resident(self, resident: Resident) -> None:
        """End a resident: its gate is opened, and one that failed is not asked to end its batch first."""
        self.residents.remove(resident)
        self._let_go(resident)
        self._crew.stop_workers(resident.instance, gently=resident.failure is None)
        self._seating.give_back([resident.row])

    def close(self) -> None:
        """End everybody; may be called again."""
        if not self._crew.folder.exists():
            return
        for resident in tuple(self.residents):
            if resident.failure is not None:
                self.close_resident(resident)
            else:
                self._let_go(resident)
        self.residents.clear()
        self._hosting.host.let_go()
        try:
            self._crew.close()
        finally:
            self._pulse.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ----------------------------------------------------------------------------------------- work

    def serve(self, resident: Resident, count: int, iterations: int, expected_s: float) -> float:
        """Have a batch served, and return its seconds.

        Raises
        ------
        WorkError
            If it was not; the resident is of no use any more.
        """
        resident.send(count, iterations)
        return self.next_batch(resident, expected_s)

    def next_batch(self, resident: Resident, expected_s: float) -> float:
        """Wait for the next batch of a resident, and return its seconds. Raises as `serve`."""
        self._await(resident, lambda: bool(resident.took_s), self._patience_s(expected_s), "end its batch")
        return resident.took_s.popleft()

    def next_step(self, resident: Resident, expected_s: float) -> float:
        """Wait for the next training step that ends, and return its seconds. Raises as `serve`."""
        seat = self._crew.board.seats[resident.row : resident.row + 1]
        before = int(seat["cycles"][0])
        look_s = min(max(expected_s / 20.0, 0.0005), 0.01)
        self._await(
            resident,
            lambda: int(seat["cycles"][0]) > before,
            self._patience_s(expected_s),
            "end a step",
            look_s,
        )
        return float(seat["cycle_s"][0])

    def let_rest(self, resident: Resident, expected_s: float) -> None:
        """Let a resident that is kept busy end what it was sent. Raises as `serve`."""
        resident.let_rest()
        within_s = self._patience_s((resident.outstanding + 1) * expected_s)
        self._await(resident, lambda: not resident.outstanding, within_s, "end its batches")
        resident.took_s.clear()

    def pause(self, seconds: float) -> None:
        """Let time pass, hearing whoever reports."""
        until_ns = time.monotonic_ns() + round(seconds * 1e9)
        while time.monotonic_ns() < until_ns:
            self._listen(until_ns)

    # ------------------------------------------------------------------------------------ the inside

    def _launch(self, profile: ModelProfile, job: Job, batch: int, share: float) -> tuple[Launch, Function]:
        """Return a launch on this share. Gates change quotas up to the limit: there it is the whole GPU."""
        gated = isinstance(self._sharing, SpaceSharing) and self._sharing.gated
        limit = 1.0 if gated else share
        instance, self._started = self._started, self._started + 1
        size = Size(batch, share, limit)
        shards = (Shard(0, share, limit, profile.memory_bytes),)
        kind = TRAINS if job == "train" else SERVES
        function = Function(
            name=profile.name,
            kind="training" if job == "train" else profile.kind,
            model=profile,
            memory_bytes=profile.memory_bytes,
            slo_s=None if job == "train" else profile.slo_s,
            size=size,
        )
        return Launch(instance, kind, shards, 0.0, False, size), function

    def _start(
        self, launch: Launch, row: int, profile: ModelProfile, job: Job, batch: int, share: float
    ) -> Resident:
        label = f"{profile.name} ({job}, batch {batch}, share {share:g})"
        launched_ns = time.monotonic_ns()
        try:
            environment = self._hosting.environment(launch, row)
            gate = OwnGate.of(environment)
            worker = self._crew.hire(launch.instance, label, self._hosting.command, environment)
        except (RealGpuError, GateError) as error:
            raise WorkError("refused", str(error)) from None
        resident = Resident(launch.instance, row, profile, job, batch, share, worker, gate)
        resident.launched_ns = launched_ns
        worker.tell(
            Begin(
                board=str(self._crew.board.path),
                seats=(row,),
                backend=self._backend,
                job=job,
                model=profile.name,
                profile=packed(profile),
                batch=batch,
                sharing=packed(self._sharing),
                interference=None,
                iterations=None,
                seed=self._seed + launch.instance,
                models=self._models,
                options=dict(self._hosting.worker_options),
            )
        )
        return resident

    def _seat(self, resident: Resident, launch: Launch) -> None:
        """Hold a resident that is ready to its share."""
        alone = not any(
            other.busy or other.job == "train" for other in self.residents if other is not resident
        )
        try:
            cost_per_s = self._hosting.host.capacity(launch, resident.loaded, alone=alone)
        except RealGpuError as error:
            raise WorkError("refused", str(error)) from None
        resident.share_by = self._share_by(resident, held=cost_per_s is not None)
        resident.changeable = resident.share_by in ("virtual", "gate")
        if cost_per_s is not None:
            self._pulse.sit_down(resident.row, cost_per_s)
        self.give(resident, resident.share)

    def _share_by(self, resident: Resident, *, held: bool) -> ShareBy:
        """Return how a share is realised, by what the worker and the host know."""
        if self._backend == "virtual":
            return "virtual"
        if self._backend == "cpu" or (held and self._hosting.throttle is not None):
            return "gate"
        evidence = resident.loaded.get("mps")
        if isinstance(evidence, dict) and evidence.get("runs_under_mps") is True:
            return "mps"
        if resident.share >= 1.0:
            return "whole"
        raise WorkError(
            "refused", f"{resident.worker.label}: neither MPS nor a launch gate holds it to its share"
        )

    def _let_go(self, resident: Resident) -> None:
        """Hold a resident back no more, and read no more of its gate: it is to end."""
        resident.gate = None
        self._pulse.stand_up(resident.row)
        self._crew.board.seats["quota"][resident.row] = 1.0

    def _patience_s(self, expected_s: float) -> float:
        return max(self._hosting.reply_within_s, self._hosting.reply_within_expected * expected_s)

    def _await(
        self,
        resident: Resident,
        come: Callable[[], bool],
        within_s: float,
        what: str,
        look_s: float = CHECK_S,
    ) -> None:
        """Wait until something of a resident has come, looking for it at least so often."""
        within_s = min(within_s, max(0.0, self._left_s()) + GRACE_S)
        deadline_ns = time.monotonic_ns() + round(within_s * 1e9)
        check_ns = time.monotonic_ns() + round(CHECK_S * 1e9)
        while not come():
            now_ns = time.monotonic_ns()
            if resident.failure is not None:
                raise resident.failure
            if now_ns > deadline_ns:
                raise resident.hangs(what)
            if now_ns > check_ns:
                check_ns = now_ns + round(CHECK_S * 1e9)
                if resident.worker.halted:
                    raise resident.hangs(f"{what}, halted by a signal,")
            self._listen(min(deadline_ns, now_ns + round(look_s * 1e9)))
        if resident.failure is not None:
            raise resident.failure

    def _listen(self, until_ns: int) -> None:
        """Hear whoever reports first, at the longest until a time of CLOCK_MONOTONIC."""
        self._interruption.check()
        watched = {}
        for resident in self.residents:
            if resident.failure is None:
                watched[resident.worker.channel.fileno()] = resident
                watched[resident.worker.exit_descriptor] = resident
        wait_s = max(0, until_ns - time.monotonic_ns()) / 1e9
        ready, _, _ = select.select([self._interruption.fileno(), *watched], [], [], wait_s)
        for one in dict.fromkeys(watched[key] for key in ready if key in watched):
            one.hear()
        self._interruption.check()


class _Pulse:
    """Carries shares to launch gates, and shows that somebody lives; without gates there is nothing to do."""

    def __init__(self, throttle: Throttle | None) -> None:
        self._throttle = throttle
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        if throttle is not None:
            self._thread = threading.Thread(target=self._beat, name="calibration-pulse", daemon=True)
            self._thread.start()

    def sit_down(self, row: int, cost_per_s: float) -> None:
        """Take note of a capacity, as `Throttle.sit_down`."""
        if self._throttle is not None:
            with self._lock:
                self._throttle.sit_down(row, cost_per_s)

    def apply(self, row: int, share: float) -> None:
        """Hold a row to a share at once."""
        if self._throttle is not None:
            with self._lock:
                self._throttle.apply(row, share)
                self._throttle.beat(time.monotonic_ns())

    def stand_up(self, row: int) -> None:
        """Let a row go at once."""
        if self._throttle is not None:
            with self._lock:
                self._throttle.stand_up(row)
                self._throttle.beat(time.monotonic_ns())

    def stop(self) -> None:
        """Beat no more; may be called again."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _beat(self) -> None:
        assert self._throttle is not None
        while not self._over.wait(BEAT_NS / 1e9):
            with self._lock:
                self._throttle.beat(time.monotonic_ns())
