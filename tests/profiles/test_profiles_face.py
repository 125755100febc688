import profiles


def test_the_public_names_are_these() -> None:
    """What others may import changes on purpose only."""
    assert profiles.__all__ == [
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
    assert all(hasattr(profiles, name) for name in profiles.__all__)
