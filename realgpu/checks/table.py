"""What came of it, as tables for the person who ran it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from realgpu.checks.record import CheckRecord

_WORDS: Final = {True: "passed", False: "FAILED", None: "not done"}
_TEXT_WIDTH: Final = 66


@dataclass
class Stage:
    """A part of the run, and what became of it."""

    name: str
    outcome: str
    seconds: float
    note: str = ""


def table(records: Sequence[CheckRecord]) -> str:
    """Return a line a check, its reason or the most telling of what it found beside it."""
    width = max([len("check"), *(len(record.name) for record in records)])
    lines = [f"{'check':<{width}}  {'':<8}  {'s':>6}  what"]
    lines.append("-" * (width + 20 + _TEXT_WIDTH))
    for record in records:
        text = record.reason or str(record.found.get("headline", ""))
        first, *more = textwrap.wrap(text, _TEXT_WIDTH) or [""]
        lines.append(f"{record.name:<{width}}  {_WORDS[record.passed]:<8}  {record.seconds:6.1f}  {first}")
        lines += [f"{'':<{width + 20}}{line}" for line in more]
    counts = [sum(1 for record in records if record.passed is passed) for passed in (True, False, None)]
    lines.append(f"{counts[0]} passed, {counts[1]} failed, {counts[2]} not done")
    return "\n".join(line.rstrip() for line in lines)


def stage_table(stages: Sequence[Stage]) -> str:
    """Return a line a part of a run."""
    lines = [f"{'part':<14}{'':<13}{'s':>6}  what", "-" * 100]
    lines += [f"{one.name:<14}{one.outcome:<13}{one.seconds:6.1f}  {one.note}" for one in stages]
    return "\n".join(line.rstrip() for line in lines)


def colocation_table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a line a system: what was served in time, and what was trained beside it."""
    lines = [f"{'system':<16}{'requests':>9}{'p95 ms':>9}{'late':>8}{'steps/s':>9}", "-" * 51]
    for name, summary in summaries.items():
        p95_s, late = summary["latency_s"]["p95"], summary["slo_violation_rate"]
        steps = (summary.get("training") or {}).get("steps_per_s")
        cells = (
            f"{summary['completed']:>9}",
            f"{1e3 * p95_s:9.1f}" if p95_s is not None else f"{'':9}",
            f"{late:8.1%}" if late is not None else f"{'':8}",
            f"{steps:9.2f}" if steps is not None else f"{'':9}",
        )
        lines.append(f"{name:<16}{''.join(cells)}".rstrip())
    return "\n".join(lines)
