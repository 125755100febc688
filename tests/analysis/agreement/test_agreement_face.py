from __future__ import annotations

from analysis import agreement


def test_the_public_face() -> None:
    """The names that others import are pinned."""
    assert set(agreement.__all__) == {
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
    }
