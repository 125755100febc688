"""Horizontal scaling: how many instances a function has."""

from policies.horizontal.eager import EagerScaling
from policies.horizontal.has_gpu import HasGpuScaling
from policies.horizontal.knative import KnativeScaling
from policies.horizontal.kubernetes import KubernetesScaling
from policies.horizontal.lazy import LazyScaling
from policies.horizontal.residual import ResidualRateScaling

__all__ = [
    "EagerScaling",
    "HasGpuScaling",
    "KnativeScaling",
    "KubernetesScaling",
    "LazyScaling",
    "ResidualRateScaling",
]
