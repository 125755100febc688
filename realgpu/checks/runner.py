"""Checks one after the other, each in a process of its own, until they are done or the budget is spent."""

from __future__ import annotations

import json
import os
import select
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from realgpu.checks.listing import Check
from realgpu.checks.log import Log
from realgpu.checks.processes import MARK, Limited, end_left_behind, scratch_folder
from realgpu.checks.record import CheckRecord, Ledger, in_one_line
from realgpu.checks.settings import Settings
from realgpu.checks.subject import python_environment
from realgpu.mps.control import CONTROL_BINARY

NOTHING_LEFT: Final = "nothing_left"
"""Name of the last record: whether all that was started has ended."""

_SKIPPED: Final = "skipped: "
_WANTS: Final = "wants"
NO_TIME: Final = _SKIPPED + _WANTS
"""How the reason begins of a check that there was no time for."""

_ENDS_WITHIN_S: Final = 15.0
_CLOSING_S: Final = 3.0
"""Between a check's last word and its end."""

_SETTLE_S: Final = 0.5
_READ_BYTES: Final = 65536
_CACHES: Final = {
    "DILU_GATE_CACHE": "gate",
    "CUDA_CACHE_PATH": "driver",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
}
"""Where the gate, the driver, torch and Triton keep what they compile."""


class Runner:
    """Makes checks, and keeps a record of each as soon as it has ended.

    Parameters
    ----------
    backend
        Where it is not `cuda`, checks that need a device are not made.
    deadline_s
        On `time.monotonic`. A check that wants more than is left is not begun, and one that runs is ended
        then, which takes 12 s at most.
    mark
        By which everything that was started is found again.
    """

    def __init__(
        self,
        ledger: Ledger,
        log: Log,
        *,
        deadline_s: float,
        backend: str = "cuda",
        settings: Settings,
        mark: str | None = None,
    ) -> None:
        self._ledger = ledger
        self._log = log
        self._deadline_s = deadline_s
        self._backend = backend
        self._settings = settings
        self._mark = mark or uuid.uuid4().hex

    def run(self, checks: Sequence[Check]) -> None:
        """Make the checks in turn.

        Raises
        ------
        KeyboardInterrupt
            After the check that ran has been ended, and everything recorded.
        """
        waiting = list(checks)
        interrupted = False
        try:
            with scratch_folder("dilu-checks-") as scratch:
                while waiting:
                    self._add(self._made(waiting.pop(0), scratch))
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            if interrupted:
                for check in waiting:
                    self._add(_skipped(check, "interrupted before"))
            self._add(self._nothing_left())

    def _add(self, record: CheckRecord) -> None:
        self._ledger.add(record)
        self._log.say(spoken(record))

    def _made(self, check: Check, scratch: Path) -> CheckRecord:
        """Make a check, unless there is no device, or not time enough."""
        left_s = self._deadline_s - time.monotonic()
        if check.needs_device and self._backend != "cuda":
            return _skipped(check, f"backend {self._backend}: there is no device to look at")
        if left_s < check.estimate_s:
            return _skipped(
                check, f"{_WANTS} about {check.estimate_s:g} s, {max(0.0, left_s):.0f} s are left"
            )
        return self._watched(check, scratch, min(check.limit_s, left_s))

    def _watched(self, check: Check, scratch: Path, limit_s: float) -> CheckRecord:
        """Run the process of a check, and take down what it finds."""
        output = scratch / f"{check.name}.out"
        ours, theirs = os.pipe()
        begun_s = time.monotonic()
        found: dict[str, Any] = {}
        try:
            try:
                process = Limited(
                    [
                        sys.executable,
                        "-P",
                        "-m",
                        "realgpu.checks.child",
                        check.module,
                        check.name,
                        json.dumps(self._settings.as_json()),
                        str(theirs),
                    ],
                    environment=self._environment(scratch),
                    output=output,
                    descriptors=[theirs],
                )
            finally:
                os.close(theirs)
            ending: dict[str, Any] | None = None
            late = False
            try:
                ending = _listen(ours, found, begun_s + limit_s)
                late = process.wait(_CLOSING_S if ending is not None else _SETTLE_S) is None
            except KeyboardInterrupt:
                process.end()
                self._add(_record(check, False, begun_s, found, "interrupted"))
                raise
            finally:
                status = process.end()
                last_line = self._log.keep(output)
        finally:
            os.close(ours)
        if ending is not None:
            return _record(check, ending["passed"], begun_s, found, ending["reason"])
        if late:
            return _record(check, False, begun_s, found, f"not done within {limit_s:.0f} s")
        return _record(check, False, begun_s, found, f"its process ended ({status}): {last_line}")

    def _environment(self, scratch: Path) -> dict[str, str]:
        """Return the environment of checks: what they compile goes with the folder, nothing is fetched."""
        caches = {name: str(scratch / folder) for name, folder in _CACHES.items()}
        environment = {**caches, **os.environ, MARK: self._mark, "HF_HUB_OFFLINE": "1"}
        further = mps_folder(self._ledger.records)
        if further is not None:
            environment["PATH"] = f"{environment.get('PATH', os.defpath)}:{further}"
        return python_environment(environment)

    def _nothing_left(self) -> CheckRecord:
        begun_s = time.monotonic()
        left = end_left_behind(self._mark, _ENDS_WITHIN_S)
        reason = f"processes {', '.join(map(str, left))} had to be ended" if left else None
        return CheckRecord(NOTHING_LEFT, not left, time.monotonic() - begun_s, {"left": left}, reason)


def _listen(descriptor: int, found: dict[str, Any], deadline_s: float) -> dict[str, Any] | None:
    """Take down findings until the last word, which is returned; `None` if it does not come."""
    unread = b""
    while True:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
            return None
        read = os.read(descriptor, _READ_BYTES)
        if not read:
            return None
        *lines, unread = (unread + read).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "found" not in message:
                return dict(message)
            found.update(message["found"])


def _record(
    check: Check, passed: bool | None, begun_s: float, found: dict[str, Any], reason: str | None
) -> CheckRecord:
    short = None if reason is None else in_one_line(reason)
    return CheckRecord(check.name, passed, time.monotonic() - begun_s, found, short)


def _skipped(check: Check, reason: str) -> CheckRecord:
    return CheckRecord(check.name, None, 0.0, {}, _SKIPPED + reason)


def mps_folder(records: Sequence[CheckRecord]) -> str | None:
    """Return where the inventory found the binaries of MPS, if they are not on the path."""
    for record in records:
        if record.name == "inventory" and not record.found.get("mps", {}).get("control_path"):
            files = map(Path, record.found.get("mps_files", {}).get("found", ()))
            return next((str(path.parent) for path in files if path.name == CONTROL_BINARY), None)
    return None


def spoken(record: CheckRecord) -> str:
    """Return a record in one line."""
    word = {True: "passed", False: "FAILED", None: "not done"}[record.passed]
    more = record.reason or record.found.get("headline")
    return f"{record.name}: {word} ({record.seconds:.1f} s)" + (f": {more}" if more else "")
