"""Start-up: how long a launch takes."""

from policies.start_up.cold import FixedStartUp, PolledStartUp
from policies.start_up.swap import SwapStartUp

__all__ = [
    "FixedStartUp",
    "PolledStartUp",
    "SwapStartUp",
]
