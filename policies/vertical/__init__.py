"""Vertical scaling: which share each resident of a GPU may use now."""

from policies.vertical.antman import AntmanDutyCycle
from policies.vertical.has_gpu import RowQuotas
from policies.vertical.priority import OrionInterleaving, PerfectSharing, ReefPreemption
from policies.vertical.rckm import Rckm
from policies.vertical.rckm_reference import RckmReference
from policies.vertical.static import StaticQuota
from policies.vertical.tgs import TgsRates
from policies.vertical.turns import GuaranteedTurns, OneAtATime, PartitionedTurns, RoundRobin

__all__ = [
    "AntmanDutyCycle",
    "GuaranteedTurns",
    "OneAtATime",
    "OrionInterleaving",
    "PartitionedTurns",
    "PerfectSharing",
    "Rckm",
    "RckmReference",
    "ReefPreemption",
    "RoundRobin",
    "RowQuotas",
    "StaticQuota",
    "TgsRates",
]
