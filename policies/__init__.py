"""What to decide: the slots, the policies in them, the named systems, and the controller of both worlds."""

from policies.controller import Action, Controller, Launch, Poll, Refused, Retire
from policies.functions import Cluster, Deployment, Function, MixedCluster, PolicyError, Size
from policies.slots import BatchRule, Grant, PlacementRequest, Scaling, Shard
from policies.systems import System, find_system, system_names

__all__ = [
    "Action",
    "BatchRule",
    "Cluster",
    "Controller",
    "Deployment",
    "Function",
    "Grant",
    "Launch",
    "MixedCluster",
    "PlacementRequest",
    "PolicyError",
    "Poll",
    "Refused",
    "Retire",
    "Scaling",
    "Shard",
    "Size",
    "System",
    "find_system",
    "system_names",
]
