"""Which world carries out what the systems of an experiment decide, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from experiments.errors import ExperimentError
from experiments.load import Experiment
from experiments.placed import Placed, placed_instances
from experiments.workload import Workload, resolve
from policies import Cluster, Deployment, MixedCluster, System
from policies.outcome import Outcome
from realgpu.hosts import open_host_for
from realgpu.workers.protocol import BackendName
from realgpu.world import run as run_for_real
from recording import Arrivals, Recorder
from sim import replay_instances, simulate

WorldName = Literal["sim", "realgpu"]

CarryOut = Callable[[System, Recorder, Callable[[float], None] | None], Outcome]


@dataclass(frozen=True, slots=True)
class Runs:
    """What all systems of an experiment have in common, and the world that carries them out."""

    world: WorldName
    carry_out: CarryOut
    cluster: Cluster | MixedCluster
    duration_s: float
    arrivals: Arrivals
    functions: tuple[Mapping[str, Any], ...]
    workload: Mapping[str, Any]
    placement_only: bool = False


def runs_of(
    experiment: Experiment,
    world: WorldName,
    backend: BackendName,
    reading: Callable[[int, int], None] | None,
) -> Runs:
    """Resolve an experiment's workload for a world.

    Raises
    ------
    ExperimentError
        If it cannot be resolved, or is not for this world.
    """
    placed = placed_instances(experiment)
    if placed is None:
        return _serving(experiment, resolve(experiment, reading), world, backend)
    if world != "sim":
        raise ExperimentError(
            f"{experiment.document.name}: workload.instances: only places instances, allowed is world sim"
        )
    return _placing(placed)


def _serving(experiment: Experiment, workload: Workload, world: WorldName, backend: BackendName) -> Runs:
    deployment = workload.deployment
    seed, interference = experiment.section.seed, experiment.interference

    def in_sim(system: System, recorder: Recorder, progress: Callable[[float], None] | None) -> Outcome:
        return simulate(
            deployment, system, seed=seed, recorder=recorder, progress=progress, interference=interference
        )

    def for_real(system: System, recorder: Recorder, progress: Callable[[float], None] | None) -> Outcome:
        with open_host_for(backend, deployment, system.vertical) as hosting:
            outcome = run_for_real(
                deployment,
                system,
                seed=seed,
                recorder=recorder,
                backend=backend,
                progress=progress,
                interference=interference,
                hosting=hosting,
            )
            hosting.host.write_samples(recorder.staging)
        return outcome

    return Runs(
        world=world,
        carry_out=in_sim if world == "sim" else for_real,
        cluster=deployment.cluster,
        duration_s=deployment.duration_s,
        arrivals=Arrivals.from_functions(deployment.arrivals, deployment.output_tokens),
        functions=_recorded(deployment),
        workload=workload.provenance,
    )


def _placing(placed: Placed) -> Runs:
    def place(system: System, recorder: Recorder, progress: Callable[[float], None] | None) -> Outcome:
        return replay_instances(placed.cluster, placed.events, system, recorder=recorder, progress=progress)

    return Runs(
        world="sim",
        carry_out=place,
        cluster=placed.cluster,
        duration_s=placed.events[-1].time_s,
        arrivals=Arrivals.from_functions([]),
        functions=(),
        workload=placed.provenance,
        placement_only=True,
    )


def _recorded(deployment: Deployment) -> tuple[Mapping[str, Any], ...]:
    """Say of each function what the manifest keeps of it, apart from its size, which the system decides."""
    return tuple(
        {
            "name": function.name,
            "kind": function.kind,
            "model": function.model.name,
            "slo_s": function.slo_s,
            "output_tokens": function.output_tokens,
            "start_s": function.start_s,
            "memory_bytes": function.memory_bytes,
            "workers": function.workers,
            "iterations": function.iterations,
            "min_instances": function.min_instances,
            "timeout_s": function.timeout_s,
        }
        for function in deployment.functions
    )
