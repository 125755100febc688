"""What the parameters of transforms and rules may be: strict kinds, and the nearest name for a wrong one."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable

import numpy as np

from traces.errors import TraceError, shown


def number(found: object, field: str, holds: Callable[[float], bool], allowed: str) -> float:
    """Return a finite number for which `holds` is true; `allowed` says in words which those are.

    Raises
    ------
    TraceError
        For anything else: a truth value, a text, NaN and infinity are no numbers.
    """
    is_number = isinstance(found, int | float | np.integer | np.floating) and not isinstance(found, bool)
    try:
        value = float(found) if is_number else math.nan  # type: ignore[arg-type]
    except OverflowError:  # an integer of more than 308 digits
        value = math.inf
    if not (math.isfinite(value) and holds(value)):
        raise TraceError(f"found {shown(found)}, allowed is {allowed}", field=field)
    return value


def positive(found: object, field: str) -> float:
    """Return a finite number above 0, or raise `TraceError`."""
    return number(found, field, lambda value: value > 0, "a finite number above 0")


def whole(found: object, field: str, least: int) -> int:
    """Return an integer from `least`, or raise `TraceError`."""
    if isinstance(found, bool) or not isinstance(found, int | np.integer) or found < least:
        raise TraceError(f"found {shown(found)}, allowed are integers from {least}", field=field)
    return int(found)


def nearest(found: object, allowed: Iterable[str]) -> str:
    """Return the end of a message that names what was probably meant, empty if nothing is near."""
    near = difflib.get_close_matches(str(found), list(allowed), n=1)
    return f"; did you mean {shown(near[0])}?" if near else ""
