"""Dilu, its public code, and the ablations of its paper (ASPLOS 2025, Fig. 15)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from policies.horizontal import LazyScaling
from policies.placement import ComplementaryPlacement
from policies.routing import AdaptiveBatching
from policies.sizing import DiluSizing
from policies.start_up import PolledStartUp
from policies.systems.bundle import System
from policies.vertical import Rckm, RckmReference, StaticQuota
from profiles.sharing import LAUNCH_TOKENS


def dilu() -> System:
    """Return Dilu as in its paper, mended where that is not sound (see `policies.vertical.rckm`)."""
    return System(
        name="dilu",
        title="Dilu",
        source="Lv et al., ASPLOS 2025, arXiv 2503.05130, sections 3.1 to 3.5",
        sizing=DiluSizing(),
        placement=ComplementaryPlacement(),
        horizontal=LazyScaling(),
        vertical=Rckm(),
        routing=AdaptiveBatching(),
        start_up=PolledStartUp(),
        modelled="growth search, complementary placement with LLM splits, tokens every 5 ms, lazy scaling",
        left_out="overhead of the interception library (0.3 to 1.3 % in Fig. 11)",
    )


def dilu_reference() -> System:
    """Return Dilu as its public code does it."""
    return dataclasses.replace(
        dilu(),
        name="dilu-reference",
        title="Dilu as its public code does it",
        source="sigserverless/Dilu @1134655",
        placement=ComplementaryPlacement(
            llm_fit="worst", split_order="fullest", split_limit="request", training_fit="first"
        ),
        horizontal=LazyScaling(strict_in=False),
        vertical=RckmReference(),
        modelled="the budget for training that cycles divide and multiply; the code's placement and scale-in",
        left_out="faults of the code: one budget for all GPUs of a node, the hole in its test of idleness",
    )


def _without_complementarity() -> System:
    return dataclasses.replace(
        dilu(),
        name="dilu-rc",
        title="Dilu without resource complementarity",
        source="Lv et al., ASPLOS 2025, section 5.4, Fig. 15 (-RC)",
        placement=ComplementaryPlacement(complementary=False),
        modelled="first fit instead of best fit by complementary fragments; no LLM over several GPUs",
        left_out="",
    )


def _without_affinity() -> System:
    return dataclasses.replace(
        dilu(),
        name="dilu-wa",
        title="Dilu without workload affinity",
        source="Lv et al., ASPLOS 2025, section 5.4, Fig. 15 (-WA)",
        placement=ComplementaryPlacement(affinity=False),
        modelled="inference is not drawn to the other workers of training jobs that it slows already",
        left_out="",
    )


def _without_vertical_scaling() -> System:
    return dataclasses.replace(
        dilu(),
        name="dilu-vs",
        title="Dilu without vertical scaling",
        source="Lv et al., ASPLOS 2025, section 5.4, Fig. 15 (-VS)",
        vertical=StaticQuota(quota="request", sharing=LAUNCH_TOKENS),
        modelled="tokens for the request, for as long as an instance lives",
        left_out="",
    )


SYSTEMS: dict[str, Callable[[], System]] = {
    "dilu": dilu,
    "dilu-reference": dilu_reference,
    "dilu-rc": _without_complementarity,
    "dilu-wa": _without_affinity,
    "dilu-vs": _without_vertical_scaling,
}
