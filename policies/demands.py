"""What the conformance suite is made of: demands that name the breach, and decisions that must repeat."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np


def demand(holds: bool, policy: object, method: str, breach: str, view: object = None) -> None:
    """Raise an `AssertionError` that names the breach, unless it `holds`."""
    if not holds:
        seen = "" if view is None else f"; it was shown {view}"
        raise AssertionError(f"{type(policy).__name__}.{method}: {breach}{seen}")


def demand_bools(policy: object, *names: str) -> None:
    """Demand that these members are booleans."""
    for name in names:
        value = getattr(policy, name)
        demand(isinstance(value, bool), policy, name, f"is {value!r}, not a bool")


def decision(
    policy: object, method: str, *view: Any, shown: object = None, refusal: type[Exception] = AssertionError
) -> Any:
    """Ask twice, and then a copy: the same view gets the same decision, or the same `refusal`."""
    shown = shown or view[0]
    copy = pickle.loads(pickle.dumps(policy))
    try:
        first, again, copied = (getattr(asked, method)(*view) for asked in (policy, policy, copy))
    except (AssertionError, refusal):
        raise
    except Exception as error:
        breach = f"{type(policy).__name__}.{method}: raised {error!r}; it was shown {shown}"
        raise AssertionError(breach) from error
    demand(_same(first, again), policy, method, f"said {first}, and then {again} of the same view", shown)
    demand(_same(first, copied), policy, method, f"said {first}, but its copy said {copied}", shown)
    return first


def _same(one: Any, other: Any) -> bool:
    """Whether two decisions are equal; NaN is a repeated decision too, and for the caller to judge."""
    return bool(one == other) or bool(one != one and other != other)


def is_count(value: object, least: int) -> bool:
    """Whether this is a whole number from `least`."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)
