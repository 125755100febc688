"""What a host cannot run is said in one line, and nothing stays of the attempt."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import pytest
from small_worlds import (
    GIB,
    NO_ARRIVALS,
    children,
    deployed,
    descriptors,
    model,
    plain_system,
    run_folders,
    serves,
)

from policies import Deployment, PolicyError, Size, System
from realgpu.errors import RealGpuError
from realgpu.hosting import Hosting
from realgpu.world import run
from recording import MemoryRecorder

SMALL = Size(1, 0.3, 0.3)


@pytest.fixture(autouse=True)
def _nothing_stays() -> Any:
    """Every attempt leaves this process without children, folders and descriptors of its own."""
    before = descriptors()
    yield
    assert children(os.getpid()) == set()
    assert run_folders() == []
    assert descriptors() == before


def refused(deployment: Deployment, system: System | None = None, **options: Any) -> None:
    """Run what cannot run."""
    system = system or plain_system()
    run(deployment, system, seed=0, recorder=MemoryRecorder(), backend="virtual", **options)


ONE = deployed([serves(model(), SMALL)], [np.array([0.1])], duration_s=0.5)
THREE_GPUS = deployed([serves(model(), SMALL)], [np.array([0.1])], duration_s=0.5, gpus=3)


@dataclasses.dataclass(frozen=True)
class Nameless:
    """An interference model of one's own."""

    def factor(self, own: object, others: object) -> float:
        """Return 1."""
        return 1.0


@pytest.mark.parametrize(
    ("deployment", "options", "message"),
    [
        (
            THREE_GPUS,
            {"hosting": Hosting(gpus_available=2)},
            "cluster: found 3 GPUs, allowed are the 2 of this host",
        ),
        (ONE, {"budget_s": 5.0}, "budget_s: found 5, too little to start up, to run for 0.5 s"),
        (ONE, {"budget_s": 10.51}, "budget_s: used up before everybody was ready"),
        (
            ONE,
            {"interference": Nameless()},
            "interference: found Nameless.*allowed are those with a name: igniter",
        ),
        (
            ONE,
            {"hosting": Hosting(command=("/no/such/program",))},
            "instance 0 .model.: /no/such/program: cannot",
        ),
        (
            ONE,
            {"hosting": Hosting(worker_options={"lok_s": 1})},
            "instance 0 .model.: begin: options: found 'lok_s'.*look_s",
        ),
    ],
)
def test_what_the_host_cannot_do_is_said_in_a_line(
    deployment: Deployment, options: dict[str, Any], message: str
) -> None:
    """And nothing stays of the attempt."""
    with pytest.raises(RealGpuError, match=message):
        refused(deployment, **options)


def test_a_function_larger_than_any_gpu_is_named_before_anything_starts() -> None:
    """What can never be placed is the same error as in the simulated world."""
    function = serves(model(), SMALL, memory_bytes=41 * GIB)
    with pytest.raises(PolicyError, match=r"memory: found 41.0 GiB"):
        refused(deployed([function], [NO_ARRIVALS], duration_s=1.0))
