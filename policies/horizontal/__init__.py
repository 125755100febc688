"""Horizontal scaling: how many instances a function has."""

from policies.horizontal.lazy import LazyScaling
from policies.horizontal.residual import ResidualRateScaling

__all__ = [
    "LazyScaling",
    "ResidualRateScaling",
]
