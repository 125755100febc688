"""What the checks of the launch gate share: a subject under it, and its slot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from realgpu.checks.settings import Settings
from realgpu.checks.subject import Subject
from realgpu.gate import GateFile, Slot, build_gate, gate_environment

BEGIN_WITHIN_S: Final = 60.0
"""A process makes its context, or imports torch, within so long: assumed, generous for a cold disk."""

TASK_WITHIN_S: Final = 40.0

_COUNTERS: Final = (
    "launches",
    "spent",
    "graph_launches",
    "captured_launches",
    "captured_cost",
    "blocked",
    "stall_ns",
    "deadline_opens",
    "stale_opens",
)


@dataclass(frozen=True, slots=True)
class Gated:
    """A subject whose launches pass the gate, open at first, and the slot that they are charged to."""

    subject: Subject
    file: GateFile
    slot: Slot

    def counters(self) -> dict[str, int]:
        """Return what the gate has counted so far."""
        return {name: self.slot.read(name) for name in _COUNTERS}

    def since(self, before: dict[str, int]) -> dict[str, int]:
        """Return what it has counted since."""
        return {name: now - before[name] for name, now in self.counters().items()}

    def set_rate(self, rate: float | None, burst: float) -> None:
        """Set the rate, and wake whoever waits."""
        self.slot.set_rate(rate, burst)
        self.file.announce()

    def cuda_libraries(self) -> list[str]:
        """Return what of CUDA the subject has loaded, and the gate: to find out what it missed."""
        try:
            lines = Path(f"/proc/{self.subject.pid}/maps").read_text().splitlines()
        except OSError:
            return []
        paths = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}
        return sorted(path for path in paths if "libcuda" in path or "gate-" in path)


@contextmanager
def gated(label: str) -> Iterator[Gated]:
    """Start a subject under the gate; nothing of it is left afterwards.

    Raises
    ------
    GateError
        If the gate cannot be built, or its file not be made.
    """
    library = build_gate()
    with GateFile.create(1) as file:
        file.unsupervised()
        with Subject(label, gate_environment(library, file.path, 0)) as subject:
            yield Gated(subject, file, file.slots[0])


def benches(settings: Settings) -> tuple[str, ...]:
    """Return what a subject is to be asked to work with, the surest first."""
    return ("driver", "torch") if settings.use_torch else ("driver",)


def begin(subject: Subject, bench: str) -> None:
    """Have a subject make its context.

    Raises
    ------
    Skipped
        If there is no driver, or no torch that finds a device.
    """
    subject.ask(bench, "begin" if bench == "driver" else "make_context", BEGIN_WITHIN_S)
