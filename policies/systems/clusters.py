"""Systems that differ in how they scale, place and keep instances over a cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

from policies.horizontal import (
    EagerScaling,
    HasGpuScaling,
    KnativeScaling,
    KubernetesScaling,
    ResidualRateScaling,
)
from policies.keep_alive import FixedKeepAlive, GreedyDual, HybridHistogram, LongShortHistogram
from policies.placement import (
    AlignedRows,
    FragmentationGradient,
    InflessChoices,
    InflessPlacement,
    MemoryPlacement,
    RectanglePlacement,
)
from policies.routing import AdaptiveBatching, AlphaDispatcher
from policies.sizing import NonUniformSizing, StaticSizing, TimeQuotaSizing, UncappedSizing
from policies.start_up import PolledStartUp, SwapStartUp
from policies.systems.bundle import System
from policies.systems.dilu_variants import dilu
from policies.systems.gpu_sharing import exclusive
from policies.vertical import OneAtATime, PartitionedTurns, RowQuotas, StaticQuota


def _knative() -> System:
    return dataclasses.replace(
        exclusive(),
        name="knative",
        title="Knative on whole GPUs",
        source="knative/serving, autoscaler defaults",
        horizontal=KnativeScaling(),
        modelled="stable and panic windows on requests per second, scale to zero where the minimum is 0",
        left_out="the activator's own queue; metrics of concurrency",
    )


def _kubernetes() -> System:
    return dataclasses.replace(
        exclusive(),
        name="kubernetes",
        title="Kubernetes on whole GPUs",
        source="Kubernetes documentation, Horizontal Pod Autoscaler",
        horizontal=KubernetesScaling(),
        modelled="the ratio of metric and target every 15 s, its tolerance, and 300 s of stabilisation",
        left_out="several metrics; missing ones; scaling policies other than the defaults",
    )


def _openwhisk() -> System:
    return dataclasses.replace(
        _infless_static("limit"),
        name="openwhisk",
        title="Fixed keep-alive",
        source="Apache OpenWhisk, default idle time of 10 min",
        keep_alive=FixedKeepAlive(),
        modelled="as many instances as the rate needs, each kept for 10 min after its last batch",
        left_out="",
    )


def _hybrid_histogram() -> System:
    return dataclasses.replace(
        _infless_static("limit"),
        name="hybrid-histogram",
        title="Hybrid histogram",
        source="Shahrad et al., ATC 2020, section 4",
        keep_alive=HybridHistogram(),
        modelled="pre-warm and keep-alive windows from the histogram of idle times",
        left_out="ARIMA, for which an exponentially weighted mean stands in",
    )


def _faascache() -> System:
    return dataclasses.replace(
        _infless_static("limit"),
        name="faascache",
        title="FaasCache",
        source="Fuerst and Sharma, ASPLOS 2021; aFuerst/faascache-sim",
        keep_alive=GreedyDual(),
        modelled="no expiry; the idle instance of least greedy-dual priority makes room for a launch",
        left_out="",
    )


def _infless() -> System:
    return dataclasses.replace(
        _infless_static("limit"),
        name="infless+",
        title="INFless+",
        source="Yang et al., ASPLOS 2022; TankLabTJU/INFless; training as in Dilu, ASPLOS 2025, section 5.1",
        sizing=NonUniformSizing(),
        placement=InflessChoices(),
        horizontal=ResidualRateScaling(by_choices=True),
        routing=AlphaDispatcher(),
        modelled=(
            "instances of several sizes chosen with their GPU, scale-out by the residual rate, rates split "
            "between r_low and r_up, keep-alive and pre-warming by LSTH"
        ),
        left_out="CPU shares and CPU-only instances; queues of single instances (a function has one queue)",
    )


def _infless_static(quota: Literal["request", "limit"]) -> System:
    return System(
        name=f"infless+-{quota[0]}",
        title=f"INFless+ with {quota} quotas",
        source="Yang et al., ASPLOS 2022, extended to training as in Dilu, ASPLOS 2025, sections 5.1 and 5.4",
        sizing=StaticSizing(quota=quota),
        placement=InflessPlacement(),
        horizontal=ResidualRateScaling(),
        keep_alive=LongShortHistogram(),
        vertical=StaticQuota(),
        routing=AdaptiveBatching(newest_idle_first=True),
        start_up=PolledStartUp(),
        modelled=f"Dilu's {quota} as the static quota, best fit on SM, scale-out by rate, LSTH",
        left_out="INFless's own sizes and batching: Dilu's testbed has all systems run its servers",
    )


def _fast_gs_plus() -> System:
    return dataclasses.replace(
        dilu(),
        name="fast-gs+",
        title="FaST-GShare+",
        source="Gu et al., ICPP 2023; extended to training as in Dilu, ASPLOS 2025, section 5.1",
        placement=RectanglePlacement(),
        horizontal=EagerScaling(),
        vertical=PartitionedTurns(),
        modelled="time x SM rectangles in maximal free ones, eager scale-out, least efficient out first",
        left_out="weights shared by the instances of a function on one GPU; one size a function",
    )


def _has_gpu() -> System:
    return dataclasses.replace(
        dilu(),
        name="has-gpu",
        title="HAS-GPU",
        source="Gu et al., Euro-Par 2025; KontonGu/HAS-GPU",
        sizing=TimeQuotaSizing(),
        placement=AlignedRows(),
        horizontal=HasGpuScaling(),
        vertical=RowQuotas(),
        modelled="Kalman-filtered rates, time quotas in steps of 10 % before instances, two SM rows a GPU",
        left_out="its latency predictor RaPP; quotas of single pods (all of a function move together)",
    )


def _fgd() -> System:
    return dataclasses.replace(
        dilu(),
        name="fgd",
        title="Fragmentation gradient descent",
        source="Weng et al., ATC 2023; hkust-adsl/kubernetes-scheduler-simulator",
        placement=FragmentationGradient(),
        vertical=StaticQuota(quota="request"),
        modelled="the GPU whose expected fragments grow least, by the instances that are typical now",
        left_out="CPU and memory of nodes; everything but placement is Dilu's, at static requests",
    )


def _torpor() -> System:
    return dataclasses.replace(
        dilu(),
        name="torpor",
        title="Torpor",
        source="Yu et al., ATC 2025 (FaaSwap)",
        sizing=UncappedSizing(),
        placement=MemoryPlacement(),
        horizontal=ResidualRateScaling(),
        keep_alive=GreedyDual(rank="lru"),
        vertical=OneAtATime(),
        start_up=SwapStartUp(),
        modelled="models wait in host memory: a start is a swap; GPU memory is a cache; one runs at a time",
        left_out="late binding and its order of requests (RRC); PCIe and NVLink as shared links",
    )


SYSTEMS: dict[str, Callable[[], System]] = {
    "knative": _knative,
    "kubernetes": _kubernetes,
    "openwhisk": _openwhisk,
    "hybrid-histogram": _hybrid_histogram,
    "faascache": _faascache,
    "infless+": _infless,
    "infless+-l": lambda: _infless_static("limit"),
    "infless+-r": lambda: _infless_static("request"),
    "fast-gs+": _fast_gs_plus,
    "has-gpu": _has_gpu,
    "fgd": _fgd,
    "torpor": _torpor,
}
