"""Routing: which instance gets a batch, and when a batch closes."""

from __future__ import annotations

from dataclasses import dataclass

from policies.slots import BatchRule, FunctionView


@dataclass(frozen=True, slots=True)
class AdaptiveBatching:
    """The batching of the servers in Dilu's testbed, which all its systems share.

    A batch waits `first_wait_s` at first. Then, each second with traffic, it waits L / divisor, with L the
    mean end-to-end latency of the last second; and `no_wait_s` when requests come more seldom than they take
    (L < 1 / rate).

    Source: sigserverless/Dilu @1134655, the inference servers; the paper does not describe it. There a
    server takes its whole queue even beyond the batch size; here a batch never exceeds the size it was
    profiled for. There `no_wait_s` is 10 us, at which nothing can be gathered either.

    Attributes
    ----------
    divisor, divisors
        10 (ResNet152, VGG19, GPT2); 6 for BERT and RoBERTa, 8 for LLaMA2 (the same servers).
    newest_idle_first
        `False`: the instance that has been idle longest is next (round robin).
    """

    first_wait_s: float = 0.020
    no_wait_s: float = 0.0
    divisor: float = 10.0
    divisors: tuple[tuple[str, float], ...] = (
        ("bert-base", 6.0),
        ("roberta-large", 6.0),
        ("llama2-7b", 8.0),
        ("chatglm3-6b", 8.0),
    )
    newest_idle_first: bool = False
    adapts: bool = True

    def batching(self, function: FunctionView) -> BatchRule:
        """Adapt the wait to the last second's latency and rate."""
        latency_s = function.latency_s
        if latency_s != latency_s:  # NaN: nothing has completed yet
            return BatchRule(function.batch, self.first_wait_s)
        if latency_s * function.last_rate < 1.0:
            return BatchRule(function.batch, self.no_wait_s)
        return BatchRule(function.batch, latency_s / self._divisor_of(function.model))

    def _divisor_of(self, model: str) -> float:
        for name, divisor in self.divisors:
            if name == model:
                return divisor
        return self.divisor


@dataclass(frozen=True, slots=True)
class DeadlineBatching:
    """INFless's batching: a batch may wait for what its execution leaves of the SLO (ASPLOS 2022).

    Without an SLO nothing would end the wait, so there is none.
    """

    newest_idle_first: bool = True
    adapts: bool = False

    def batching(self, function: FunctionView) -> BatchRule:
        """Wait SLO - t_exec of a full batch."""
        spare_s = function.slo_s - function.service_s
        return BatchRule(function.batch, max(0.0, spare_s) if spare_s < float("inf") else 0.0)


@dataclass(frozen=True, slots=True)
class ImmediateBatching:
    """A free instance takes what has arrived, up to a full batch, and never waits for more."""

    newest_idle_first: bool = False
    adapts: bool = False

    def batching(self, function: FunctionView) -> BatchRule:
        """Wait for nothing."""
        return BatchRule(function.batch, 0.0)
