"""A served function and its instances: the queue as a column with a cursor, and what policies may see.

Arrivals are the deployment's own times: a request has arrived when its time has come.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from policies import Deployment, Function, Launch, Size
from policies.functions import mean_longest
from realgpu.board import Board

INF: Final = math.inf


class ServedInstance:
    """A serving instance (a `policies.slots.InstanceView`) and the batch that it runs.

    Attributes
    ----------
    rows
        Its rows on the board, one a GPU.
    running
        First request, their number, and when they were sent; `None` while it is idle.
    taken
        Requests it has been given, less what its rate is when the furthest behind has had its own.
    """

    def __init__(
        self, launch: Launch, function: ServedFunction, launch_s: float, rows: tuple[int, ...]
    ) -> None:
        self.launch = launch
        self.function = function
        self.launch_s = launch_s
        self.rows = rows
        self.ready_s: float | None = None
        self.draining = False
        self.running: tuple[int, int, float] | None = None
        self.idle_since_s = 0.0
        self.taken = 0.0

    @property
    def instance(self) -> int:
        """Its number."""
        return self.launch.instance

    @property
    def ready(self) -> bool:
        """Has started up."""
        return self.ready_s is not None

    @property
    def idle(self) -> bool:
        """Is ready and runs no batch."""
        return self.ready and self.running is None

    @property
    def batch(self) -> int:
        """Largest batch it serves."""
        return self.launch.size.batch

    @property
    def request(self) -> float:
        """Floor share."""
        return self.launch.shards[0].request

    @property
    def limit(self) -> float:
        """Ceiling share."""
        return self.launch.shards[0].limit

    @property
    def quota(self) -> float:
        """The share it may use now, on the first of its GPUs; the request until it has one."""
        quota = float(self.function.board.seats["quota"][self.rows[0]])
        return quota if self.ready and quota else self.request

    @property
    def service_s(self) -> float:
        """Profiled time of one full batch at its request share."""
        return self.profiled_s(self.batch, self.request)

    @property
    def fastest_s(self) -> float:
        """Profiled time of one full batch at its limit share."""
        return self.profiled_s(self.batch, self.limit)

    def profiled_s(self, batch: int, share: float) -> float:
        """Profiled time of a batch."""
        return self.function.spec.model.measure(batch, share) * self.function.iterations(batch)


class ServedFunction:
    """Queue and statistics of one function (a `policies.slots.FunctionView`).

    Requests `cursor` .. `end` - 1 of the sorted arrivals are still to be served, and those of them that have
    arrived by `now_s`, the time of the question, are the queue.

    Attributes
    ----------
    instances, idle
        The live ones, oldest first; the idle ones of them, in the order in which they became so.
    fitted
        The size whose batching rule stands: that of the instance that takes the next batch.
    uniform
        Any of its instances may take the next batch: all are of its own size, and none has a rate.
    rule_until_s
        Until when the batching rule (`max_batch`, `wait_s`) stands; the policy is asked again after it.
    weights
        Requests per second that each instance should get, where the routing policy weighs them.
    due_s
        When to look at the queue again.
    """

    def __init__(
        self,
        index: int,
        deployment: Deployment,
        size: Size,
        cold_start_s: float,
        board: Board,
        *,
        weighed: bool,
    ) -> None:
        spec = deployment.functions[index]
        self.index = index
        self.spec: Function = spec
        self.board = board
        self.model = spec.model.name
        self.is_llm = spec.kind == "llm"
        self.min_instances = spec.min_instances
        self.memory_bytes = spec.memory_bytes
        self.cold_start_s = cold_start_s
        self.slo_s = INF if spec.slo_s is None else spec.slo_s * (spec.output_tokens if self.is_llm else 1)
        self.timeout_s = INF if spec.timeout_s is None else spec.timeout_s
        self.arrivals: NDArray[np.float64] = np.ascontiguousarray(
            deployment.arrivals[index], dtype=np.float64
        )
        self.end = int(np.searchsorted(self.arrivals, deployment.duration_s))
        self.cursor = 0
        self._tokens = deployment.output_tokens[index]
        self._iterations: dict[int, float] = {}
        self.instances: list[ServedInstance] = []
        self.idle: deque[ServedInstance] = deque()
        self.memory: object = None
        self.share: float | None = None
        self.batch = size.batch
        self.service_s = spec.model.measure(size.batch, size.request) * self.iterations(size.batch)
        self.throughput_rps = size.batch / self.service_s
        self.fitted = size
        self.uniform = not weighed
        self.weights: dict[int, float] = {}
        self.max_batch = size.batch
        self.wait_s = 0.0
        self.rule_until_s = -INF
        self.now_s = 0.0
        self.since_s = 0.0
        self.latency_s = math.nan
        self._latency_sum_s = 0.0
        self._latency_count = 0
        self.polled_at_s = INF
        self.retry_s = -INF
        self.due_s = INF

    @property
    def live(self) -> int:
        """Instances that are ready or being launched."""
        return len(self.instances)

    @property
    def left(self) -> bool:
        """Requests are still to be served, whether or not they have arrived."""
        return self.cursor < self.end

    @property
    def arrived(self) -> int:
        """Requests that have arrived."""
        return min(int(np.searchsorted(self.arrivals, self.now_s, side="right")), self.end)

    @property
    def waiting(self) -> int:
        """Requests that have arrived and are in no batch yet."""
        return max(0, self.arrived - self.cursor)

    @property
    def last_arrival_s(self) -> float:
        """When the latest request arrived; minus infinity before any."""
        arrived = self.arrived
        return float(self.arrivals[arrived - 1]) if arrived else -INF

    @property
    def oldest_s(self) -> float:
        """When the next request arrives, or the first of those that wait has; infinity if none is left."""
        return self.arrival_s(self.cursor)

    def arrival_s(self, request: int) -> float:
        """When a request arrives; infinity if there is no such request."""
        return float(self.arrivals[request]) if request < self.end else INF

    def longest_answer(self, first: int, count: int) -> int:
        """Output tokens of the longest answer of a batch: its iterations under static batching."""
        if not self.is_llm:
            return 1
        if self._tokens is None:
            return self.spec.output_tokens
        return max(1, int(self._tokens[first : first + count].max()))

    def iterations(self, batch: int) -> float:
        """Iterations that a full batch takes in the mean: those of its longest answer."""
        if not self.is_llm:
            return 1.0
        if self._tokens is None:
            return float(self.spec.output_tokens)
        if batch not in self._iterations:
            self._iterations[batch] = mean_longest(self._tokens, batch)
        return self._iterations[batch]

    def rates(self, seconds: int) -> NDArray[np.int64]:
        """Arrivals in each of the last whole seconds since the last scaling action, oldest first."""
        now = math.floor(self.now_s)
        return self._counts(max(math.ceil(self.since_s), now - seconds), now)

    @property
    def last_rate(self) -> int:
        """Arrivals in the last whole second."""
        now = math.floor(self.now_s)
        return int(self._counts(now - 1, now)[0]) if now >= 1 else 0

    def history(self, seconds: int) -> NDArray[np.int64]:
        """Arrivals in each of the last whole seconds, oldest first."""
        now = math.floor(self.now_s)
        return self._counts(max(0, now - seconds), now)

    def _counts(self, first: int, last: int) -> NDArray[np.int64]:
        """Arrivals in each of the seconds `first` .. `last` - 1."""
        edges = np.searchsorted(self.arrivals[: self.end], np.arange(first, max(first, last) + 1))
        return np.diff(edges).astype(np.int64)

    def note_latencies(self, first: int, count: int, end_s: float) -> None:
        """Take note of the latencies of a batch that ended.

        The mean arrival is taken as the middle of first and last, as in the simulated world.
        """
        middle_s = 0.5 * float(self.arrivals[first] + self.arrivals[first + count - 1])
        self._latency_sum_s += count * (end_s - middle_s)
        self._latency_count += count

    def conclude_second(self) -> None:
        """Have `latency_s` be the mean of what was noted since it last was."""
        if self._latency_count:
            self.latency_s = self._latency_sum_s / self._latency_count
            self._latency_sum_s, self._latency_count = 0.0, 0
