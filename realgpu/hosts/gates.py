"""The launch gates of a run: one slot a seat, built where there is a compiler, read when the run is over."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from realgpu.gate import GateFile, Mode, build_gate, gate_environment, remove_stale

_COUNTERS: Final = (
    "launches",
    "graph_launches",
    "spent",
    "blocked",
    "stall_ns",
    "deadline_opens",
    "stale_opens",
)


class Gates:
    """The library and the file of all gates. A context manager that removes the file.

    Raises
    ------
    GateError
        If the library cannot be built, or the file not be made.
    """

    def __init__(self, seats: int) -> None:
        remove_stale()
        self.shim: Path = build_gate()
        self.file = GateFile.create(seats)
        self._used: set[int] = set()

    def environment(self, row: int, base: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a worker whose launches are counted, and not held up yet."""
        self._used.add(row)
        slot = self.file.slots[row]
        slot.set_rate(None, 0.0)
        slot.set_mode(Mode.COUNT)
        return gate_environment(self.shim, self.file.path, row, base=base)

    def open(self) -> None:
        """Let everybody pass, and wake whoever waits. The mode says so: a controller writes rates alone."""
        for row in self._used:
            self.file.slots[row].set_mode(Mode.OFF)
        self.file.announce()

    def record(self) -> dict[str, Any]:
        """Return what a manifest keeps, as JSON: counters are of a seat, whoever sat there."""
        return {
            "library": self.shim.name,
            "sha256": hashlib.sha256(self.shim.read_bytes()).hexdigest(),
            "file": self.file.note,
            "seats": [
                {"seat": row, **{name: self.file.slots[row].read(name) for name in _COUNTERS}}
                for row in sorted(self._used)
            ],
        }

    def notes(self) -> list[str]:
        """Say whether gates opened for another reason than tokens."""
        opens = {
            "a launch had waited too long": sum(self._counted("deadline_opens")),
            "the controller's heartbeat was stale": sum(self._counted("stale_opens")),
        }
        return [
            f"gates starved: {count} launches passed without tokens since {why}"
            for why, count in opens.items()
            if count
        ]

    def close(self) -> None:
        """Unmap the file and remove it. May be called again."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _counted(self, field: str) -> list[int]:
        return [self.file.slots[row].read(field) for row in self._used]
