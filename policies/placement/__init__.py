"""Placement: which GPUs take an instance."""

from policies.placement.complementary import ComplementaryPlacement
from policies.placement.static import ExclusivePlacement, InflessPlacement

__all__ = [
    "ComplementaryPlacement",
    "ExclusivePlacement",
    "InflessPlacement",
]
