"""The real world: carries out what the controller decides with worker processes, in real time.

One thread waits for workers, for the next batch that closes, and for the next second. Nothing here decides
anything. Times are seconds since time 0, the moment at which everybody who is warm was ready; requests arrive
at the times that the deployment has for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from policies import Controller, Deployment, System
from policies.outcome import Outcome
from profiles import InterferenceModel, find_interference
from profiles.interference import INTERFERENCE_ORIGINS
from realgpu.errors import RealGpuError
from realgpu.hosting import Host, Hosting
from realgpu.household import Household
from realgpu.interruption import Interruption
from realgpu.running_world import RunningWorld
from realgpu.seating import SEATS_PER_GPU
from realgpu.served import INF
from realgpu.staff import Staff, Work
from realgpu.workers.protocol import BackendName
from recording import TableSink

AFTERWARDS_S: Final = 10.0
"""What ending a run may take; a budget has to have room for it."""


def run(
    deployment: Deployment,
    system: System,
    *,
    seed: int,
    recorder: TableSink,
    backend: BackendName,
    progress: Callable[[float], None] | None = None,
    interference: InterferenceModel | None = None,
    budget_s: float | None = None,
    hosting: Hosting | None = None,
) -> Outcome:
    """Run a deployment under a system for its duration, in real time, and record what happens.

    Parameters
    ----------
    seed
        For backends that draw random numbers: weights and inputs.
    backend
        What workers do: `virtual` lets the time pass that the profile has for it, `cpu` and `cuda` compute.
    progress
        Called with the time of the run, now and then.
    interference
        Between virtual workers, one that has a name (`profiles.find_interference`).
    budget_s
        Wall-clock seconds that starting, running and ending may take; `None`: as long as it takes.
    hosting
        How this host runs workers (`realgpu.hosts.open_host_for`); by default plainly.

    Returns
    -------
    Outcome
        Its notes say how late batches were sent, and how late the controller's ticks were.

    Raises
    ------
    PolicyError
        If a function can never be placed on this cluster.
    RealGpuError
        If the host cannot run it, or a process crashed or hangs; no process and no file is left then, and
        nothing of the run is recorded.
    KeyboardInterrupt, SystemExit
        After Ctrl-C or SIGTERM, once all processes have been ended.
    """
    begun_s = time.monotonic()
    hosting = hosting or Hosting()
    gpus = deployment.cluster.gpus
    if hosting.gpus_available is not None and gpus > hosting.gpus_available:
        raise RealGpuError(
            f"cluster: found {gpus} GPUs, allowed are the {hosting.gpus_available} of this host"
        )
    ready_by_s = INF
    if budget_s is not None:
        ready_by_s = begun_s + budget_s - deployment.duration_s - AFTERWARDS_S
        _check_budget(budget_s, deployment.duration_s, ready_by_s)
    controller = Controller(system, deployment)
    models = tuple(dict.fromkeys(function.model.name for function in deployment.functions))
    work = Work(backend, system.vertical.sharing, _name_of(interference), models, seed)
    slots = deployment.cluster.nodes * deployment.cluster.gpus_per_node
    with (
        Interruption() as interruption,
        Household(
            system.vertical,
            deployment.functions,
            SEATS_PER_GPU * slots,
            throttle=hosting.throttle,
            before_kill=hosting.before_kill,
        ) as household,
        _explained(hosting.host),
    ):
        staff = Staff(household, interruption, hosting, work)
        world = RunningWorld(deployment, system, controller, household, staff, work, hosting.host)
        world.open(ready_by_s)
        world.work(progress)
        return world.end(recorder, interference)


@contextmanager
def _explained(host: Host) -> Iterator[None]:
    """Have the host explain what ends a run, and hold nobody back who is to end."""
    try:
        yield
    except RealGpuError as error:
        raise host.explain(error) from None
    finally:
        host.let_go()


def _check_budget(budget_s: float, duration_s: float, ready_by_s: float) -> None:
    if time.monotonic() >= ready_by_s:
        raise RealGpuError(
            f"budget_s: found {budget_s:g}, too little to start up, to run for {duration_s:g} s and to end "
            f"within {AFTERWARDS_S:g} s"
        )


def _name_of(interference: InterferenceModel | None) -> str | None:
    """Return the name by which workers know an interference model."""
    if interference is None:
        return None
    for name in INTERFERENCE_ORIGINS:
        if find_interference(name) == interference:
            return name
    names = ", ".join(INTERFERENCE_ORIGINS)
    raise RealGpuError(f"interference: found {interference!r}, allowed are those with a name: {names}")
