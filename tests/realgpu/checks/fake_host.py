"""A host that poses as one with a GPU: a fake driver, a fake MPS, and what is left behind by checks on it."""

from __future__ import annotations

import importlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from realgpu.checks import Check, CheckRecord, Ledger, Log, Runner, Settings, named
from realgpu.checks.record import Findings, plain

QUICK = Settings(
    use_torch=False, measure_s=0.003, busy_s=0.15, small_launches=100, rounds=1, search_s=0.05, scale="small"
)
"""Long enough to tell that something is measured."""

PATIENCE_S = 60.0


class Notes(Findings):
    """Findings that are kept here."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found

    def note(self, name: str, value: Any) -> None:
        """Keep one as it would be read."""
        self.found[name] = json.loads(json.dumps(plain(value)))


@dataclass
class FakeHost:
    """Where checks are made, and what of the run is kept."""

    out: Path

    def make(
        self,
        *checks: str | Check,
        settings: Settings = QUICK,
        budget_s: float = 2000.0,
        backend: str = "cuda",
    ) -> dict[str, CheckRecord]:
        """Make checks, by their names or as they are, and return the records."""
        wanted = [one for check in checks for one in (named([check]) if isinstance(check, str) else [check])]
        ledger = Ledger(self.out / "checks.json")
        log = Log(self.out / "log.txt", lambda text: None)
        deadline_s = time.monotonic() + budget_s
        Runner(ledger, log, deadline_s=deadline_s, backend=backend, settings=settings).run(wanted)
        return {record.name: record for record in ledger.records}

    def look(self, check: str, settings: Settings = QUICK) -> tuple[dict[str, Any], list[str]]:
        """Make a check in this process; return what it finds, and what is wrong."""
        found: dict[str, Any] = {}
        module = importlib.import_module(named([check])[0].module)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "need_driver", lambda: None)  # only what this process starts can load it
            if hasattr(module, "supervised"):
                patch.setattr("realgpu.checks.mps_checks.need_driver", lambda: None)
            faults = getattr(module, check)(Notes(found), settings)
        return found, faults

    @property
    def log(self) -> str:
        """What the log holds."""
        return (self.out / "log.txt").read_text()


def leftovers() -> list[str]:
    """Return files that this process has made for checks, and that must be gone."""
    found = [*Path("/dev/shm").glob("dilu-*"), *Path("/tmp").glob("dilu-checks-*")]
    return [str(path) for path in found if f"-{os.getpid()}-" in path.name]
