"""Keep-alive: when an idle instance goes, and when one is launched ahead."""

from policies.keep_alive.fixed import FixedKeepAlive
from policies.keep_alive.histograms import LongShortHistogram, idle_intervals

__all__ = [
    "FixedKeepAlive",
    "LongShortHistogram",
    "idle_intervals",
]
