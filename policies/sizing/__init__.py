"""Sizing: which batch, request and limit a function gets."""

from policies.sizing.choices import NonUniformSizing
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
from policies.sizing.time_quota import TimeQuotaSizing
from policies.sizing.uncapped import UncappedSizing

__all__ = [
    "DiluSizing",
    "ExclusiveSizing",
    "GpuletSizing",
    "InflessSizing",
    "NonUniformSizing",
    "ProfiledSizing",
    "SizingError",
    "StaticSizing",
    "TimeQuotaSizing",
    "TrainingSizing",
    "TraversalSizing",
    "UncappedSizing",
    "bisection",
    "hgss",
]
