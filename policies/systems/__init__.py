"""The named systems: which policy fills each slot."""

from policies.systems.bundle import SLOTS, System
from policies.systems.named import find_system, system_names

__all__ = ["SLOTS", "System", "find_system", "system_names"]
