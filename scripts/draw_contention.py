"""Draw the law of contention: a launch cycle against the neighbour's quota, and how it depends on the wait w.

Usage: python scripts/draw_contention.py [docs/contention.png]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from profiles import load_catalog
from profiles.contention import contention
from profiles.sharing import LAUNCH_TOKENS, MPS_CAPS, UNMANAGED, PrioritySharing, Sharing, TimeSharing

mpl.use("Agg")
MODEL = load_catalog().model("roberta-large")
BATCH, REQUEST, LIMIT = 4, 0.3, 0.6
"""The size of Dilu's testbed (sigserverless/Dilu @1134655)."""

WAVE_S = 80e-6
TURN_S = 0.3


@dataclass(frozen=True)
class Side:
    """One of the two residents, both active."""

    quota: float
    request: float
    limit: float
    slo_sensitive: bool
    wave_s: float = WAVE_S
    part: float = 1.0
    model: str = "roberta-large"
    batch: int = BATCH


SERVES = Side(LIMIT, REQUEST, LIMIT, True)
TRAINS = Side(0.9, 0.3, 0.9, False)

DISCIPLINES: tuple[tuple[str, Sharing, float, str], ...] = (
    ("launch tokens, at its request", LAUNCH_TOKENS, REQUEST, "C0"),
    ("launch tokens, at its limit", LAUNCH_TOKENS, LIMIT, "C1"),
    ("MPS caps, at its request", MPS_CAPS, REQUEST, "C2"),
    ("MPS caps, at its limit", MPS_CAPS, LIMIT, "C3"),
    ("unmanaged, at its limit", UNMANAGED, LIMIT, "C4"),
    ("time slices", TimeSharing(turn_s=0.002, switch_loss=0.03), LIMIT, "C5"),
    ("time token of 300 ms", TimeSharing(weights="request", turn_s=TURN_S), LIMIT, "C6"),
    ("priority, the rest is left", PrioritySharing(), LIMIT, "C7"),
)
"""What it is called, how the GPU is shared, the quota of the serving side, and its colour."""


def cycle_s(sharing: Sharing, serves: Side, trains: Side) -> float:
    """Seconds of one batch of the serving side beside the training side."""
    terms = contention((serves, trains), sharing)[1][0]
    work_s = MODEL.latency.seconds(BATCH, terms.share)
    return max(work_s * terms.stretch + MODEL.launches * terms.delay_s, work_s + terms.wait_s)


def draw(path: Path) -> None:
    """Write the picture."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), sharey=False, constrained_layout=True)
    quotas = np.linspace(0.02, 0.9, 89)
    for label, sharing, quota, colour in DISCIPLINES:
        serves = replace(SERVES, quota=quota)
        _curve(
            left,
            quotas,
            lambda q, s=sharing, i=serves: cycle_s(s, i, replace(TRAINS, quota=q)),
            label,
            colour,
        )
    left.set(
        xlabel="quota of the training neighbour", ylabel="launch cycle of a batch of 4 [ms]", ylim=(0, 150)
    )
    left.set_title("by how the GPU is shared", fontsize=10)
    left.legend(fontsize=7.5, loc="upper left", ncol=2)
    for micros, colour in ((0, "0.6"), (20, "C2"), (40, "C1"), (80, "C0"), (160, "C3")):
        trains = replace(TRAINS, wave_s=micros * 1e-6)
        serves = replace(SERVES, quota=LIMIT)
        _curve(
            right,
            quotas,
            lambda q, i=serves, t=trains: cycle_s(LAUNCH_TOKENS, i, replace(t, quota=q)),
            f"w = {micros} us",
            colour,
        )
    emergency_s = 1.6 * MODEL.latency.seconds(BATCH, LIMIT)
    right.axhline(1e3 * emergency_s, color="0.3", lw=0.8, ls=":")
    right.text(0.02, 1e3 * emergency_s + 2, "emergency (1.6 x alone)", fontsize=8, color="0.3")
    right.set(xlabel="quota of the training neighbour", ylim=(0, 150))
    right.set_title("launch tokens at the limit, by the wait w behind a wave", fontsize=10)
    right.legend(fontsize=8, loc="upper left")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def _curve(
    axes: Axes, quotas: Sequence[float], cycle: Callable[[float], float], label: str, colour: str
) -> None:
    axes.plot(quotas, [1e3 * cycle(float(quota)) for quota in quotas], label=label, color=colour, lw=1.6)


if __name__ == "__main__":
    draw(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/contention.png"))
