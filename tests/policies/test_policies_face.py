from __future__ import annotations

import policies


def test_the_public_names_are_pinned() -> None:
    """A name is added to or removed from the package's face on purpose."""
    assert policies.__all__ == [
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
    assert all(hasattr(policies, name) for name in policies.__all__)
