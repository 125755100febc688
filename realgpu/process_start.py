"""When a process was started, by which it is told from a later one of the same id."""

from __future__ import annotations

from pathlib import Path


def started_at(pid: int) -> int | None:
    """Return it in clock ticks since boot; `None` if the process has ended or /proc is not there."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = status.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])
