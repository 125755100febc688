"""What arrives: traces of requests, workloads of instances, and the readers and generators of both."""

from traces.readers.azure_functions_2019 import read_azure_functions
from traces.errors import TraceError
from traces.generate import (
    ArrivalKind,
    ArrivalSpec,
    bursty,
    even,
    gamma_counts,
    gamma_renewal,
    generate,
    periodic,
    poisson,
    sporadic,
)
from traces.instances.events import InstanceEvent, InstanceKind, read_instance_events, write_instance_events
from traces.mapping import FunctionMapping, MappingRule, ModelChoice, map_functions
from traces.readers.rate_series import read_rate_series
from traces.instances.synthetic import generate_instance_events
from traces.trace import Trace, merge

__all__ = [
    "ArrivalKind",
    "ArrivalSpec",
    "FunctionMapping",
    "InstanceEvent",
    "InstanceKind",
    "MappingRule",
    "ModelChoice",
    "Trace",
    "TraceError",
    "bursty",
    "even",
    "gamma_counts",
    "gamma_renewal",
    "generate",
    "generate_instance_events",
    "map_functions",
    "merge",
    "periodic",
    "poisson",
    "read_azure_functions",
    "read_instance_events",
    "read_rate_series",
    "sporadic",
    "write_instance_events",
]
