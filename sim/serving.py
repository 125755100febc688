"""Serving: batches close, run and end. This is the hot path; a batch costs two agenda entries at most."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from heapq import heappush

from policies.slots import RoutingPolicy, Weighs
from recording import BATCH, DROPPED
from sim.agenda import CLOSE
from sim.functions import ServedFunction
from sim.gpu import INF, Agenda
from sim.instances import ServingInstance
from sim.vertical import VerticalLoop

RETRY_S = 1.0
"""How often a launch that was refused is tried again for a function without any instance."""

_pack = BATCH.pack


class Serving:
    """Queues of all functions and the batches their instances run."""

    def __init__(
        self,
        functions: list[ServedFunction | None],
        routing: RoutingPolicy,
        vertical: VerticalLoop,
        agenda: Agenda,
        *,
        activate: Callable[[ServedFunction, float], bool],
        drained: Callable[[ServingInstance, float], None],
    ) -> None:
        self._functions = functions
        self._routing = routing
        self._adapts = routing.adapts
        self._newest_first = routing.newest_idle_first
        self._weighs = routing if isinstance(routing, Weighs) else None
        if self._weighs is not None:
            for function in functions:
                if function is not None:
                    function.uniform = False
        self._vertical = vertical
        self._window_s = vertical.window_s
        self._agenda = agenda
        self._activate = activate
        self._drained = drained
        self.instances: dict[int, ServingInstance] = {}
        self.rows = bytearray()
        """Packed rows of `batches` that nobody has taken yet."""

    def join(self, instance: ServingInstance, now_s: float) -> None:
        """Take a ready instance into service."""
        self.instances[instance.index] = instance
        instance.idle_since_s = now_s
        function = instance.function
        if function.rule_until_s == -INF:
            self._ask_for_rule(function, now_s)
        function.idle.append(instance)
        self.arm(function, now_s)

    def arm(self, function: ServedFunction, now_s: float) -> None:
        """Put the moment at which the next batch closes on the agenda, if somebody is there to run it."""
        cursor = function.cursor
        if cursor >= function.end:
            return
        if not function.idle:
            if not function.live:
                self._arm_at(function, max(function.arrivals[cursor], now_s, function.retry_s))
            return
        if not function.uniform:
            following = self._following(function, now_s)
            if following is None:  # the next second may give the idle ones a part
                self._arm_at(function, max(function.arrivals[cursor], function.rule_until_s))
                return
            self._fit_rule(function, following, now_s)
        arrivals = function.arrivals
        oldest_s = arrivals[cursor]
        if self._adapts and (now_s if now_s > oldest_s else oldest_s) >= function.rule_until_s:
            if oldest_s > now_s:
                self._arm_at(function, oldest_s)  # the rule of that second is not known yet
                return
            self._ask_for_rule(function, now_s)
        close_s = oldest_s + function.wait_s
        full = cursor + function.max_batch - 1
        if full < function.end and arrivals[full] < close_s:
            close_s = arrivals[full]
        if close_s < now_s:
            close_s = now_s
        if close_s != function.armed_s:  # as `_arm_at`, without the call
            function.armed_s = close_s
            heappush(self._agenda, (close_s, CLOSE + function.index))

    def close(self, index: int, now_s: float) -> None:
        """Close the next batch of a function and give it to an idle instance."""
        function = self._functions[index]
        if function is None or now_s != function.armed_s:
            return
        function.armed_s = INF
        idle, vertical, agenda = function.idle, self._vertical, self._agenda
        picks = not function.uniform
        while idle:
            if picks:
                following = self._following(function, now_s)
                if following is None:
                    break
                self._fit_rule(function, following, now_s)
            count = self._take(function, now_s)
            if not count:
                break
            if picks:
                assert following is not None
                instance = following
                idle.remove(instance)
                instance.taken += count
            else:
                instance = idle.pop() if self._newest_first else idle.popleft()
            for resident in instance.residents:
                gpu = resident.gpu
                if gpu.watched:
                    if not gpu.eager and now_s > gpu.look_s:
                        vertical.catch_up(gpu, now_s)
                    gpu.wake(resident, now_s, agenda)
                    if resident.idle:
                        resident.idle = False
                        vertical.ask(gpu, now_s)
                    if gpu.eager and gpu.may_lag:
                        vertical.resume(gpu, now_s)
                else:
                    gpu.wake(resident, now_s, agenda)
            instance.begin(count, now_s, agenda)
            gpu = instance.residents[0].gpu
            if not gpu.eager and gpu.look_s < instance.finish_s:
                vertical.look_ahead(gpu)
        if idle:
            self.arm(function, now_s)
        elif not function.live and function.cursor < function.end:
            self._wake(function, now_s)
            self.arm(function, now_s)

    def complete(self, index: int, now_s: float) -> None:
        """End the batch of an instance, and begin its next one if that is due."""
        instance = self.instances[index]
        if now_s != instance.pending_s:
            return
        residents = instance.residents
        gpu = residents[0].gpu
        if not gpu.eager and now_s > gpu.look_s:
            self._vertical.catch_up(gpu, now_s)
        finish_s = instance.finish_s
        if finish_s > now_s:
            instance.pending_s = finish_s
            heappush(self._agenda, (finish_s, index))
            if not gpu.eager and gpu.look_s < finish_s:
                self._vertical.look_ahead(gpu)
            return
        function = instance.function
        first, count = instance.first, instance.count
        self.rows += _pack(function.index, index, first, count, instance.start_s, now_s)
        if gpu.watched or len(residents) > 1:
            self._vertical.cycle(instance, now_s)
        arrivals = function.arrivals
        if self._adapts:
            if count == 1:
                function.latency_sum_s += now_s - arrivals[first]
            else:
                # The mean arrival of a batch is taken as the middle of first and last: it only sets waits.
                middle_s = 0.5 * (arrivals[first] + arrivals[first + count - 1])
                function.latency_sum_s += count * (now_s - middle_s)
            function.latency_count += count
        cursor = function.cursor
        if cursor < function.end and arrivals[cursor] <= now_s and not instance.draining:
            uniform = function.uniform
            count = self._take(function, now_s) if uniform else self._take_next(function, instance, now_s)
            if count:
                instance.begin(count, now_s, self._agenda)
                if not gpu.eager and gpu.look_s < instance.finish_s:
                    self._vertical.look_ahead(gpu)
                return
        self._rest(function, instance, now_s)

    def _take_next(self, function: ServedFunction, instance: ServingInstance, now_s: float) -> int:
        """Size of the batch that an instance may begin at once after another, or 0."""
        function.idle.append(instance)
        chosen = self._following(function, now_s)
        function.idle.pop()
        if chosen is not instance:
            return 0
        self._fit_rule(function, instance, now_s)
        count = self._take(function, now_s)
        instance.taken += count
        return count

    def _following(self, function: ServedFunction, now_s: float) -> ServingInstance | None:
        """The idle instance that takes the next batch, where they are not alike; `None`: none of them."""
        idle = function.idle
        if self._weighs is None:
            return idle[-1] if self._newest_first else idle[0]
        weights, live = function.weights, function.instances
        if now_s >= function.rule_until_s or len(weights) != len(live) or live[-1].index not in weights:
            self._ask_for_rule(function, now_s)
            self._weigh(function)
            weights = function.weights
        weighed = [one for one in idle if weights.get(one.index)]
        if weighed:
            return min(weighed, key=lambda one: (one.taken / weights[one.index], one.index))
        if any(weights.get(one.index) and one.ready for one in function.instances):
            return None  # the others have no part in the load; wait for those who have
        return idle[-1] if self._newest_first else idle[0]

    def _weigh(self, function: ServedFunction) -> None:
        """Ask the routing policy for the rate that each instance should get from now on.

        Those ahead of the others stay ahead: at rates of a few requests a second nobody else would ever get
        its part. Whoever had no rate so far is level with the last.
        """
        assert self._weighs is not None
        live, weights = function.instances, function.weights
        level_s = min((one.taken / rate for one in live if (rate := weights.get(one.index))), default=0.0)
        for one in live:
            rate = weights.get(one.index)
            one.taken = one.taken - level_s * rate if rate else 0.0
        rates = self._weighs.weights(function)
        function.weights = {one.index: rate for one, rate in zip(live, rates, strict=True)}

    def _fit_rule(self, function: ServedFunction, instance: ServingInstance, now_s: float) -> None:
        """Have the batching rule be that of the instance that takes the next batch."""
        size = instance.launch.size
        if function.fitted is not size:
            function.fitted = size
            function.batch, function.service_s = instance.batch, instance.service_s
            self._ask_for_rule(function, now_s)

    def _rest(self, function: ServedFunction, instance: ServingInstance, now_s: float) -> None:
        """Have an instance whose batch has ended wait for the next, or leave if it drains."""
        instance.running = False
        instance.finish_s = instance.pending_s = INF
        instance.idle_since_s = now_s
        for resident in instance.residents:
            gpu = resident.gpu
            gpu.rest(resident, now_s, self._agenda)
            if gpu.watched:
                if gpu.eager or gpu.mask:
                    self._vertical.after_resting(gpu, now_s)
                elif now_s + self._window_s < gpu.look_s:
                    gpu.look_s = now_s + self._window_s
        if instance.draining:
            self._drained(instance, now_s)
            return
        function.idle.append(instance)
        if function.armed_s == INF or not function.uniform:  # now another may be next, by another rule
            self.arm(function, now_s)

    def _arm_at(self, function: ServedFunction, close_s: float) -> None:
        if close_s != function.armed_s:
            function.armed_s = close_s
            heappush(self._agenda, (close_s, CLOSE + function.index))

    def _take(self, function: ServedFunction, now_s: float) -> int:
        """Size of the batch that closes now, or 0; requests past their time-out are dropped first."""
        arrivals, cursor, end = function.arrivals, function.cursor, function.end
        if cursor >= end:
            return 0
        oldest_s = arrivals[cursor]
        if oldest_s > now_s:
            return 0
        if self._adapts and now_s >= function.rule_until_s:
            self._ask_for_rule(function, now_s)
        if oldest_s + function.timeout_s < now_s:
            cursor = bisect_left(arrivals, now_s - function.timeout_s, cursor, end)
            self._drop(function, cursor, now_s)
            if cursor >= end:
                return 0
            oldest_s = arrivals[cursor]
        last = cursor + function.max_batch
        if oldest_s + function.wait_s > now_s and (last > end or arrivals[last - 1] > now_s):
            return 0
        if cursor + 1 >= end or arrivals[cursor + 1] > now_s:
            return 1
        return bisect_right(arrivals, now_s, cursor, last if last < end else end) - cursor

    def _drop(self, function: ServedFunction, until: int, now_s: float) -> None:
        count = until - function.cursor
        if count:
            self.rows += _pack(function.index, DROPPED, function.cursor, count, now_s, now_s)
            function.cursor = until

    def _wake(self, function: ServedFunction, now_s: float) -> None:
        """Launch a first instance for a function that has none; if none fits, drop what has arrived."""
        if not self._activate(function, now_s):
            self._drop(function, bisect_right(function.arrivals, now_s, function.cursor, function.end), now_s)
            function.retry_s = now_s + RETRY_S

    def _ask_for_rule(self, function: ServedFunction, now_s: float) -> None:
        """Ask the routing policy how batches close from now on."""
        function.now_s = now_s
        if function.latency_count:
            function.latency_s = function.latency_sum_s / function.latency_count
            function.latency_sum_s, function.latency_count = 0.0, 0
        rule = self._routing.batching(function)
        function.max_batch, function.wait_s = rule.max_batch, rule.wait_s
        function.rule_until_s = float(int(now_s) + 1)
