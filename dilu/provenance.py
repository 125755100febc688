"""Whose numbers a result rests on, in two lines at most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import get_args

from profiles import Catalog, ProvenanceKind


def profile_line(catalog: Catalog, models: Iterable[str]) -> str:
    """Say which profiles were used, and where the values of these models come from."""
    names = sorted(set(models))
    kinds = Counter(origin.kind for name in names for origin in catalog.model(name).provenance.values())
    counted = ", ".join(f"{kinds[kind]} {kind}" for kind in get_args(ProvenanceKind) if kinds[kind])
    device = catalog.device or {}
    whose = f"{catalog.gpu.name}, measured on {device['name']}" if "name" in device else catalog.gpu.name
    return f"Profiles: {whose}; values of {', '.join(names)}: {counted}"


def extrapolation_lines(extrapolated: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Say what was asked of profiles beyond their measurements: by system, then by model, in words."""
    lines: dict[str, list[str]] = {}
    for system, said in extrapolated.items():
        for model, words in said.items():
            lines.setdefault(f"{model}: {words}", []).append(system)
    return [f"Extrapolated: {words} ({', '.join(systems)})" for words, systems in sorted(lines.items())]
