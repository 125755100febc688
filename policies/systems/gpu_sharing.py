"""Systems that differ in how they share a GPU; all else is Dilu's, so that nothing else makes a difference.

Those that do not cap SMs know no limit below the whole GPU; they pack by request alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from policies.horizontal import LazyScaling
from policies.placement import ComplementaryPlacement, ExclusivePlacement, ReplicaPlacement
from policies.routing import AdaptiveBatching
from policies.sizing import ExclusiveSizing, UncappedSizing
from policies.slots import VerticalPolicy
from policies.start_up import PolledStartUp
from policies.systems.bundle import System
from policies.systems.dilu_variants import dilu
from policies.vertical import (
    AntmanDutyCycle,
    GuaranteedTurns,
    OrionInterleaving,
    PartitionedTurns,
    ReefPreemption,
    RoundRobin,
    StaticQuota,
    TgsRates,
)


def exclusive() -> System:
    """Return the system of whole GPUs."""
    return System(
        name="exclusive",
        title="Exclusive GPUs",
        source="Kubernetes device plugin; Dilu, ASPLOS 2025, section 5.1",
        sizing=ExclusiveSizing(),
        placement=ExclusivePlacement(),
        horizontal=LazyScaling(),
        vertical=StaticQuota(),
        routing=AdaptiveBatching(),
        start_up=PolledStartUp(),
        modelled="a whole GPU for each instance and training worker",
    )


def _mps_limit() -> System:
    return dataclasses.replace(
        dilu(),
        name="mps-l",
        title="Static MPS at the limit",
        source="Dilu, ASPLOS 2025, section 5.1; NVIDIA MPS documentation",
        vertical=StaticQuota(quota="limit"),
        modelled="an active-thread percentage for life: Dilu's limit; launches wait where caps overlap",
        left_out="L2, memory bandwidth and PCIe, which MPS does not isolate",
    )


def _mps_request() -> System:
    return dataclasses.replace(
        _mps_limit(),
        name="mps-r",
        title="Static MPS at the request",
        vertical=StaticQuota(quota="request"),
        modelled="an active-thread percentage for life: Dilu's request; an idle share stays unused",
    )


def _uncapped(name: str, title: str, source: str, vertical: VerticalPolicy) -> System:
    return dataclasses.replace(
        dilu(),
        name=name,
        title=title,
        source=source,
        sizing=UncappedSizing(),
        placement=ComplementaryPlacement(gamma=float("inf")),
        vertical=vertical,
    )


def _time_slicing() -> System:
    system = _uncapped(
        "time-slicing", "Time slicing", "NVIDIA Kubernetes device plugin, time-slicing replicas", RoundRobin()
    )
    return dataclasses.replace(
        system,
        placement=ReplicaPlacement(),
        modelled="equal turns of whoever is busy, a loss by switching, a bound on memory",
        left_out="out-of-memory faults of unplanned growth; single slices (turns are fluid)",
    )


def _tgs() -> System:
    system = _uncapped("tgs", "TGS", "Wu et al., NSDI 2023; pkusys/TGS @e1c6a31", TgsRates())
    return dataclasses.replace(
        system,
        modelled="one production job a GPU, the rate limit of all others every 5 s (AIMD with slow start)",
        left_out="unified memory and its page swaps; rates are launch cycles, not thread blocks",
    )


def _antman() -> System:
    system = _uncapped("antman", "AntMan", "Xiao et al., OSDI 2020", AntmanDutyCycle())
    return dataclasses.replace(
        system,
        modelled="a duty cycle of training by the inflation of its neighbours' cycles",
        left_out="memory that moves to the host; the sleep after each mini-batch acts as a share",
    )


def _kubeshare() -> System:
    return dataclasses.replace(
        dilu(),
        name="kubeshare",
        title="KubeShare",
        source="Yeh et al., HPDC 2020; Gemini; NTHU-LSALAB/KubeShare, NTHU-LSALAB/Gemini",
        vertical=GuaranteedTurns(),
        modelled="one time token a GPU, request and limit as shares of time, half a turn's wait for a batch",
        left_out="single grants and quotas that adapt to bursts (turns are fluid); KubeShare's own placement",
    )


def _fast_gs() -> System:
    return dataclasses.replace(
        dilu(),
        name="fast-gs",
        title="FaST-GShare",
        source="Gu et al., ICPP 2023; as in Dilu, ASPLOS 2025, section 5.1 (SM partitions of MPS-l)",
        vertical=PartitionedTurns(),
        modelled="SM partitions, and time tokens that partitions which fit hold together",
        left_out="the overhead of its CUDA events; Dilu's settings of its windows are not published",
    )


def _orion() -> System:
    system = _uncapped("orion", "Orion", "Strati et al., EuroSys 2024; eth-easl/orion", OrionInterleaving())
    return dataclasses.replace(
        system,
        modelled="training runs in idle time, and beside serving for the kernels that complement it",
        left_out="single kernels and their profiles: the fraction that complements is one assumed number",
    )


def _reef() -> System:
    system = _uncapped("reef", "REEF", "Han et al., OSDI 2022; SJTU-IPADS/reef", ReefPreemption())
    return dataclasses.replace(
        system,
        modelled="training is pre-empted within microseconds and pads the SMs that serving leaves",
        left_out="kernels that are not idempotent and work that is lost; it needs open drivers (AMD)",
    )


SYSTEMS: dict[str, Callable[[], System]] = {
    "exclusive": exclusive,
    "mps-l": _mps_limit,
    "mps-r": _mps_request,
    "time-slicing": _time_slicing,
    "tgs": _tgs,
    "antman": _antman,
    "kubeshare": _kubeshare,
    "fast-gs": _fast_gs,
    "orion": _orion,
    "reef": _reef,
}
