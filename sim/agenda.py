"""The clock: SimPy's environment, with a light agenda for the events that come by the million.

Long-lived actors (a launch, a training job, a late deployment) are SimPy processes. A batch that ends, a
batch that closes, a vertical tick and a scaling poll are not: each is a pair `(time_s, code)` on a heap of
its own that this environment merges with SimPy's queue. Such a pair costs a third of a bare SimPy event,
and it carries nothing that could keep a cancelled event alive. The code says what happens and to whom, and
ranks the events of one instant: whatever the order in which they were put there, batches end before others
close, and both before a tick looks at the GPU. SimPy's actors come last.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop
from typing import Final

import simpy

INF: Final = float("inf")

_RANK_BITS: Final = 40
_INDEX_MASK: Final = (1 << _RANK_BITS) - 1

COMPLETE: Final = 0
"""`COMPLETE + instance`: the batch of an instance may have ended."""
JOB: Final = 1 << _RANK_BITS
"""`JOB + instance`: a training instance may have done its iterations."""
CLOSE: Final = 2 << _RANK_BITS
"""`CLOSE + function`: the next batch of a function closes."""
IDLE: Final = 3 << _RANK_BITS
"""`IDLE + gpu`: a resident of a GPU may have been idle for the activity window."""
TICK: Final = 4 << _RANK_BITS
"""`TICK + gpu`: the vertical policy decides on a GPU."""
POLL: Final = 5 << _RANK_BITS
"""`POLL + function`: the horizontal policy decides on a function."""
KINDS: Final = ("batch end", "training end", "batch close", "idle check", "vertical tick", "scaling poll")

BLOCK: Final = 16_384
"""Events between two looks at progress."""
STALL_BLOCKS: Final = 16
"""A world whose clock stands still for so many blocks does not progress."""

Handler = Callable[[int, float], None]


class StalledError(RuntimeError):
    """The world makes no progress: events without end at one instant."""


class ClusterEnvironment(simpy.Environment):
    """A SimPy environment that also works off `agenda`, a heap of `(time_s, code)`."""

    def __init__(self) -> None:
        super().__init__()
        self.agenda: list[tuple[float, int]] = [(INF, 0)]

    def run_until(
        self, until_s: float, handlers: tuple[Handler, ...], after_block: Callable[[float], None]
    ) -> int:
        """Work off all events before `until_s` and return how many there were.

        `handlers[rank]` is called with the index and the time of an agenda event; `after_block` with the
        time, now and then.

        Raises
        ------
        StalledError
            If `STALL_BLOCKS * BLOCK` events in a row happen at one instant.
        """
        agenda, queue = self.agenda, self._queue
        complete = handlers[0]
        self.timeout(until_s - self.now)  # so that SimPy's queue never runs empty before the end
        events = 0
        still_since_s, still_blocks = self.now, 0
        while True:
            actor_s = queue[0][0]
            for _ in range(BLOCK):
                time_s = agenda[0][0]
                if time_s <= actor_s:
                    if time_s >= until_s:
                        self._now = until_s
                        return events
                    time_s, code = heappop(agenda)
                    self._now = time_s
                    if code < JOB:
                        complete(code, time_s)  # starts no actor
                    else:
                        handlers[code >> _RANK_BITS](code & _INDEX_MASK, time_s)
                        actor_s = queue[0][0]
                elif actor_s >= until_s:
                    self._now = until_s
                    return events
                else:
                    self.step()
                    actor_s = queue[0][0]
                events += 1
            if self._now > still_since_s:
                still_since_s, still_blocks = self._now, 0
            else:
                still_blocks += 1
                if still_blocks >= STALL_BLOCKS:
                    raise StalledError(
                        f"no progress: {still_blocks * BLOCK} events at {self._now} s; "
                        f"the next is {self._next()}"
                    )
            after_block(self._now)

    def _next(self) -> str:
        time_s, code = self.agenda[0]
        if time_s > self._queue[0][0]:
            return f"a SimPy {type(self._queue[0][3]).__name__}"
        return f"a {KINDS[code >> _RANK_BITS]} of number {code & _INDEX_MASK}"
