"""From which wait behind a kernel on Dilu's manager throttles training, by the law of contention."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.cells import Cell
from policies.vertical import Rckm


@dataclass(frozen=True, slots=True)
class WaveBound:
    """The longest mean wait behind a running training kernel at which training is left alone, in seconds.

    `assumed_s` is what the training's profile has.
    """

    wave_s: float
    assumed_s: float


def wave_bound(cell: Cell) -> WaveBound:
    """Return the bound for the served function and the training of a pair under Dilu.

    A batch of one runs on its limit beside training at its own. Its iteration takes ``L(share) + n q w``: the
    limits, scaled to fit, make the share, `n` are its launches, `q` is the training's limit (see
    `profiles.contention`). The threshold is ``1 + eta`` times what the iteration takes alone.
    """
    experiment = cell.load()
    (system,) = experiment.systems.values()
    manager = system.vertical
    assert isinstance(manager, Rckm), "only Dilu's manager has a threshold"
    (served,) = (one for one in experiment.functions if one.kind != "training")
    (trained,) = (one for one in experiment.functions if one.kind == "training")
    assert served.size is not None
    assert trained.size is not None
    assert trained.model.training is not None
    share = served.size.limit / max(1.0, served.size.limit + trained.size.limit)
    eta = manager.eta_violation_llm if served.kind == "llm" else manager.eta_violation
    alone_s, beside_s = served.model.measure(1, served.size.limit), served.model.measure(1, share)
    disturbance = served.model.launches * trained.size.limit
    return WaveBound(
        wave_s=max(0.0, ((1.0 + eta) * alone_s - beside_s) / disturbance),
        assumed_s=trained.model.training.wave_s,
    )
