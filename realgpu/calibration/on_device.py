"""A device as what sizing measures: each measurement is made when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, Literal

from profiles import Measure, ModelProfile
from profiles.sharing import LAUNCH_TOKENS, MPS_CAPS
from realgpu.calibration.calibrate import open_one_gpu
from realgpu.calibration.measuring import Meter, Patience
from realgpu.calibration.workplace import OpenHosting, Workplace
from realgpu.interruption import Interruption
from realgpu.workers.protocol import BackendName

IDLE_MEMORY_BYTES: Final = 1
"""Workers that wait end as soon as another one starts: the one that measures has the device to itself."""


@contextmanager
def device_measure(
    backend: BackendName,
    profile: ModelProfile,
    kind: Literal["inference", "llm", "training"],
    *,
    seed: int = 0,
    patience: Patience | None = None,
    open_hosting: OpenHosting | None = None,
) -> Iterator[Measure]:
    """Give a `Measure` that runs the model on this host, and end all workers afterwards.

    It returns the median of some repeats: of a batch, of a decode step of an `llm`, of a training step. A
    point that was measured is not measured again.

    Parameters
    ----------
    profile
        Names the model; what it expects decides how long to wait for a worker.
    patience
        How often a point is repeated.
    open_hosting
        Opens the host; by default one GPU, shared as the backend does.

    Raises
    ------
    RealGpuError
        If the host cannot run the backend, or, from a measurement, if a worker fails.
    """
    gated = backend != "cuda"
    sharing = LAUNCH_TOKENS if gated else MPS_CAPS
    patience = patience or Patience()
    expected = profile.measurement(kind)
    found: dict[tuple[int, float], float] = {}

    def measure(batch: int, share: float) -> float:
        if (batch, share) not in found:
            expected_s = expected(batch, share)
            if kind == "training":
                resident = workplace.resident(profile, "train", batch, share)
                measurement = Meter(workplace.rig, patience).train(resident, expected_s)
            else:
                resident = workplace.resident(profile, "serve", max(batch, profile.max_batch), share)
                measurement = Meter(workplace.rig, patience).serve(resident, batch, expected_s)[-1]
            found[batch, share] = measurement.median_s
        return found[batch, share]

    with (
        Interruption() as interruption,
        Workplace(
            backend,
            open_hosting or partial(open_one_gpu, backend, sharing),
            interruption,
            sharing=sharing,
            models=[profile.name],
            seed=seed,
            memory_bytes=IDLE_MEMORY_BYTES,
            opened=lambda resident: None,
        ) as workplace,
    ):
        yield measure
