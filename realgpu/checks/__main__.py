"""`python -m realgpu.checks --out DIR`: check this host, print a table, keep records and log in DIR."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from realgpu.checks.listing import CHECKS, named
from realgpu.checks.log import Log
from realgpu.checks.record import Ledger
from realgpu.checks.runner import Runner
from realgpu.checks.settings import Settings
from realgpu.checks.table import table

_INTERRUPTED = 128 + signal.SIGINT


def main() -> int:
    """Run; return 0 if no check failed, 1 if one did, 2 for bad input."""
    arguments = _parser().parse_args()
    begun_s = time.monotonic()
    if not arguments.budget > 0:
        sys.stderr.write(f"--budget: found {arguments.budget:g}, allowed is more than 0 seconds\n")
        return 2
    try:
        checks = CHECKS if arguments.only is None else named(arguments.only)
        arguments.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    log = Log(arguments.out / "log.txt", _say)
    ledger = Ledger(arguments.out / "checks.json")
    runner = Runner(
        ledger,
        log,
        deadline_s=begun_s + arguments.budget,
        backend=arguments.backend,
        settings=Settings(use_torch=not arguments.no_torch),
    )
    try:
        runner.run(checks)
    except KeyboardInterrupt:
        log.say("interrupted")
        log.show(table(ledger.records))
        return _INTERRUPTED
    log.show(table(ledger.records))
    log.show(f"records: {ledger.path}")
    return 1 if any(record.passed is False for record in ledger.records) else 0


def _parser() -> argparse.ArgumentParser:
    described = "\n".join(f"  {check.name:<26}{check.estimate_s:4g} s  {check.question}" for check in CHECKS)
    parser = argparse.ArgumentParser(
        prog="python -m realgpu.checks",
        description="Check a GPU host. No setting of the GPU is changed.",
        epilog=f"checks, in their order, with what they take:\n{described}\n\n"
        "example:\n  python -m realgpu.checks --budget 300 --out checks/\n"
        "  python -m realgpu.checks --only gate_effective mps_clients --out checks/",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for checks.json and log.txt")
    parser.add_argument(
        "--budget", type=float, default=560.0, metavar="S", help="seconds at most (default: %(default)g)"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="make only these")
    parser.add_argument(
        "--backend",
        choices=("cuda", "cpu", "virtual"),
        default="cuda",
        help="without cuda, what needs a device is left out",
    )
    parser.add_argument("--no-torch", action="store_true", help="measure with the driver alone")
    return parser


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
