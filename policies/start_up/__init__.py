"""Start-up: how long a launch takes."""

from policies.start_up.cold import FixedStartUp, PolledStartUp

__all__ = [
    "FixedStartUp",
    "PolledStartUp",
]
