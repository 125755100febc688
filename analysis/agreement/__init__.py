"""How well two runs of one experiment agree, one in each world: values, errors, and where latencies part."""

from analysis.agreement.errors import CONFIDENCE, Agreement, agreements, half_width
from analysis.agreement.latency_terms import (
    SLOWEST,
    LatencyDifference,
    ServiceAtBatch,
    latency_difference,
    mean_difference,
    service_by_batch,
)
from analysis.agreement.measures import MEASURES, Measure, Values, find_measure, values_of
from analysis.agreement.quota_paths import PathDifference, QuotaPath, compare_paths, quota_paths

__all__ = [
    "CONFIDENCE",
    "MEASURES",
    "SLOWEST",
    "Agreement",
    "LatencyDifference",
    "Measure",
    "PathDifference",
    "QuotaPath",
    "ServiceAtBatch",
    "Values",
    "agreements",
    "compare_paths",
    "find_measure",
    "half_width",
    "latency_difference",
    "mean_difference",
    "quota_paths",
    "service_by_batch",
    "values_of",
]
