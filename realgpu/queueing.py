"""How a function's requests become batches: when the next batch closes, and which instance takes it.

The rules are those of the routing policy; the simulated world has the same order of questions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from policies.slots import RoutingPolicy, Weighs
from realgpu.served import INF, ServedFunction, ServedInstance

RETRY_S = 1.0
"""How often a launch that was refused is tried again for a function without any instance."""


class Queueing:
    """Queues of all functions.

    Parameters
    ----------
    send
        Sends a batch to an instance: the instance, first request, their number, and how long it was due.
    drop
        Gives up requests: the function, the first, their number, the time.
    activate
        Launches a first instance, and returns whether a GPU could take it.
    """

    def __init__(
        self,
        routing: RoutingPolicy,
        *,
        send: Callable[[ServedInstance, int, int, float], None],
        drop: Callable[[ServedFunction, int, int, float], None],
        activate: Callable[[ServedFunction, float], bool],
    ) -> None:
        self._routing = routing
        self._weighs = routing if isinstance(routing, Weighs) else None
        self._send = send
        self._drop_requests = drop
        self._activate = activate

    @property
    def weighs(self) -> bool:
        """The routing policy divides batches unevenly."""
        return self._weighs is not None

    def join(self, instance: ServedInstance, now_s: float) -> None:
        """Take a ready instance into service."""
        function = instance.function
        instance.idle_since_s = now_s
        if function.rule_until_s == -INF:
            self._ask_for_rule(function, now_s)
        function.idle.append(instance)
        self.arm(function, now_s)

    def note(self, function: ServedFunction, first: int, count: int, end_s: float) -> None:
        """Take note of the latencies of a batch that ended, if the routing policy asks for them."""
        if self._routing.adapts:
            function.note_latencies(first, count, end_s)

    def done(self, instance: ServedInstance, end_s: float, now_s: float) -> None:
        """Give an instance whose batch ended at `end_s` the next one if that is due; else it rests."""
        function = instance.function
        instance.idle_since_s = end_s
        count = 0
        if function.oldest_s <= now_s:
            count = self._take(function, now_s) if function.uniform else self._take_next(instance, now_s)
        if count:
            self._begin(instance, count, now_s)
        else:
            function.idle.append(instance)
        self.arm(function, now_s)

    def arm(self, function: ServedFunction, now_s: float) -> None:
        """Work out when to look at a function's queue again."""
        function.due_s = self._next_close_s(function, now_s)

    def close(self, function: ServedFunction, now_s: float) -> None:
        """Close the batches of a function that are due, and give them to idle instances."""
        while function.idle:
            following = self._following(function, now_s)
            if following is None:
                break
            self._fit_rule(following, now_s)
            count = self._take(function, now_s)
            if not count:
                break
            function.idle.remove(following)
            self._begin(following, count, now_s)
        if not function.idle and not function.live and function.left:
            self._wake(function, now_s)
        self.arm(function, now_s)

    def _next_close_s(self, function: ServedFunction, now_s: float) -> float:
        oldest_s = function.oldest_s
        if oldest_s == INF:
            return INF
        if not function.idle:
            return INF if function.live else max(oldest_s, now_s, function.retry_s)
        following = self._following(function, now_s)
        if following is None:  # the next second may give the idle ones a part
            return max(oldest_s, function.rule_until_s)
        self._fit_rule(following, now_s)
        if self._routing.adapts and max(now_s, oldest_s) >= function.rule_until_s:
            if oldest_s > now_s:
                return oldest_s  # the rule of that second is not known yet
            self._ask_for_rule(function, now_s)
        return max(now_s, _closes_s(function))

    def _take(self, function: ServedFunction, now_s: float) -> int:
        """Size of the batch that closes now, or 0; requests past their time-out are dropped first."""
        if function.oldest_s > now_s:
            return 0
        if self._routing.adapts and now_s >= function.rule_until_s:
            self._ask_for_rule(function, now_s)
        if function.oldest_s + function.timeout_s < now_s:
            alive = int(np.searchsorted(function.arrivals, now_s - function.timeout_s))
            self._drop(function, min(alive, function.end), now_s)
            if function.oldest_s > now_s:
                return 0
        if _closes_s(function) > now_s:
            return 0
        function.now_s = now_s
        return min(function.waiting, function.max_batch)

    def _begin(self, instance: ServedInstance, count: int, now_s: float) -> None:
        function = instance.function
        due_s = max(instance.idle_since_s, _closes_s(function))
        first = function.cursor
        function.cursor += count
        if not function.uniform:
            instance.taken += count
        instance.running = (first, count, now_s)
        self._send(instance, first, count, max(0.0, now_s - due_s))

    def _drop(self, function: ServedFunction, until: int, now_s: float) -> None:
        if until > function.cursor:
            self._drop_requests(function, function.cursor, until - function.cursor, now_s)
            function.cursor = until

    def _wake(self, function: ServedFunction, now_s: float) -> None:
        """Launch a first instance for a function that has none; if none fits, drop what has arrived."""
        if function.oldest_s > now_s:
            return
        if not self._activate(function, now_s):
            function.now_s = now_s
            self._drop(function, function.arrived, now_s)
            function.retry_s = now_s + RETRY_S

    # ------------------------------------------------------------------------ who takes the next batch

    def _take_next(self, instance: ServedInstance, now_s: float) -> int:
        """Size of the batch that an instance may begin at once after another, or 0."""
        function = instance.function
        function.idle.append(instance)
        following = self._following(function, now_s)
        function.idle.pop()
        if following is not instance:
            return 0
        self._fit_rule(instance, now_s)
        return self._take(function, now_s)

    def _following(self, function: ServedFunction, now_s: float) -> ServedInstance | None:
        """The idle instance that takes the next batch; `None`: none of them."""
        idle = function.idle
        by_age = idle[-1] if self._routing.newest_idle_first else idle[0]
        if self._weighs is None:
            return by_age
        live = function.instances
        unknown = len(function.weights) != len(live) or live[-1].instance not in function.weights
        if now_s >= function.rule_until_s or unknown:
            self._ask_for_rule(function, now_s)
            self._weigh(function, self._weighs.weights(function))
        weights = function.weights
        weighed = [one for one in idle if weights.get(one.instance)]
        if weighed:
            return min(weighed, key=lambda one: (one.taken / weights[one.instance], one.instance))
        if any(weights.get(one.instance) and one.ready for one in live):
            return None  # the others have no part in the load; wait for those who have
        return by_age

    def _weigh(self, function: ServedFunction, rates: Sequence[float]) -> None:
        """Have these be the rates that the instances should get from now on.

        Those ahead of the others stay ahead: at rates of a few requests a second nobody else would ever get
        its part. Whoever had no rate so far is level with the last.
        """
        live, before = function.instances, function.weights
        had = [(one, rate) for one in live if (rate := before.get(one.instance))]
        level_s = min((one.taken / rate for one, rate in had), default=0.0)
        for one in live:
            rate = before.get(one.instance)
            one.taken = one.taken - level_s * rate if rate else 0.0
        function.weights = {one.instance: rate for one, rate in zip(live, rates, strict=True)}

    def _fit_rule(self, instance: ServedInstance, now_s: float) -> None:
        """Have the batching rule be that of the instance that takes the next batch."""
        function, size = instance.function, instance.launch.size
        if not function.uniform and function.fitted is not size:
            function.fitted = size
            function.batch, function.service_s = instance.batch, instance.service_s
            self._ask_for_rule(function, now_s)

    def _ask_for_rule(self, function: ServedFunction, now_s: float) -> None:
        """Ask the routing policy how batches close from now on."""
        function.now_s = now_s
        function.conclude_second()
        rule = self._routing.batching(function)
        function.max_batch, function.wait_s = rule.max_batch, rule.wait_s
        function.rule_until_s = math.floor(now_s) + 1.0


def _closes_s(function: ServedFunction) -> float:
    """When the next batch is full, or its oldest request has waited long enough, by the rule that stands."""
    full_s = function.arrival_s(function.cursor + function.max_batch - 1)
    return min(function.oldest_s + function.wait_s, full_s)
