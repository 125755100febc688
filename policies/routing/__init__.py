"""Routing: which instance gets a batch, and when a batch closes."""

from policies.routing.batching import AdaptiveBatching, DeadlineBatching, ImmediateBatching

__all__ = [
    "AdaptiveBatching",
    "DeadlineBatching",
    "ImmediateBatching",
]
