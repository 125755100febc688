"""The process that asks the vertical policy on every tick, and carries its quotas to the workers."""

from realgpu.control.messages import ControlReport, End, Place, SitDown, StandUp, Start, Want
from realgpu.control.process import ControllerProcess
from realgpu.control.throttle import GateRates, Throttle

__all__ = [
    "ControlReport",
    "ControllerProcess",
    "End",
    "GateRates",
    "Place",
    "SitDown",
    "StandUp",
    "Start",
    "Throttle",
    "Want",
]
