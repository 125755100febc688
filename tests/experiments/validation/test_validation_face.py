from __future__ import annotations

from experiments import validation


def test_the_public_face() -> None:
    """The names that others import are pinned."""
    assert set(validation.__all__) == {
        "DEFAULT_TOLERANCES",
        "Calibrate",
        "Demand",
        "InterruptedValidation",
        "JudgedSystem",
        "PathAgreement",
        "Row",
        "Tolerances",
        "Validation",
        "Verdict",
        "parse_tolerances",
        "validate_experiment",
    }
