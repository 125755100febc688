"""Holds the simulated world against the real one: an experiment in both, and the error of each measure."""

from experiments.validation.campaign import (
    Calibrate,
    Demand,
    InterruptedValidation,
    validate_experiment,
)
from experiments.validation.judged import JudgedSystem, PathAgreement, Row, Validation, Verdict
from experiments.validation.tolerances import DEFAULT_TOLERANCES, Tolerances, parse_tolerances

__all__ = [
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
]
