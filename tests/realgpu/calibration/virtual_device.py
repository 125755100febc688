"""A device of virtual workers, quick ones, that is not what the base catalog says it is."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from profiles import Catalog, LatencySurface, ModelProfile, load_catalog
from realgpu.calibration import Goal, Patience, Settings
from realgpu.calibration.workplace import OpenHosting
from realgpu.hosting import Hosting

PROGRAM = str(Path(__file__).with_name("slower_worker.py"))

QUICK = Patience(spread=0.02, least=6, most=12, most_s=0.5, settling_s=0.002)
FEW = Settings(
    batches=(1, 4, 8),
    shares=(0.2, 0.5, 1.0),
    goal=Goal(held_out_points=1),
    patience=QUICK,
    pairs=False,
)


def quick(name: str, **changes: Any) -> ModelProfile:
    """A model of the shipped catalog whose work takes milliseconds."""
    profile = load_catalog().model(name)
    values: dict[str, Any] = {"max_batch": 8, "latency": LatencySurface(0.001, 0.0001, 0.0002, 0.0003, 3.0)}
    if profile.training is not None:
        step = replace(profile.training.step, floor_s=0.002, work_s=0.001, g=3.0)
        values["training"] = replace(profile.training, batch=4, step=step)
    return replace(profile, **(values | changes))


def base(*models: ModelProfile) -> Catalog:
    """A catalog of some models on the shipped type of GPU."""
    shipped = load_catalog()
    chosen = models or (quick("bert-base"), quick("roberta-large"), quick("llama2-7b", max_batch=8))
    return replace(shipped, models={model.name: model for model in chosen})


def hosting(noise: float = 0.0, misbehave: str = "", **values: Any) -> OpenHosting:
    """Return what opens that device; a worker that misbehaves is given up soon."""

    def opened() -> AbstractContextManager[Hosting]:
        return nullcontext(
            Hosting(
                command=(sys.executable, PROGRAM),
                environment=lambda launch, row: {
                    "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
                    "MISBEHAVE": misbehave,
                },
                worker_options={"noise": noise},
                **({"reply_within_s": 1.0} | values),
            )
        )

    return opened
