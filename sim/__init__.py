"""A simulated world: a SimPy cluster of shared GPUs that carries out what policies decide."""

from policies.outcome import Outcome
from sim.agenda import StalledError
from sim.placement_replay import replay_instances
from sim.world import simulate

__all__ = ["Outcome", "StalledError", "replay_instances", "simulate"]
