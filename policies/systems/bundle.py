"""A system: a frozen bundle of policies, one a slot."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args, get_type_hints

from policies.functions import PolicyError
from policies.slots import (
    HorizontalPolicy,
    KeepAlivePolicy,
    PlacementPolicy,
    RoutingPolicy,
    SizingPolicy,
    StartUpPolicy,
    VerticalPolicy,
)

SLOTS = ("sizing", "placement", "horizontal", "keep_alive", "vertical", "routing", "start_up")


@dataclass(frozen=True, slots=True)
class System:
    """A named bundle of policies, one a slot; without `keep_alive` only scaling in retires instances.

    `modelled` and `left_out` say what of the published system is here and what is not, for `dilu systems`.
    """

    name: str
    title: str
    source: str
    sizing: SizingPolicy
    placement: PlacementPolicy
    horizontal: HorizontalPolicy
    vertical: VerticalPolicy
    routing: RoutingPolicy
    start_up: StartUpPolicy
    keep_alive: KeepAlivePolicy | None = None
    modelled: str = ""
    left_out: str = ""

    def with_config(self, changes: Mapping[str, object]) -> System:
        """Return the system with some policy constants changed, e.g. `{"placement.gamma": 2.0}`.

        Raises
        ------
        PolicyError
            If a key names no slot, or no constant of the policy in it, or a value has another type.
        """
        by_slot: dict[str, dict[str, object]] = {}
        for key, value in changes.items():
            slot, _, constant = key.partition(".")
            if slot not in SLOTS:
                raise PolicyError(f"{key}: found slot {slot!r}, allowed are {', '.join(SLOTS)}")
            by_slot.setdefault(slot, {})[constant] = _checked(getattr(self, slot), key, constant, value)
        # All constants of a slot at once: they may be allowed together only.
        changed = {slot: _changed(getattr(self, slot), slot, values) for slot, values in by_slot.items()}
        return dataclasses.replace(self, **changed)

    def describe(self) -> dict[str, str]:
        """Return what fills each slot, with its constants, one line each."""
        return {slot: _described(getattr(self, slot)) for slot in SLOTS}


def _changed(policy: Any, slot: str, values: Mapping[str, object]) -> Any:
    try:
        return dataclasses.replace(policy, **values)
    except ValueError as error:
        keys = ", ".join(f"{slot}.{constant}" for constant in values)
        raise PolicyError(f"{keys}: {error}") from None


def _checked(policy: Any, key: str, constant: str, value: object) -> object:
    """Return the value of a constant, if there is such a constant and it may be of this type."""
    if policy is None:
        raise PolicyError(f"{key}: found no policy in this slot of the system, so none has constants")
    constants = {f.name: getattr(policy, f.name) for f in fields(policy)}
    if constant not in constants:
        near = difflib.get_close_matches(constant, constants, n=1)
        mend = f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(constants) or 'none'}"
        raise PolicyError(f"{key}: found no constant {constant!r} in {type(policy).__name__}; {mend}")
    present = constants[constant]
    if isinstance(present, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if present is not None and type(value) is not type(present):
        kind = type(present).__name__
        raise PolicyError(f"{key}: found {value!r}, allowed is {present!r} or another {kind}")
    choices = get_args(get_type_hints(type(policy))[constant]) if isinstance(present, str) else ()
    if choices and value not in choices:
        raise PolicyError(f"{key}: found {value!r}, allowed are {', '.join(choices)}")
    return value


def _described(policy: object) -> str:
    if policy is None:
        return "none"
    summary = (inspect.getdoc(type(policy)) or "").split("\n", 1)[0].rstrip(".")
    constants = ", ".join(f"{f.name}={getattr(policy, f.name)!r}" for f in fields(policy))  # type: ignore[arg-type]
    return f"{type(policy).__name__}({constants}): {summary}"
