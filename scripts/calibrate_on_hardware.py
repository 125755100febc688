#!/usr/bin/env python3
"""The first run on a GPU host: check it, calibrate the models on it, and try a co-location.

It runs from a checkout, without installing, and needs Python alone to begin with. Whatever fails on the way
is recorded and the rest goes on; when the budget is spent, or on Ctrl-C, everything that was started is ended
and what there is is kept. No setting of the GPU is changed. docs/first-run.md says what happens when, and how
to read the table.

    python3 scripts/calibrate_on_hardware.py --budget 560 --out first-run/
    python3 scripts/calibrate_on_hardware.py --backend virtual --budget 60 --out trial/
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from realgpu.checks.first_run import FirstRun, Order
from realgpu.checks.processes import scratch_folder

BEGUN_S = time.monotonic()
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
LATE_SHARE = 0.4
"""Of the spare time, given to the part that runs at the deadline to end; then it is left to be ended."""


class Halt(KeyboardInterrupt):
    """The run is to end now; its text says why."""


def main() -> int:
    """Run; return 0 however far it came, 2 for bad input."""
    arguments = _parser().parse_args()
    fault = _fault(arguments)
    if fault is not None:
        sys.stderr.write(f"{fault}\n")
        return 2
    order = Order(
        backend=arguments.backend,
        budget_s=arguments.budget,
        models=None if arguments.models is None else tuple(arguments.models),
        wheels=None if arguments.wheels is None else arguments.wheels.resolve(),
        out=arguments.out,
        seed=arguments.seed,
    )
    run = FirstRun(order, BEGUN_S, _say)
    for number in SIGNALS:
        signal.signal(number, _halt)
    signal.setitimer(signal.ITIMER_REAL, max(0.1, run.left_s() + LATE_SHARE * run.spare_s))
    reason = None
    try:
        with scratch_folder("dilu-first-run-") as scratch:
            run.go(scratch)
    except Halt as halt:
        reason = str(halt)
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # what is left to do takes a limited time
        run.finish(reason)
    return 0


def _fault(arguments: argparse.Namespace) -> str | None:
    """Return what is wrong with the command line, and make the folder for results."""
    if not arguments.budget > 0:
        return f"--budget: found {arguments.budget:g}, allowed is more than 0 seconds"
    if arguments.wheels is not None and not arguments.wheels.is_dir():
        return f"--wheels: found {arguments.wheels}, which is no folder"
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"--out: {arguments.out}: {error.strerror}"
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--budget", type=float, default=560.0, metavar="S", help="seconds at most (default: %(default)g)"
    )
    parser.add_argument(
        "--backend",
        choices=("cuda", "cpu", "virtual"),
        default="cuda",
        help="cpu and virtual try the run out where there is no GPU (default: %(default)s)",
    )
    parser.add_argument("--models", nargs="+", metavar="NAME", help="calibrate these (default: all)")
    parser.add_argument(
        "--wheels", type=Path, metavar="DIR", help="install missing packages from wheels in here, beside"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: %(default)s)")
    return parser


def _halt(number: int, frame: FrameType | None) -> None:
    raise Halt(
        "the budget was spent" if number == signal.SIGALRM else f"ended by {signal.Signals(number).name}"
    )


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
