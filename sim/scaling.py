"""The scaling loop: asks the horizontal policy once a second, unless the policy said when it is worth asking.

Polls that the policy has declared needless are skipped by looking for the next second whose rate matters.
That looks at arrivals the policy has not seen, but shows it none: a poll that is skipped would have decided
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from heapq import heappush

import numpy as np

from policies import Action, Controller, Refused
from sim.agenda import POLL
from sim.functions import ServedFunction
from sim.gpu import INF, Agenda, Resident

FIRST_LOOK_S = 64
"""Seconds of rates looked at first when seeking the next one that matters; doubled until found."""


class ScalingLoop:
    """Polls of all functions, on whole seconds."""

    def __init__(
        self,
        controller: Controller,
        functions: Sequence[ServedFunction | None],
        agenda: Agenda,
        duration_s: float,
        *,
        carry_out: Callable[[tuple[Action, ...], float], None],
        want: Callable[[Resident, float, float], None],
        every_second: bool,
    ) -> None:
        self._controller = controller
        self._functions = functions
        self._agenda = agenda
        self._duration_s = duration_s
        self._carry_out = carry_out
        self._want_of_resident = want
        self._every_second = every_second

    def start(self, function: ServedFunction, now_s: float) -> None:
        """Begin to poll a function that has just been deployed."""
        function.since_s = now_s
        self._poll_at(function, math.floor(now_s) + 1)

    def poll(self, index: int, now_s: float) -> None:
        """Let the policy decide on a function, and find out when to ask next."""
        function = self._functions[index]
        if function is None or now_s != function.polled_at_s:
            return
        function.now_s = now_s
        idle = [(instance.idle_since_s, instance.index) for instance in function.idle]
        poll = self._controller.poll(index, function, idle)
        function.memory = poll.memory
        if poll.share is not None:
            self._want(function, poll.share, now_s)
        if poll.actions:
            if not all(isinstance(action, Refused) for action in poll.actions):
                function.since_s = now_s  # a refused launch was no action: the window stays
            self._carry_out(poll.actions, now_s)
        second = int(now_s)
        if self._every_second:
            self._poll_at(function, second + 1)
        else:
            self._poll_at(function, self._next_poll(function, second, poll.above, poll.below, poll.until_s))

    def _want(self, function: ServedFunction, share: float, now_s: float) -> None:
        """Pass on what share each instance of a function should use; later ones learn it when they come."""
        function.share = share
        for instance in function.instances:
            for resident in instance.residents:
                self._want_of_resident(resident, share, now_s)

    def _poll_at(self, function: ServedFunction, second: float) -> None:
        function.polled_at_s = float(second)
        if second < self._duration_s:
            heappush(self._agenda, (function.polled_at_s, POLL + function.index))

    def _next_poll(
        self, function: ServedFunction, second: int, above: float, below: float, until_s: float
    ) -> float:
        """End of the next second whose rate is above or below; at the latest the first from `until_s` on."""
        end = math.ceil(min(self._duration_s, max(until_s, second + 1)))
        look_s = FIRST_LOOK_S
        while second < end:
            last = min(second + look_s, end)
            counts = function.counts(second, last)
            matters = np.flatnonzero((counts > above) | (counts < below))
            if len(matters):
                return second + int(matters[0]) + 1
            second, look_s = last, look_s * 2
        return float(end) if until_s < INF else INF
