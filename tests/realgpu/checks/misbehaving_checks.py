"""Checks that do what a check must not be able to harm others with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from realgpu.checks.record import Findings, Skipped
from realgpu.checks.settings import Settings
from realgpu.checks.subject import Subject


def finds_nothing_wrong(findings: Findings, settings: Settings) -> list[str]:
    """Pass."""
    findings.note("numbers", [1.5, float("nan"), {"x"}])
    findings.note("headline", "all is well")
    return []


def finds_faults(findings: Findings, settings: Settings) -> list[str]:
    """Fail for two reasons."""
    return ["one thing", "another\nthing"]


def raises(findings: Findings, settings: Settings) -> list[str]:
    """Fail by its own fault."""
    findings.note("before", 1)
    raise ZeroDivisionError("in the check")


def is_skipped(findings: Findings, settings: Settings) -> list[str]:
    """Lack something."""
    raise Skipped("no such thing here")


def lacks_a_package(findings: Findings, settings: Settings) -> list[str]:
    """Import what is not there."""
    import no_such_package_anywhere  # noqa: F401

    return []


def hangs(findings: Findings, settings: Settings) -> list[str]:
    """Hang, with a subject that hangs as well, having seen something."""
    with Subject("subject"):
        findings.note("seen", "this much")
        time.sleep(1000)
    return []


def is_deaf(findings: Findings, settings: Settings) -> list[str]:
    """Hang, and ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)
    return []


def dies(findings: Findings, settings: Settings) -> list[str]:
    """Be killed, with last words."""
    findings.note("seen", 1)
    sys.stderr.write("about to die\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def prints(findings: Findings, settings: Settings) -> list[str]:
    """Print a megabyte."""
    for _ in range(20_000):
        sys.stdout.write("words that somebody's library thinks worth saying\n")
    return []


def leaves_a_process(findings: Findings, settings: Settings) -> list[str]:
    """Leave a process in a session of its own."""
    left = subprocess.Popen(["sleep", "1000"], start_new_session=True, stdout=subprocess.DEVNULL)
    findings.note("pid", left.pid)
    left.returncode = 0  # or the interpreter complains of it at the end
    return []
