"""What work costs: latency over (batch, SM share), memory, start-up and training of models on a GPU type."""

from profiles.capacity import Capacity, Prefill
from profiles.catalog import Catalog, load_catalog
from profiles.comparing import Difference, Summary, compare_catalogs, summarise
from profiles.draft import CatalogDraft, HostStartUp, draft_of
from profiles.errors import ProfileError
from profiles.interference import (
    GpuletInterference,
    IgniterInterference,
    InterferenceModel,
    Load,
    find_interference,
)
from profiles.measurements import (
    InterferenceMeasurement,
    Measurement,
    StartUpMeasurement,
    append_measurements,
    read_measurements,
    write_measurements,
)
from profiles.merging import merge_catalogs
from profiles.model import GpuType, Measure, ModelKind, ModelProfile
from profiles.provenance import Provenance, ProvenanceKind
from profiles.startup import StartUp
from profiles.surface import HeldOut, LatencySurface, Point
from profiles.training import StepCurve, TrainingProfile
from profiles.writing import write_catalog

__all__ = [
    "Capacity",
    "Catalog",
    "CatalogDraft",
    "Difference",
    "GpuType",
    "GpuletInterference",
    "HeldOut",
    "HostStartUp",
    "IgniterInterference",
    "InterferenceMeasurement",
    "InterferenceModel",
    "LatencySurface",
    "Load",
    "Measure",
    "Measurement",
    "ModelKind",
    "ModelProfile",
    "Point",
    "Prefill",
    "ProfileError",
    "Provenance",
    "ProvenanceKind",
    "StartUp",
    "StartUpMeasurement",
    "StepCurve",
    "Summary",
    "TrainingProfile",
    "append_measurements",
    "compare_catalogs",
    "draft_of",
    "find_interference",
    "load_catalog",
    "merge_catalogs",
    "read_measurements",
    "summarise",
    "write_catalog",
    "write_measurements",
]
