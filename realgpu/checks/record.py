"""What is kept of a check: one record, JSON-able, and what it found even where it did not come to its end."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


class Skipped(RuntimeError):  # noqa: N818 -- it is no error
    """A check cannot be made here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """The outcome of a check.

    Attributes
    ----------
    passed
        `None`: it was not made, or could not be.
    found
        What it saw, by name; after a time-out what it had seen until then.
    reason
        In one line what is wrong, or why it was not made; `None` where it passed.
    """

    name: str
    passed: bool | None
    seconds: float
    found: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the record for a file."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


class Findings:
    """How a check says what it sees: each finding is written at once, so that none is lost.

    Parameters
    ----------
    descriptor
        Where lines of JSON go.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def note(self, name: str, value: Any) -> None:
        """Add a finding; one of the same name is replaced."""
        self._say({"found": {name: value}})

    def conclude(self, passed: bool | None, reason: str | None) -> None:
        """Say how it ended."""
        self._say({"passed": passed, "reason": reason})

    def _say(self, message: Mapping[str, Any]) -> None:
        line = (json.dumps(plain(message), allow_nan=False) + "\n").encode()
        while line:
            line = line[os.write(self._descriptor, line) :]


class Ledger:
    """The records so far, in a file that is whole at every moment.

    Parameters
    ----------
    path
        A file of JSON: a list of records.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[CheckRecord] = []

    def add(self, record: CheckRecord) -> None:
        """Add a record, in place of one that says that this check was not made, and write all."""
        kept = [one for one in self.records if one.name != record.name or one.passed is not None]
        self.records = [*kept, record]
        write_json(self.path, [one.as_json() for one in self.records])


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: numbers that are none become null, what is foreign its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def write_json(path: Path, value: Any) -> None:
    """Write a file beside, and put it in its place."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(plain(value), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    beside.replace(path)


def in_one_line(text: str, longest: int = 400) -> str:
    """Return a text without line ends, cut to a length."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 3] + "..."
