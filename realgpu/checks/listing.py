"""The checks, in the order of what they are worth, each with what it takes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from realgpu.checks.record import Findings
from realgpu.checks.settings import Settings

Body = Callable[[Findings, Settings], list[str]]
"""Looks, notes what it finds, and returns what is wrong."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check and its cost.

    Attributes
    ----------
    module, name
        Where its body stands; imported only in the process that runs it.
    estimate_s
        What it takes on an H100 host of 16 cores: assumed, until one has run it.
    limit_s
        After so long it is ended.
    needs_device
        Whether there is nothing to see without a GPU.
    """

    name: str
    module: str
    estimate_s: float
    limit_s: float
    needs_device: bool
    question: str


def body_of(module: str, name: str) -> Body:
    """Import a check."""
    found: Any = getattr(importlib.import_module(module), name)
    return cast("Body", found)


_GATE: Final = "realgpu.checks.gate_checks"
_MPS: Final = "realgpu.checks.mps_checks"
_GREEN: Final = "realgpu.checks.green_checks"

CHECKS: Final = (
    Check("inventory", "realgpu.checks.inventory", 15, 120, False, "What is this host?"),
    Check("gate_build", _GATE, 3, 60, False, "Does the launch gate compile, charge and wait?"),
    Check("gate_effective", _GATE, 20, 120, True, "Does the gate see every launch?"),
    Check("mps_start", _MPS, 6, 60, True, "Does a private MPS daemon start and end?"),
    Check("mps_clients", _MPS, 20, 120, True, "What does a percentage give a client?"),
    Check("gate_overhead", _GATE, 15, 90, True, "What does a launch cost under the gate?"),
    Check("gate_rates", _GATE, 12, 90, True, "Does a rate hold a process to its share?"),
    Check("gate_graph", _GATE, 12, 90, True, "Do CUDA graphs pass, and are they charged?"),
    Check("mps_control_texts", _MPS, 8, 60, True, "Are the answers of MPS as we read them?"),
    Check("green_contexts", _GREEN, 15, 90, True, "Which parts of the SMs can be had, how fast?"),
    Check("green_contexts_under_mps", _GREEN, 8, 60, True, "Do two clients' parts overlap?"),
    Check("power_and_clocks", "realgpu.checks.power", 10, 60, True, "Does it keep its clocks under load?"),
    Check("launch_costs", "realgpu.checks.launch_costs", 50, 180, True, "How many launches is a batch?"),
    Check("cold_start", "realgpu.checks.cold_start", 80, 240, True, "What does a start-up consist of?"),
    Check("client_endings", _MPS, 20, 90, True, "Do others survive a client's end?"),
)
"""The last one goes last: what it tries could leave a daemon behind that no longer serves."""


def named(names: list[str]) -> tuple[Check, ...]:
    """Return the checks of these names, in the order of the list.

    Raises
    ------
    ValueError
        If there is none of a name.
    """
    known = [check.name for check in CHECKS]
    for name in names:
        if name not in known:
            raise ValueError(f"check: found {name!r}, allowed are {', '.join(known)}")
    return tuple(check for check in CHECKS if check.name in names)
