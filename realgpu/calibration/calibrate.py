"""Measures what models cost on this host's device, and writes a catalog of profiles."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Literal

from policies import Launch
from profiles import Catalog, ProfileError, load_catalog, write_catalog
from profiles.sharing import LAUNCH_TOKENS, MPS_CAPS, Sharing
from realgpu.calibration.budget import Budget, StartUps
from realgpu.calibration.campaign import Campaign, Progress
from realgpu.calibration.device import host_facts, start_up, today, worker_facts
from realgpu.calibration.ledger import Ledger
from realgpu.calibration.pairs import pair_tasks
from realgpu.calibration.plan import FEWER_SHARES
from realgpu.calibration.profile import make_draft
from realgpu.calibration.report import CalibrationReport, fit_reports
from realgpu.calibration.resident import Resident
from realgpu.calibration.rig import TRAINS
from realgpu.calibration.settings import Settings
from realgpu.calibration.subjects import find_subjects
from realgpu.calibration.workplace import OpenHosting, Workplace
from realgpu.errors import RealGpuError
from realgpu.hosting import Hosting
from realgpu.hosts import open_host
from realgpu.interruption import Interruption
from realgpu.workers.protocol import BackendName

ShareBy = Literal["mps", "gate"]

MEMORY_PART = 0.7
"""Of the device's memory, so much may be held by workers, most of whom wait for their turn. Assumed."""


def calibrate(
    backend: BackendName,
    models: Sequence[str],
    *,
    out: Path,
    base: Catalog | None = None,
    budget_s: float | None = None,
    share_by: ShareBy | None = None,
    open_hosting: OpenHosting | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> CalibrationReport:
    """Measure models on this host, and write a catalog.

    Measurements are written as they come. Called again with the same directory, it goes on where it was cut
    off; with a budget of 0 it makes a catalog of what is there.

    Parameters
    ----------
    backend
        What workers do: `virtual`, `cpu` or `cuda`.
    models
        In the order of their value; `bert-base`, or only a job of it: `bert-base:serve`, `vgg19:train`.
    out
        Directory of the catalog, with the measurements in it.
    base
        What is not measured comes from here; by default the shipped catalog.
    budget_s
        Wall-clock seconds it may take; `None`: as long as it takes.
    share_by
        How shares of a GPU are realised, `mps` by default; `virtual` and `cpu` have their one way.
    open_hosting
        Opens the host; by default as the backend and `share_by` need it.
    settings
        How thoroughly to measure.
    seed
        For backends that draw random numbers.
    progress
        Told what is being done.

    Raises
    ------
    RealGpuError
        If the host cannot run the backend, a model or job is unknown, `out` has measurements of another
        device, or nothing could be measured well enough for a profile.
    KeyboardInterrupt, SystemExit
        After Ctrl-C or SIGTERM, once all workers have been ended; what was measured is kept.
    """
    base = base or load_catalog()
    subjects = find_subjects(models, base)
    if budget_s is not None and not budget_s >= 0.0:
        raise RealGpuError(f"budget_s: found {budget_s}, allowed are seconds from 0")
    if share_by is not None and backend != "cuda":
        raise RealGpuError(f"share_by: found {share_by!r}, allowed only for the backend cuda")
    gated = backend != "cuda" or share_by == "gate"
    settings = settings or (Settings() if gated else Settings(shares=FEWER_SHARES))
    budget = Budget(budget_s)
    ledger = Ledger(out)
    ledger.know(host_facts(backend, "gate" if gated else "mps"))
    before = len(ledger.measurements)
    start_ups = StartUps(backend)

    def opened(resident: Resident) -> None:
        """Take note of a start."""
        start_ups.saw(resident.job, (resident.ready_ns - resident.launched_ns) / 1e9)
        facts = worker_facts(backend, resident)
        ledger.know({**facts, "date": today()})
        if "memory_bytes" in facts:
            workplace.memory_bytes = round(MEMORY_PART * facts["memory_bytes"])
        started = start_up(backend, resident)
        if started is not None:
            ledger.add_start_up(started)

    sharing = LAUNCH_TOKENS if gated else MPS_CAPS
    with (
        Interruption() as interruption,
        Workplace(
            backend,
            open_hosting or partial(open_one_gpu, backend, sharing),
            interruption,
            sharing=sharing,
            models=[one.name for one in subjects],
            seed=seed,
            memory_bytes=round(MEMORY_PART * base.gpu.memory_bytes),
            opened=opened,
            left_s=lambda: budget.left_s,
        ) as workplace,
    ):
        campaign = Campaign(workplace, ledger, budget, start_ups, settings)
        tasks = campaign.tasks(subjects)
        if settings.pairs:
            tasks += pair_tasks(campaign, subjects)
        if backend != "virtual":
            tasks += campaign.start_tasks(subjects)
        campaign.run(tasks, progress)
    if workplace.host_record is not None:
        ledger.know({"host": workplace.host_record})

    try:
        made = make_draft(ledger, base)
        catalog = write_catalog(out, made.draft, overwrite=True)
    except ProfileError as error:
        raise RealGpuError(f"{out}: no catalog can be made of what was measured: {error}") from None
    return CalibrationReport(
        catalog=catalog,
        device=dict(ledger.device),
        fits=fit_reports(
            made.draft.models,
            ledger.measurements,
            len(settings.batches) * len(settings.shares),
            len(settings.step_shares) + len(settings.step_shares_held_out),
        ),
        seconds=budget.spent_s,
        new_points=len(ledger.measurements) - before,
        failures=tuple(ledger.failures),
        skipped=dict(campaign.skipped),
        notes=made.notes,
    )


def open_one_gpu(backend: BackendName, sharing: Sharing) -> AbstractContextManager[Hosting]:
    """Open this host for one GPU; under MPS a share is fixed for as long as its worker lives."""
    return open_host(
        backend,
        sharing=sharing,
        trains=lambda launch: launch.function == TRAINS,
        quota=_share if sharing == MPS_CAPS else None,
    )


def _share(launch: Launch) -> float:
    return launch.size.request
