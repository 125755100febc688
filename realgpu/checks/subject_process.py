"""The process of a `Subject`: `python -m realgpu.checks.subject_process FD` answers on FD.

What it is to do comes on standard input, a line of JSON each time.

The driver and torch are loaded at the first thing that needs them, so that how long that takes can be told.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

from realgpu.checks.driver import DriverError, NoDriverError
from realgpu.checks.driver_work import DriverBench
from realgpu.checks.record import Skipped, in_one_line, plain
from realgpu.checks.torch_work import TorchBench
from realgpu.parent_death import signal_at_parent_death


def main() -> int:
    """Answer until standard input ends."""
    signal_at_parent_death(signal.SIGKILL, os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it decides
    descriptor = int(sys.argv[1])
    benches: dict[str, Any] = {"driver": DriverBench(), "torch": TorchBench()}
    while line := sys.stdin.readline():
        order = json.loads(line)
        answer = plain(_answer(benches[order["bench"]], order["task"], order["arguments"]))
        text = (json.dumps(answer, allow_nan=False) + "\n").encode()
        while text:
            text = text[os.write(descriptor, text) :]
    return 0


def _answer(bench: Any, task: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Do a task, and return what to answer."""
    try:
        return {"found": getattr(bench, task)(**arguments)}
    except (Skipped, NoDriverError) as error:
        return {"skipped": in_one_line(str(error))}
    except DriverError as error:
        return {"failed": str(error), "code": error.code}
    except Exception as error:  # whatever a library raises, whoever asked is to hear of it
        traceback.print_exc()
        return {"failed": in_one_line(f"{type(error).__name__}: {error}")}


if __name__ == "__main__":
    sys.exit(main())
