"""What the real world says of a run beside its tables: how punctual it was, and how workers started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies import Size
from policies.outcome import Outcome
from realgpu.control.messages import ControlReport
from realgpu.hosting import Host


@dataclass
class RunReport:
    """Collected while a run goes on.

    Attributes
    ----------
    events
        Reports of workers, and everything that was due.
    late_s
        For each batch, how long after it was due it was sent: after it closed and an instance was free.
    start_ups
        For each instance, what it took to start its worker, and what that found out about its device.
    """

    backend: str
    events: int = 0
    refused: int = 0
    late_s: list[float] = field(default_factory=list)
    start_ups: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def start_up(self, instance: int, function: str, loaded: Mapping[str, Any]) -> None:
        """Take note of what a worker said when it was ready."""
        self.start_ups[instance] = {"instance": instance, "function": function, **loaded}

    def outcome(
        self,
        simulated_s: float,
        sizes: tuple[Size, ...],
        control: ControlReport,
        host: Host,
        *,
        ticks: bool,
    ) -> Outcome:
        """Return it as the world's outcome; `ticks` says whether the vertical policy has any.

        The host concludes the run: all workers have ended.
        """
        start_ups = [self.start_ups[instance] for instance in sorted(self.start_ups)]
        concluded = host.conclude(start_ups)
        sent = _spread(np.array(self.late_s))
        tick_late = _spread(control.ticks["lateness_ns"] / 1e9)
        tick_took = _spread(control.ticks["duration_ns"] / 1e9)
        notes = [] if concluded is None else list(concluded.notes)
        if self.late_s:
            notes.append(f"batches were sent {_ms(sent)} after they were due")
        if ticks:
            notes.append(
                f"{control.ticks_done} ticks began {_ms(tick_late)} after they were due and took "
                f"{_ms(tick_took)}; {control.ticks_missed} were missed"
            )
        further: dict[str, Any] = {
            "backend": self.backend,
            "send_lateness_s": sent,
            "tick_lateness_s": tick_late,
            "tick_duration_s": tick_took,
            "ticks": control.ticks_done,
            "ticks_missed": control.ticks_missed,
            "controller_priority": control.priority,
            "start_ups": start_ups,
        }
        if concluded is not None:
            further["host"] = concluded.record
        return Outcome(simulated_s, self.events, self.refused, sizes, tuple(notes), further)


def _spread(values: NDArray[np.float64] | Sequence[float]) -> Mapping[str, float] | None:
    """Return median, 99th percentile and largest of what there is."""
    if not len(values):
        return None
    p50, p99, most = np.quantile(values, [0.5, 0.99, 1.0]).tolist()
    return {"p50": p50, "p99": p99, "max": most}


def _ms(spread: Mapping[str, float] | None) -> str:
    """Return it in words."""
    if spread is None:
        return "(never)"
    return f"{spread['p50'] * 1e3:.3f} ms (median), {spread['p99'] * 1e3:.3f} ms (p99)"
