"""An orchestrator of its own process, for tests that kill it: runs two servers and a training for a minute.

Prints `running` once everybody works, and what became of it in the end.
"""

from __future__ import annotations

import sys

import numpy as np
from small_worlds import NO_ARRIVALS, deployed, model, run_virtually, serves, trains

from policies import Size, find_system

DURATION_S = 60.0


def main() -> None:
    """Run, and say how it ended."""
    functions = [
        serves(model("a", floor_s=0.01), Size(1, 0.3, 0.3)),
        serves(model("b", floor_s=0.3), Size(1, 0.3, 0.3)),
        trains(model("job"), Size(1, 0.3, 0.3)),
    ]
    arrivals = [np.arange(0.0, DURATION_S, 0.05), np.arange(0.0, DURATION_S, 0.1), NO_ARRIVALS]
    deployment = deployed(functions, arrivals, duration_s=DURATION_S, gpus=2)
    told: list[float] = []

    def progress(now_s: float) -> None:
        told.append(now_s)
        if len(told) == 3:
            sys.stdout.write("running\n")
            sys.stdout.flush()

    try:
        run_virtually(deployment, find_system("dilu"), progress=progress)
    except BaseException as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        sys.stdout.flush()
        raise


if __name__ == "__main__":
    main()
