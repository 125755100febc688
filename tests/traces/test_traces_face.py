from __future__ import annotations

import traces


def test_the_public_names_are_pinned() -> None:
    """A name is added to or removed from the package's face on purpose."""
    assert sorted(traces.__all__) == [
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
    assert all(hasattr(traces, name) for name in traces.__all__)
