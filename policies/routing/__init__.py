"""Routing: which instance gets a batch, and when a batch closes."""

from policies.routing.batching import AdaptiveBatching, DeadlineBatching, ImmediateBatching
from policies.routing.dispatcher import AlphaDispatcher

__all__ = [
    "AdaptiveBatching",
    "AlphaDispatcher",
    "DeadlineBatching",
    "ImmediateBatching",
]
