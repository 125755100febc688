"""Sizing: which batch, request and limit a function gets."""

from policies.sizing.growth import (
    DiluSizing,
    ExclusiveSizing,
    ProfiledSizing,
    SizingError,
    StaticSizing,
    TrainingSizing,
    bisection,
    hgss,
)
from policies.sizing.rivals import GpuletSizing, InflessSizing, TraversalSizing

__all__ = [
    "DiluSizing",
    "ExclusiveSizing",
    "GpuletSizing",
    "InflessSizing",
    "ProfiledSizing",
    "SizingError",
    "StaticSizing",
    "TrainingSizing",
    "TraversalSizing",
    "bisection",
    "hgss",
]
