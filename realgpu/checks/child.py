"""The process of one check: `python -m realgpu.checks.child MODULE NAME SETTINGS FD` writes what it finds."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from types import FrameType

from realgpu.checks.driver import DriverError, NoDriverError
from realgpu.checks.listing import body_of
from realgpu.checks.record import Findings, Skipped, in_one_line
from realgpu.checks.settings import Settings
from realgpu.checks.subject import SubjectError
from realgpu.errors import RealGpuError
from realgpu.gate import GateError
from realgpu.mps import MpsError
from realgpu.parent_death import signal_at_parent_death

_TERMINATED = 128 + signal.SIGTERM
_SAID_IN_A_LINE = (DriverError, GateError, MpsError, RealGpuError, SubjectError)


def main() -> int:
    """Make one check, and say how it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it decides
    signal.signal(signal.SIGTERM, _leave)
    signal_at_parent_death(signal.SIGTERM, os.getppid())
    module, name, settings, descriptor = sys.argv[1:]
    findings = Findings(int(descriptor))
    passed, reason = _made(module, name, findings, Settings.from_json(json.loads(settings)))
    findings.conclude(passed, None if reason is None else in_one_line(reason))
    return 0


def _made(module: str, name: str, findings: Findings, settings: Settings) -> tuple[bool | None, str | None]:
    """Make a check; return whether it passed, and what there is to say."""
    try:
        faults = body_of(module, name)(findings, settings)
    except (Skipped, NoDriverError) as error:
        return None, str(error)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "realgpu":
            raise
        return None, f"needs the package {error.name}"
    except _SAID_IN_A_LINE as error:
        return False, str(error)
    except Exception as error:  # the others are to be made whatever went wrong here
        traceback.print_exc()
        return False, f"{type(error).__name__}: {error}"
    return not faults, "; ".join(faults) or None


def _leave(number: int, frame: FrameType | None) -> None:
    """End by way of every `finally`: subjects and daemons are ended there."""
    sys.exit(_TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
