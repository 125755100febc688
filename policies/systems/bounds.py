"""Bounds that no real policy can beat that keeps to the same limits.

The bound on GPUs needs no policy: every run reports it (`gpus_bound` of its summary).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from policies.systems.bundle import System
from policies.systems.dilu_variants import dilu
from policies.vertical import PerfectSharing


def _oracle() -> System:
    return dataclasses.replace(
        dilu(),
        name="oracle",
        title="Perfect vertical scaling",
        source="a bound: no delay, demand known",
        vertical=PerfectSharing(),
        modelled=(
            "serving instances have their limit the moment a batch begins, training all that is left, and "
            "nobody is in anybody's way: with Dilu's sizes and places, no policy that keeps to the limits "
            "finishes a batch sooner, and none gives training more without delaying one"
        ),
        left_out="better sizes and places, sharing without limits; every summary has the bound on GPUs",
    )


SYSTEMS: dict[str, Callable[[], System]] = {"oracle": _oracle}
