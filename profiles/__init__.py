"""What work costs: latency over (batch, SM share), memory, start-up and training of models on a GPU type."""

from profiles.catalog import Catalog, load_catalog
from profiles.errors import ProfileError
from profiles.interference import (
    GpuletInterference,
    IgniterInterference,
    InterferenceModel,
    Load,
    find_interference,
)
from profiles.model import GpuType, Measure, ModelKind, ModelProfile
from profiles.provenance import Provenance, ProvenanceKind
from profiles.startup import StartUp
from profiles.surface import LatencySurface, Point
from profiles.training import StepCurve, TrainingProfile

__all__ = [
    "Catalog",
    "GpuType",
    "GpuletInterference",
    "IgniterInterference",
    "InterferenceModel",
    "LatencySurface",
    "Load",
    "Measure",
    "ModelKind",
    "ModelProfile",
    "Point",
    "ProfileError",
    "Provenance",
    "ProvenanceKind",
    "StartUp",
    "StepCurve",
    "TrainingProfile",
    "find_interference",
    "load_catalog",
]
