"""What arrives: traces of requests, workloads of instances, and the readers and generators of both."""

from traces.classes import ClassRule, FunctionClass, classify
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
from traces.instances.openb import read_node_list, read_openb_pods
from traces.instances.synthetic import generate_instance_events
from traces.mapping import FunctionMapping, MappingRule, ModelChoice, ModelRule, map_functions
from traces.public.store import locate
from traces.readers.azure_functions_2019 import read_azure_functions
from traces.readers.azure_functions_2021 import read_azure_functions_2021
from traces.readers.azure_llm import read_azure_llm
from traces.readers.burstgpt import read_burstgpt
from traces.readers.canonical import read_parquet, write_trace
from traces.readers.formats import (
    FORMATS,
    TraceFormat,
    detect_format,
    find_format,
    parsed_options,
    read_trace,
)
from traces.readers.mooncake import read_mooncake
from traces.readers.rate_series import read_rate_series
from traces.readers.servegen import read_servegen
from traces.readers.source import Progress
from traces.statistics import TraceStatistics, describe
from traces.synthesis.azure import synthesize_azure
from traces.trace import Trace, merge
from traces.transforms import TRANSFORMS, apply_transforms

__all__ = [
    "FORMATS",
    "TRANSFORMS",
    "ArrivalKind",
    "ArrivalSpec",
    "ClassRule",
    "FunctionClass",
    "FunctionMapping",
    "InstanceEvent",
    "InstanceKind",
    "MappingRule",
    "ModelChoice",
    "ModelRule",
    "Progress",
    "Trace",
    "TraceError",
    "TraceFormat",
    "TraceStatistics",
    "apply_transforms",
    "bursty",
    "classify",
    "describe",
    "detect_format",
    "even",
    "find_format",
    "gamma_counts",
    "gamma_renewal",
    "generate",
    "generate_instance_events",
    "locate",
    "map_functions",
    "merge",
    "parsed_options",
    "periodic",
    "poisson",
    "read_azure_functions",
    "read_azure_functions_2021",
    "read_azure_llm",
    "read_burstgpt",
    "read_instance_events",
    "read_mooncake",
    "read_node_list",
    "read_openb_pods",
    "read_parquet",
    "read_rate_series",
    "read_servegen",
    "read_trace",
    "sporadic",
    "synthesize_azure",
    "write_instance_events",
    "write_trace",
]
