"""A validation as files: `validation.json`, whose keys docs/validation.md lists, and `validation.csv`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from analysis.agreement import CONFIDENCE, SLOWEST, LatencyDifference
from experiments.validation.judged import JudgedSystem, PathAgreement, Row, Validation

FORMAT: Final = 1
"""Raised by one whenever a key changes its name or meaning."""

_COLUMNS: Final = (
    *("system", "function", "measure", "n", "incomparable", "sim", "real", "relative", "error", "half_width"),
    *("absolute_error", "tolerance", "verdict", "conclusive", "cause"),
)


def write_documents(validation: Validation) -> None:
    """Write both files into the validation's folder, each complete or not at all."""
    text = json.dumps(_document(validation), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    put(validation.path / "validation.json", text.encode())
    put(validation.path / "validation.csv", _table(validation).encode())


def put(path: Path, content: bytes) -> None:
    """Write a file beside, then give it its name."""
    beside = path.with_name(f".{path.name}.partial")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _document(validation: Validation) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "experiment": validation.experiment,
        "backend": validation.backend,
        "seed": validation.seed,
        "repeats": validation.repeats,
        "complete": validation.complete,
        "within": validation.complete and not validation.missed,
        "confidence": CONFIDENCE,
        "profiles": asdict(validation.profiles),
        "tolerances": dict(validation.tolerances),
        "notes": list(validation.notes),
        "systems": [_system(system) for system in validation.systems],
    }


def _system(system: JudgedSystem) -> dict[str, Any]:
    return {
        "system": system.system,
        "repeats": len(system.pairs),
        "seeds": [sim.manifest.seed for sim, _ in system.pairs],
        "measures": [_row(row) for row in system.rows],
        "latency": {
            name: {
                "all": _difference(system.latency[name]),
                "slowest": {"part": SLOWEST, **_difference(system.slowest[name])},
                "service_by_batch": [asdict(one) for one in system.service[name]],
            }
            for name in system.latency
        },
        "quota_paths": [_path(path) for path in system.paths],
        "punctuality": asdict(system.punctuality),
    }


def _row(row: Row) -> dict[str, Any]:
    agreement = row.agreement
    return {
        "function": agreement.function,
        "measure": agreement.measure.name,
        "relative": agreement.measure.relative,
        "n": agreement.n,
        "incomparable": agreement.incomparable,
        "sim": list(map(_rounded, agreement.sim)),
        "real": list(map(_rounded, agreement.real)),
        "error": _rounded(agreement.mean_error),
        "half_width": _rounded(agreement.half_width),
        "absolute_error": _rounded(agreement.absolute_error),
        "tolerance": row.tolerance,
        "verdict": row.verdict,
        "conclusive": row.conclusive,
        "cause": row.cause,
    }


def _difference(difference: LatencyDifference) -> dict[str, float | None]:
    return {name: _rounded(value) for name, value in asdict(difference).items()}


def _path(path: PathAgreement) -> Mapping[str, Any]:
    return {
        name: _rounded(value) if isinstance(value, float) else value for name, value in asdict(path).items()
    }


def _rounded(value: float | None) -> float | None:
    """Round to nine digits, as summaries are."""
    return None if value is None else float(f"{value:.9g}")


def _table(validation: Validation) -> str:
    """One line a measure, with means over repeats; empty where a number does not apply."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for system in validation.systems:
        for row in system.rows:
            means = {"sim": _rounded(row.agreement.sim_mean), "real": _rounded(row.agreement.real_mean)}
            writer.writerow({"system": system.system, **_row(row), **means})
    return text.getvalue()
