"""What this package raises for bad input, and how it says what would have been right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ExperimentError(ValueError):
    """A bad experiment in one line: file and line, field, what was found, what is allowed."""


def nearest(found: str, allowed: Iterable[str]) -> str:
    """Say what is allowed instead of a name: the nearest one first, if one is near."""
    names = list(allowed)
    near = difflib.get_close_matches(found, names, n=1)
    listed = f"allowed are {', '.join(names)}" if names else "none is allowed here"
    return f"did you mean {near[0]!r}? {listed}" if near else listed
