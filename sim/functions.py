"""A served function: its arrivals as a column with a cursor, and what policies may see of it."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from policies import Function, Size
from policies.functions import mean_longest

if TYPE_CHECKING:
    from sim.instances import ServingInstance

INF = float("inf")


class ServedFunction:
    """Queue and statistics of one function (a `policies.slots.FunctionView`).

    No request is an object: requests `cursor` .. `end` - 1 of the sorted arrivals are still to be served,
    and those of them that have arrived are the queue.
    """

    __slots__ = (
        "_iterations",
        "armed_s",
        "arrival_column",
        "arrivals",
        "batch",
        "cold_start_s",
        "cursor",
        "end",
        "fitted",
        "idle",
        "index",
        "instances",
        "is_llm",
        "known",
        "latency_count",
        "latency_s",
        "latency_sum_s",
        "live",
        "max_batch",
        "memory",
        "memory_bytes",
        "min_instances",
        "model",
        "now_s",
        "polled_at_s",
        "retry_s",
        "rule_until_s",
        "service_s",
        "share",
        "since_s",
        "slo_s",
        "spec",
        "throughput_rps",
        "timeout_s",
        "tokens",
        "uniform",
        "wait_s",
        "weights",
    )

    def __init__(
        self,
        index: int,
        spec: Function,
        size: Size,
        arrivals: NDArray[np.float64],
        output_tokens: NDArray[np.int32] | None,
        duration_s: float,
        cold_start_s: float = 0.0,
    ) -> None:
        self.index = index
        self.cold_start_s = cold_start_s
        self.memory_bytes = spec.memory_bytes
        self.instances: list[ServingInstance] = []
        """The live ones, oldest first."""
        self.memory: object = None
        """Of the horizontal policy."""
        self.share: float | None = None
        """What the horizontal policy wants its instances to use."""
        self.fitted = size
        """The size whose batching rule stands: that of the instance that takes the next batch."""
        self.uniform = True
        """Any of its instances may take the next batch: all are of its own size, and none has a rate."""
        self.weights: dict[int, float] = {}
        """Requests per second that each instance should get, where the routing policy weighs them."""
        self.spec = spec
        self.model = spec.model.name
        self.arrival_column = np.ascontiguousarray(arrivals, dtype=np.float64)
        # A memoryview hands out Python floats at half the cost of indexing the array.
        self.arrivals = cast("Sequence[float]", memoryview(self.arrival_column.data))
        self.tokens = None if output_tokens is None else cast("Sequence[int]", memoryview(output_tokens.data))
        self.cursor = 0
        self.end = int(np.searchsorted(self.arrival_column, duration_s))
        self.idle: deque[ServingInstance] = deque()
        self.live = 0
        self.is_llm = spec.kind == "llm"
        self.min_instances = spec.min_instances
        self.timeout_s = INF if spec.timeout_s is None else spec.timeout_s
        self._iterations: dict[int, float] = {}
        self.batch = size.batch
        self.slo_s = (spec.slo_s or INF) * (spec.output_tokens if self.is_llm else 1)
        self.service_s = spec.model.measure(size.batch, size.request) * self.iterations(size.batch)
        self.throughput_rps = size.batch / self.service_s
        self.max_batch = size.batch
        self.wait_s = 0.0
        self.rule_until_s = -INF
        """Until when the batching rule stands; the routing policy is asked again after it."""
        self.known = 0
        """A request before which none arrived within the second before `now_s`."""
        self.armed_s = INF
        """Time of the agenda entry that will close the next batch; other entries are stale."""
        self.retry_s = -INF
        self.polled_at_s = INF
        self.now_s = 0.0
        self.since_s = 0.0
        self.latency_s = math.nan
        self.latency_sum_s = 0.0
        self.latency_count = 0

    @property
    def waiting(self) -> int:
        """Requests that have arrived by `now_s` and are in no batch yet."""
        return bisect_right(self.arrivals, self.now_s, self.cursor, self.end) - self.cursor

    @property
    def arrived(self) -> int:
        """Requests that have arrived by `now_s`."""
        return bisect_right(self.arrivals, self.now_s, 0, self.end)

    @property
    def last_arrival_s(self) -> float:
        """When the latest request arrived; minus infinity before any."""
        arrived = self.arrived
        return self.arrivals[arrived - 1] if arrived else -INF

    def longest_answer(self, first: int, count: int) -> int:
        """Output tokens of the longest answer of a batch: its iterations under static batching."""
        if self.tokens is None:
            return self.spec.output_tokens
        return max(1, max(self.tokens[first : first + count]))

    def iterations(self, batch: int) -> float:
        """Iterations that a full batch takes in the mean: those of its longest answer."""
        if not self.is_llm:
            return 1.0
        if self.tokens is None:
            return float(self.spec.output_tokens)
        if batch not in self._iterations:
            self._iterations[batch] = mean_longest(np.asarray(self.tokens), batch)
        return self._iterations[batch]

    def rates(self, seconds: int) -> NDArray[np.int64]:
        """Arrivals in each of the last whole seconds since the last scaling action, oldest first."""
        now = math.floor(self.now_s)
        return self.counts(max(math.ceil(self.since_s), now - seconds), now)

    @property
    def last_rate(self) -> int:
        """Arrivals in the last whole second."""
        now = int(self.now_s)
        if now < 1:
            return 0
        arrivals, cursor = self.arrivals, self.cursor
        # Most often no request waits from before this second, and few have come since the last question.
        end = cursor if cursor < self.end and arrivals[cursor] >= now else self.end
        last = bisect_left(arrivals, now, min(self.known, end), end)
        first = bisect_left(arrivals, now - 1, min(self.known, last), last)
        self.known = first
        return last - first

    def history(self, seconds: int) -> NDArray[np.int64]:
        """Arrivals in each of the last whole seconds, oldest first."""
        now = math.floor(self.now_s)
        return self.counts(max(0, now - seconds), now)

    def counts(self, first: int, last: int) -> NDArray[np.int64]:
        """Arrivals in each of the seconds `first` .. `last` - 1."""
        if last <= first:
            return np.zeros(0, dtype=np.int64)
        low, high = np.searchsorted(self.arrival_column, [first, last])
        seconds = self.arrival_column[low:high].astype(np.int64) - first
        return np.bincount(seconds, minlength=last - first).astype(np.int64)
