"""Placement: which GPUs take an instance."""

from policies.placement.complementary import ComplementaryPlacement
from policies.placement.fragmentation import FragmentationGradient
from policies.placement.infless import InflessChoices
from policies.placement.rectangles import Rectangle, RectanglePlacement, free_rectangles
from policies.placement.replicas import MemoryPlacement, ReplicaPlacement
from policies.placement.rows import AlignedRows
from policies.placement.static import ExclusivePlacement, InflessPlacement

__all__ = [
    "AlignedRows",
    "ComplementaryPlacement",
    "ExclusivePlacement",
    "FragmentationGradient",
    "InflessChoices",
    "InflessPlacement",
    "MemoryPlacement",
    "Rectangle",
    "RectanglePlacement",
    "ReplicaPlacement",
    "free_rectangles",
]
