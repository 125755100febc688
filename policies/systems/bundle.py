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
        system = self
        for key, value in changes.items():
            slot, _, constant = key.partition(".")
            if slot not in SLOTS:
                raise PolicyError(f"{key}: found slot {slot!r}, allowed are {', '.join(SLOTS)}")
            policy = getattr(system, slot)
            system = dataclasses.replace(system, **{slot: _changed(policy, key, constant, value)})
        return system

    def describe(self) -> dict[str, str]:
        """Return what fills each slot, with its constants, one line each."""
        return {slot: _described(getattr(self, slot)) for slot in SLOTS}


def _changed(policy: Any, key: str, constant: str, value: object) -> Any:
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
    try:
        return dataclasses.replace(policy, **{constant: value})
    except ValueError as error:
        raise PolicyError(f"{key}: {error}") from None


def _described(policy: object) -> str:
    if policy is None:
        return "none"
    summary = (inspect.getdoc(type(policy)) or "").split("\n", 1)[0].rstrip(".")
    constants = ", ".join(f"{f.name}={getattr(policy, f.name)!r}" for f in fields(policy))  # type: ignore[arg-type]
    return f"{type(policy).__name__}({constants}): {summary}"
