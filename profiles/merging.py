"""Two catalogs of one device as one: what was measured in parts, or later, comes together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from profiles.catalog import Catalog
from profiles.draft import draft_of
from profiles.errors import ProfileError

SAME_DEVICE = ("uuid", "driver")
"""Entries of a device's manifest, wherever they stand in it, that may not differ: which one, under what."""


def merge_catalogs(into: Catalog, other: Catalog, *, replace_models: bool = False) -> Catalog:
    """Return the models of both catalogs, with the measurements of each.

    Parameters
    ----------
    into
        Keeps its host, its device's manifest and, unless asked, its models.
    other
        Adds its models and what was measured for them.
    replace_models
        Let `other`, the newer one, win where both have a model, and in host and manifest.

    Raises
    ------
    ProfileError
        If they are not of one GPU type and device; the message names what differs.
    """
    _check_same_device(into, other)
    first, second = draft_of(into), draft_of(other)
    newer, older = (second, first) if replace_models else (first, second)
    taken = {model.name for model in newer.models}
    left = {model.name for model in older.models} - taken
    return replace(
        newer,
        models=(*newer.models, *(model for model in older.models if model.name in left)),
        device=newer.device if newer.device is not None else older.device,
        measurements=(*newer.measurements, *(row for row in older.measurements if row.model not in taken)),
        start_ups=(*newer.start_ups, *(row for row in older.start_ups if row.model not in taken)),
        interference=(
            *newer.interference,
            *(row for row in older.interference if row.victim.split(":")[0] not in taken),
        ),
    ).catalog()


def _check_same_device(into: Catalog, other: Catalog) -> None:
    for name in ("name", "memory_bytes", "sms"):
        ours, theirs = getattr(into.gpu, name), getattr(other.gpu, name)
        if ours != theirs:
            raise ProfileError(
                f"gpu: {name}: found {theirs!r} beside {ours!r}, catalogs of one GPU type merge"
            )
    if into.device is None or other.device is None:
        return
    for name in SAME_DEVICE:
        ours, theirs = (next(_entries(device, name), None) for device in (into.device, other.device))
        if ours is not None and theirs is not None and ours != theirs:
            raise ProfileError(
                f"device: {name}: found {theirs!r} beside {ours!r}, catalogs of one device merge"
            )


def _entries(device: Mapping[str, Any], name: str) -> Iterator[str | int | float]:
    """Values under a name in a manifest, outermost first."""
    inner = []
    for key, value in device.items():
        if key == name and isinstance(value, str | int | float):
            yield value
        elif isinstance(value, Mapping):
            inner.append(value)
    for mapping in inner:
        yield from _entries(mapping, name)
