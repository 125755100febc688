"""The named systems, and how they are found."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from policies.functions import PolicyError
from policies.systems import bounds, clusters, dilu_variants, gpu_sharing
from policies.systems.bundle import System

_SYSTEMS: dict[str, Callable[[], System]] = {
    **gpu_sharing.SYSTEMS,
    **clusters.SYSTEMS,
    **dilu_variants.SYSTEMS,
    **bounds.SYSTEMS,
}


def system_names() -> tuple[str, ...]:
    """Names of the systems: rivals first, then Dilu and its variants, then bounds."""
    return tuple(_SYSTEMS)


def find_system(name: str) -> System:
    """Return the named system; an unknown name raises `PolicyError` with the nearest valid one."""
    if name not in _SYSTEMS:
        near = difflib.get_close_matches(name, _SYSTEMS, n=1)
        mend = f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(_SYSTEMS)}"
        raise PolicyError(f"system: found {name!r}; {mend}")
    return _SYSTEMS[name]()
