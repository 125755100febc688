"""Keep-alive: when an idle instance goes, and when one is launched ahead."""

from policies.keep_alive.fixed import FixedKeepAlive
from policies.keep_alive.greedy_dual import GreedyDual
from policies.keep_alive.histograms import HybridHistogram, LongShortHistogram, idle_intervals

__all__ = [
    "FixedKeepAlive",
    "GreedyDual",
    "HybridHistogram",
    "LongShortHistogram",
    "idle_intervals",
]
