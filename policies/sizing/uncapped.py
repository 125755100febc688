"""Sizing for systems that share a GPU without capping anybody's SMs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from policies.functions import Size
from policies.sizing.growth import DiluSizing


@dataclass(frozen=True)
class UncappedSizing(DiluSizing):
    """Dilu's batch and request, and a whole GPU as limit: for systems that cap no SMs.

    Time slicing, KubeShare, TGS, AntMan, REEF and Orion decide who runs, not on how many SMs.
    """

    def reserve(self, size: Size) -> Size:
        """Return the size with a limit of 1."""
        return dataclasses.replace(size, limit=1.0)
