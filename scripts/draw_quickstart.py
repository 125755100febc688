"""Draw the picture of the README from a run of `quickstart`.

dilu replay --out runs/quickstart && python scripts/draw_quickstart.py runs/quickstart docs/quickstart.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from recording import Run, load_all

# Okabe and Ito's palette, told apart by colour-blind readers too.
COLOURS = {"exclusive": "#0072B2", "infless+-l": "#E69F00", "infless+-r": "#009E73", "dilu": "#D55E00"}
FUNCTION = "roberta-large"


def draw(runs: dict[str, Run], path: Path) -> None:
    """Latency of a bursty function, and what each system pays for it."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for name, run in runs.items():
        requests = run.requests()
        latency_ms = np.sort(1e3 * requests.loc[requests["function"] == FUNCTION, "latency_s"].dropna())
        share = np.arange(1, len(latency_ms) + 1) / len(latency_ms)
        left.plot(latency_ms, 1.0 - share, color=COLOURS[name], label=name)
        summary = run.summary
        right.scatter(
            summary["mean_gpus"],
            summary["training"]["steps_per_s"],
            s=90,
            color=COLOURS[name],
            label=name,
            zorder=3,
        )
        below = name == "infless+-l"  # close to exclusive
        right.annotate(
            name,
            (summary["mean_gpus"], summary["training"]["steps_per_s"]),
            xytext=(0, -18 if below else 9),
            textcoords="offset points",
            ha="center",
        )
    slo_ms = 1e3 * next(iter(runs.values())).summary["functions"][FUNCTION]["slo_s"]
    left.axvline(slo_ms, color="0.5", linestyle="--", linewidth=1)
    left.annotate("SLO", (slo_ms, 2e-4), xytext=(4, 0), textcoords="offset points", color="0.4")
    left.set(xlabel=f"latency of {FUNCTION}, bursty [ms]", ylabel="share of requests above", yscale="log")
    left.set(ylim=(1e-4, 1.0), xlim=(0.0, 1.5 * slo_ms))
    left.legend(frameon=False, loc="upper right")
    right.set(xlabel="GPUs in use, mean", ylabel="training throughput [steps/s]")
    right.set(xlim=(0.0, 15.0), ylim=(0.0, 11.0))
    for axes in (left, right):
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Draw the run directory of the first argument into the file of the second."""
    directory, path = Path(sys.argv[1]), Path(sys.argv[2])
    runs = {run.summary["system"]: run for run in load_all(directory)}
    draw({name: runs[name] for name in COLOURS if name in runs}, path)


if __name__ == "__main__":
    main()
