"""Runs an experiment: every system on the same workload, each into a folder of its own."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from analysis import compare, summarise, write_comparison
from experiments.errors import ExperimentError
from experiments.load import Experiment
from experiments.run_state import RunProgress, run_files
from experiments.schema import ARRIVALS_FILE, COMPARISON_FILE
from experiments.worlds import Runs, WorldName, runs_of
from policies import Cluster, PolicyError, System
from policies.functions import MixedCluster
from policies.outcome import Outcome
from profiles.interference import INTERFERENCE_ORIGINS
from realgpu.errors import RealGpuError
from realgpu.workers.protocol import BackendName
from recording import (
    Manifest,
    Recorder,
    load,
    write_arrivals,
)
from recording.manifest import MANIFEST_FILE

RUNS: Final = Path("runs")
"""Where runs go that are given no folder."""

Progress = Callable[[str, float, float], None]
"""Told the system's label, the time of the run and its end (seconds), some ten times a second at most."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Where the results are, and the summary of each system that finished, in the order of the run."""

    path: Path
    summaries: tuple[Mapping[str, Any], ...]


class Interrupted(KeyboardInterrupt):
    """The run was interrupted; `kept` holds the systems that had finished, `None` if none had."""

    def __init__(self, kept: RunDirectory | None) -> None:
        super().__init__()
        self.kept = kept


def run_experiment(
    experiment: Experiment,
    *,
    world: WorldName = "sim",
    backend: BackendName = "virtual",
    out: Path | None = None,
    progress: Progress | None = None,
    reading: Callable[[int, int], None] | None = None,
) -> RunDirectory:
    """Run each system of an experiment in a world.

    Parameters
    ----------
    world
        `sim`, or `realgpu`: in real time, with a worker process for each instance.
    backend
        Of `realgpu`, what workers do: `virtual` lets the time pass that the profiles have for it, `cpu` runs
        small models, `cuda` the real ones.
    out
        The run directory: a new or an empty folder. Default: `runs/<experiment>-<n>` with the first free n.
    progress
        See `Progress`.
    reading
        Told how many bytes of a trace's file were read, and how many it has.

    Raises
    ------
    ExperimentError
        If the workload cannot be resolved, `out` holds something, or a system cannot serve the experiment.
    RealGpuError
        If the host cannot run it for real, or a process crashed or hangs.
    Interrupted
        On Ctrl-C.

    Notes
    -----
    Whatever ends the run, results of systems that had finished stay, with a comparison of them, and nothing
    of the others; the directory's `run.json` says that the run was aborted, in which system, and why
    (`experiments.run_state`). If none had finished, the directory is not there either, unless the real world
    failed: then it keeps the arrivals and `run.json`, as what went wrong on a host is a result.
    """
    runs = runs_of(experiment, world, backend, reading)
    summaries: list[Mapping[str, Any]] = []
    with _directory(experiment, out) as path:
        of_world = backend if world == "realgpu" else None
        state = RunProgress(path, experiment.name, tuple(experiment.systems), world, of_world)
        try:
            write_arrivals(path / ARRIVALS_FILE, runs.arrivals)
            for label, system in experiment.systems.items():
                state.begin(label)
                summaries.append(_run_system(experiment, runs, path / label, label, system, progress))
                state.finish(label)
            kept = _compare(path, summaries)
        except BaseException as error:
            with suppress(OSError):  # a full disk is not to hide what happened first
                state.abort(_reason(error))
            some = _compare(path, summaries) if summaries else None
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted(some) from None
            if isinstance(error, PolicyError | ExperimentError | RealGpuError):
                kind = RealGpuError if isinstance(error, RealGpuError) else ExperimentError
                said = _ending(error, state, path, some)
                raise kind(f"{experiment.document.name}: {said}") from None
            raise
        state.complete()
    return kept


def _reason(error: BaseException) -> str:
    """Say why a run was aborted; what is no error of ours carries its type."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    ours = isinstance(error, PolicyError | ExperimentError | RealGpuError)
    return str(error) if ours else f"{type(error).__name__}: {error}"


def _ending(error: Exception, state: RunProgress, path: Path, kept: RunDirectory | None) -> str:
    """Say in which system an error ended the run, and where what can be kept is."""
    said = f"system {state.system}: {error}"
    if kept is not None:
        return f"{said} (kept in {path}: {', '.join(summary['system'] for summary in kept.summaries)})"
    return f"{said} (told in {path})" if isinstance(error, RealGpuError) else said


def _run_system(
    experiment: Experiment,
    runs: Runs,
    folder: Path,
    label: str,
    system: System,
    progress: Progress | None,
) -> Mapping[str, Any]:
    """Run one system and keep its results; returns its summary."""

    def advance(simulated_s: float) -> None:
        if progress is not None:
            progress(label, simulated_s, runs.duration_s)

    with Recorder(folder, quotas=experiment.section.record_quotas) as recorder:
        advance(0.0)
        experiment.catalog.forget()  # so that what is said to be extrapolated is this run's
        started_s = time.perf_counter()
        outcome = runs.carry_out(system, recorder, advance)
        wall_s = time.perf_counter() - started_s
        recorder.close(_manifest(experiment, runs, label, system, outcome))
        summary = summarise(load(recorder.staging, arrivals=runs.arrivals), wall_s=wall_s)
        recorder.publish(summary)
    return summary


def _manifest(experiment: Experiment, runs: Runs, label: str, system: System, outcome: Outcome) -> Manifest:
    functions = [
        {**function, "size": dataclasses.asdict(size)}
        for function, size in zip(runs.functions, outcome.sizes, strict=True)
    ]
    return Manifest.model_validate(
        {
            "system": label,
            "title": system.title,
            "world": runs.world,
            "seed": experiment.section.seed,
            "simulated_s": outcome.simulated_s,
            "placement_only": runs.placement_only,
            "launches_refused": outcome.launches_refused,
            "cluster": _recorded_cluster(runs.cluster),
            "functions": functions,
            "system_name": system.name,
            "slots": system.describe(),
            "own_policies": experiment.origins.get(label, {}),
            "notes": outcome.notes,
            "events": outcome.events,
            "measured": outcome.further,
            "experiment": {"name": experiment.name, **experiment.document.values},
            "workload": runs.workload,
            "profiles": experiment.catalog.provenance_report(),
            "interference": _interference(experiment),
            "extrapolated": experiment.catalog.extrapolations(),
            "versions": {name: _version(name) for name in ("dilu-lab", "numpy", "pyarrow", "simpy")},
        }
    )


def _version(name: str) -> str | None:
    """Return the version of a package; `None` for a checkout that is run as it lies."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _recorded_cluster(cluster: Cluster | MixedCluster) -> Mapping[str, Any]:
    """Say what the manifest keeps of the cluster; where nodes differ, how many GPUs of each type too."""
    groups = [
        {
            "nodes": group.nodes,
            "gpus_per_node": group.gpus_per_node,
            "gpu": group.gpu.name,
            "gpu_memory_bytes": group.gpu.memory_bytes,
        }
        for group in cluster.groups
    ]
    if isinstance(cluster, Cluster):
        return groups[0]
    gpus_by_type: Counter[str] = Counter()
    for group in cluster.groups:
        gpus_by_type[group.gpu.name] += group.gpus
    return {
        "nodes": cluster.nodes,
        "gpus_per_node": cluster.gpus_per_node,
        "gpus": cluster.gpus,
        "gpus_by_type": dict(sorted(gpus_by_type.items())),
        "groups": groups,
    }


def _interference(experiment: Experiment) -> Mapping[str, Any] | None:
    """Say which model of interference there was, and where its numbers come from."""
    name = experiment.section.interference
    if name is None:
        return None
    origins = {field: dataclasses.asdict(origin) for field, origin in INTERFERENCE_ORIGINS[name].items()}
    return {"model": name, "values": origins}


@contextmanager
def _directory(experiment: Experiment, out: Path | None) -> Iterator[Path]:
    """Make the run directory; take it away again if the run leaves nothing in it that says anything."""
    path, ours = _make(experiment, out)
    failed_for_real = False
    try:
        yield path
    except RealGpuError:
        failed_for_real = True
        raise
    finally:
        for half_written in path.glob(".*.partial"):  # Ctrl-C can hit before the recorder guards it
            shutil.rmtree(half_written)
        if not failed_for_real and not any(path.glob(f"*/{MANIFEST_FILE}")):
            for file in (path / ARRIVALS_FILE, *run_files(path)):
                file.unlink(missing_ok=True)
            if ours:
                path.rmdir()
            if out is None:
                with suppress(OSError):  # earlier runs are in it
                    RUNS.rmdir()


def _make(experiment: Experiment, out: Path | None) -> tuple[Path, bool]:
    """Return the run directory, and whether it is new."""
    if out is None:
        RUNS.mkdir(exist_ok=True)
        number = 1
        while True:
            path = RUNS / f"{experiment.name}-{number}"
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
            else:
                return path, True
    if out.is_dir():
        if any(out.iterdir()):
            raise ExperimentError(f"--out {out}: is not empty; allowed is a new or an empty folder")
        return out, False
    try:
        out.mkdir(parents=True)
    except OSError as error:
        raise ExperimentError(f"--out {out}: cannot be made ({error.strerror})") from None
    return out, True


def _compare(path: Path, summaries: Sequence[Mapping[str, Any]]) -> RunDirectory:
    """Write the comparison of what finished."""
    write_comparison(path / COMPARISON_FILE, compare(summaries))
    return RunDirectory(path, tuple(summaries))
