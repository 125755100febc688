"""The process that calibrates in a first run: `python -m realgpu.checks.campaign CONFIG`.

It stands between the run and `realgpu.calibration`, whose packages a bare host may not have.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final

from realgpu.calibration import calibrate
from realgpu.errors import RealGpuError

MODELS: Final = (
    "bert-base:serve",
    "roberta-large:serve",
    "resnet152:train",
    "llama2-7b:serve",
    "vgg19:train",
)
"""By their value: those of the co-location after it first. Few, so that each has time enough."""

REPORT: Final = "report.txt"


def main() -> int:
    """Calibrate as told; where it is interrupted, make of it what there is."""
    config = json.loads(sys.argv[1])
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        try:
            _calibrate(config, config["budget_s"])
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            _say("interrupted; a catalog of what there is")
            _calibrate(config, 0.0)
    except RealGpuError as error:
        _say(str(error))
        return 1
    return 0


def _calibrate(config: dict[str, Any], budget_s: float) -> None:
    """Calibrate, and write the report beside the catalog."""
    folder = Path(config["folder"])
    report = calibrate(
        config["backend"],
        config["models"] or MODELS,
        out=folder / "catalog",
        budget_s=budget_s,
        share_by=config["share_by"],
        seed=config["seed"],
        progress=lambda what, part: _say(f"{part:4.0%} {what}"),
    )
    text = "\n".join(report.lines())
    (folder / REPORT).write_text(text + "\n", encoding="utf-8")
    _say(f"{report.new_points} points in {report.seconds:.0f} s")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
