"""Runs an experiment in both worlds, again and again with another seed, and judges what came out."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np

from experiments.errors import ExperimentError
from experiments.load import Experiment, load_experiment
from experiments.run import run_experiment
from experiments.validation.document import write_documents
from experiments.validation.figure import draw_validation
from experiments.validation.judged import ProfilesInUse, Validation, judge_system
from experiments.validation.tolerances import Tolerances
from experiments.worlds import WorldName
from profiles import Catalog, ProfileError, load_catalog
from realgpu.errors import RealGpuError
from realgpu.workers.protocol import BackendName
from recording import Run, load
from recording.manifest import SUMMARY_FILE

WORLDS: Final[tuple[WorldName, WorldName]] = ("sim", "realgpu")

Progress = Callable[[str, float, float], None]
"""Told what runs (system, world, repeat), the time of the run and its end, in seconds."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Work that an experiment has for a model, of which a profile is needed."""

    model: str
    job: Literal["serve", "train"]


Calibrate = Callable[[Sequence[Demand]], Path]
"""Measures work on this host's device and returns the directory of a catalog that has it."""


class InterruptedValidation(KeyboardInterrupt):
    """A validation was interrupted; `kept` holds the repeats that had finished, `None` if none had."""

    def __init__(self, kept: Validation | None) -> None:
        super().__init__()
        self.kept = kept


@dataclass(frozen=True, slots=True)
class _Asked:
    """The experiment that was asked for, to be loaded for each seed."""

    name: str | os.PathLike[str]
    systems: tuple[str, ...]
    changes: tuple[str, ...]
    profiles: Path | None

    def load(self, seed: int | None) -> Experiment:
        changes = [*self.changes, "record_quotas=true"]
        if self.profiles is not None:
            gpu = _catalog(self.profiles).gpu.name
            changes += [f"profiles={json.dumps(str(self.profiles))}", f"cluster.gpu={json.dumps(gpu)}"]
        return load_experiment(self.name, changes=changes, systems=self.systems, seed=seed)


def validate_experiment(
    name: str | os.PathLike[str],
    *,
    out: Path,
    tolerances: Tolerances,
    backend: BackendName = "virtual",
    repeats: int = 3,
    seed: int | None = None,
    systems: Sequence[str] = (),
    changes: Sequence[str] = (),
    profiles: Path | None = None,
    calibrate: Calibrate | None = None,
    progress: Progress | None = None,
) -> Validation:
    """Hold the simulated world against the real one, and write what came out into a folder.

    Every repeat runs the experiment in the simulated world, then in the real one, on the same arrivals; both
    keep every quota. The folder gets `sim/repeat-<r>` and `realgpu/repeat-<r>`, run directories like any
    other, and `validation.json`, `validation.csv` and `validation.png`.

    Parameters
    ----------
    name, systems, changes
        The experiment, as `load_experiment` takes it.
    out
        A new or an empty folder.
    tolerances
        See `parse_tolerances`.
    repeats
        At least 1; repeat r has the seed `seed + r` in both worlds.
    seed
        Of the first repeat; the experiment's own by default.
    profiles
        A catalog for both worlds instead of the experiment's; its GPU is then the cluster's.
    calibrate
        Asked for a catalog where workers compute (`cpu`, `cuda`) and the one at hand was not measured that
        way. Without it the run goes on, and a note says so.
    progress
        See `Progress`.

    Raises
    ------
    ExperimentError
        If the experiment, a system or the folder will not do.
    RealGpuError
        If the real world failed; the directory of the run that failed stays. As after any error, what had
        finished in both worlds is kept and judged, and `validation.json` says that it is incomplete.
    InterruptedValidation
        On Ctrl-C; likewise.
    """
    asked = _Asked(name, tuple(systems), tuple(changes), profiles)
    first = asked.load(seed)
    if first.section.workload.instances is not None:
        raise ExperimentError(
            f"{first.document.name}: workload.instances: only places instances, allowed is a workload of "
            "requests"
        )
    made = _make(out)

    def conclude(*, complete: bool) -> Validation | None:
        """Judge what has finished in both worlds; `None` if nothing has."""
        kept = _pairs(out, repeats)
        if not kept:
            return None
        found = Validation(
            experiment=first.name,
            backend=backend,
            seed=first.section.seed,
            repeats=repeats,
            complete=complete,
            profiles=in_use,
            tolerances=tolerances,
            notes=tuple(notes),
            systems=tuple(
                judge_system(label, kept[label], tolerances) for label in first.systems if kept.get(label)
            ),
            path=out,
        )
        write_documents(found)
        draw_validation(found, out / "validation.png")
        return found

    notes: list[str] = []
    in_use = _in_use(first.catalog, asked.profiles)
    try:
        if backend != "virtual" and in_use.backend != backend:
            if calibrate is None:
                notes.append(
                    f"the profiles of {in_use.gpu} were not measured with backend {backend}: errors are "
                    "those of the profiles as well"
                )
            else:
                asked = replace(asked, profiles=calibrate(_demands(first)))
                in_use = _in_use(asked.load(seed).catalog, asked.profiles)
        for repeat in range(repeats):
            experiment = asked.load(first.section.seed + repeat)
            for world in WORLDS:
                run_experiment(
                    experiment,
                    world=world,
                    backend=backend,
                    out=_folder(out, world, repeat),
                    progress=_telling(progress, f"{world} {repeat + 1}/{repeats}"),
                )
    except RealGpuError:
        conclude(complete=False)  # the failed run's directory says what went wrong, and stays
        raise
    except BaseException as error:
        _take_away_unpaired(out, repeats, itself=made)
        kept = conclude(complete=False)
        if isinstance(error, KeyboardInterrupt):
            raise InterruptedValidation(kept) from None
        raise
    validation = conclude(complete=True)
    assert validation is not None
    return validation


def _telling(progress: Progress | None, which: str) -> Progress | None:
    if progress is None:
        return None
    return lambda label, now_s, end_s: progress(f"{label}, {which}", now_s, end_s)


def _folder(out: Path, world: WorldName, repeat: int) -> Path:
    return out / world / f"repeat-{repeat}"


def _make(out: Path) -> bool:
    """Make the folder; returns whether it is new."""
    if out.is_dir():
        if any(out.iterdir()):
            raise ExperimentError(f"--out {out}: is not empty; allowed is a new or an empty folder")
        return False
    try:
        out.mkdir(parents=True)
    except OSError as error:
        raise ExperimentError(f"--out {out}: cannot be made ({error.strerror})") from None
    return True


def _finished(folder: Path) -> set[str]:
    """Return the systems whose results are whole."""
    return {path.parent.name for path in folder.glob(f"*/{SUMMARY_FILE}") if path.parent.name[0] != "."}


def _pairs(out: Path, repeats: int) -> dict[str, list[tuple[Run, Run]]]:
    """Return the runs that both worlds have finished, by system."""
    pairs: dict[str, list[tuple[Run, Run]]] = {}
    for repeat in range(repeats):
        here = [_folder(out, world, repeat) for world in WORLDS]
        for label in _finished(here[0]) & _finished(here[1]):
            sim, real = (load(folder / label) for folder in here)
            if not np.array_equal(sim.arrivals.arrival_s, real.arrivals.arrival_s):
                raise RuntimeError(f"repeat {repeat} of {label}: the two worlds had other arrivals")
            pairs.setdefault(label, []).append((sim, real))
    return pairs


def _take_away_unpaired(out: Path, repeats: int, *, itself: bool) -> None:
    """Remove repeats of which one world has nothing; if nothing is left, the folder `itself` as well."""
    for repeat in range(repeats):
        here = [_folder(out, world, repeat) for world in WORLDS]
        if not _finished(here[0]) & _finished(here[1]):
            for folder in here:
                shutil.rmtree(folder, ignore_errors=True)
    for folder in (*(out / world for world in WORLDS), *([out] if itself else [])):
        with suppress(OSError):  # not there, or not empty
            folder.rmdir()


def _catalog(directory: Path) -> Catalog:
    try:
        return load_catalog(directory)
    except ProfileError as error:
        raise ExperimentError(f"--profiles {directory}: {error}") from None


def _in_use(catalog: Catalog, directory: Path | None) -> ProfilesInUse:
    """Say which profiles both worlds use, and on what they were measured if the catalog knows."""
    device = catalog.device or {}
    return ProfilesInUse(
        gpu=catalog.gpu.name,
        directory=None if directory is None else str(directory),
        backend=device.get("backend"),
        device=device.get("name"),
    )


def _demands(experiment: Experiment) -> tuple[Demand, ...]:
    """Return what the functions of an experiment do, each once."""
    demands = (
        Demand(function.model.name, "train" if function.kind == "training" else "serve")
        for function in experiment.functions
    )
    return tuple(dict.fromkeys(demands))
