"""How far the simulator may be off before a validation has failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from types import MappingProxyType
from typing import Final

from analysis.agreement import MEASURES, find_measure
from experiments.errors import ExperimentError, nearest
from realgpu.workers.protocol import BackendName

Tolerances = Mapping[str, float]
"""By name of the measure, in what its errors are in: fractions, or its own unit (`analysis.agreement`)."""

_DEVICE: Final = MappingProxyType({"throughput": 0.05, "p50": 0.05, "p95": 0.10})

DEFAULT_TOLERANCES: Final[Mapping[BackendName, Tolerances]] = MappingProxyType(
    {
        "virtual": MappingProxyType({"throughput": 0.02, "p50": 0.05, "p95": 0.05, "svr": 0.01}),
        "cpu": _DEVICE,
        "cuda": _DEVICE,
    }
)
"""Goals that were set, not measured. Where workers compute, the profile adds its own error."""

NOT_JUDGED: Final = "none"


def parse_tolerances(backend: BackendName, changes: Sequence[str]) -> Tolerances:
    """Return a backend's tolerances with changes of the form `p95=0.1`, `p95=10%` or `p95=none`.

    Raises
    ------
    ExperimentError
        If one names no measure, or its value is neither a number from 0 on nor `none`.
    """
    found = dict(DEFAULT_TOLERANCES[backend])
    names = [measure.name for measure in MEASURES]
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or name not in names:
            hint = nearest(name, names) if equals else "allowed is METRIC=VALUE, such as p95=10%"
            raise ExperimentError(f"--tolerance {change}: {hint}")
        if text == NOT_JUDGED:
            found.pop(name, None)
        else:
            found[name] = _number(change, name, text)
    return found


def _number(change: str, name: str, text: str) -> float:
    counts = find_measure(name).error_unit == "starts"
    percent = text.endswith("%") and not counts
    try:
        value = float(text.removesuffix("%") if percent else text) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if not isfinite(value) or value < 0:
        allowed = "2" if counts else "0.1 or 10%"
        raise ExperimentError(
            f"--tolerance {change}: found {text!r}, allowed is a number from 0 on, such as {allowed}, "
            f"or {NOT_JUDGED}"
        )
    return value
