"""What a cold start costs, part by part."""

from __future__ import annotations

import math
from dataclasses import dataclass

from profiles.errors import ProfileError


@dataclass(frozen=True, slots=True)
class StartUp:
    """The parts of a cold start, in the order they happen.

    Attributes
    ----------
    container_s, runtime_s, context_s
        Sandbox from a local image, import of the framework, creation of the CUDA context. Seconds.
    weights_bytes, bandwidth_bytes_per_s
        Weights to bring to the device, and the bandwidth of where they lie.
    warm_up_s
        First batches, which load kernels lazily. Seconds.
    """

    container_s: float
    runtime_s: float
    context_s: float
    weights_bytes: int
    bandwidth_bytes_per_s: float
    warm_up_s: float

    def __post_init__(self) -> None:
        for name in ("container_s", "runtime_s", "context_s", "weights_bytes", "warm_up_s"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ProfileError(f"{name}: found {value}, allowed are finite numbers from 0")
        if not 0.0 < self.bandwidth_bytes_per_s < math.inf:
            bandwidth = self.bandwidth_bytes_per_s
            raise ProfileError(
                f"bandwidth_bytes_per_s: found {bandwidth}, allowed are finite numbers above 0"
            )

    @property
    def weights_s(self) -> float:
        """Seconds to bring the weights to the device."""
        return self.weights_bytes / self.bandwidth_bytes_per_s

    def parts(self) -> dict[str, float]:
        """Return the seconds of each part, in order: container, runtime, context, weights, warm_up."""
        return {
            "container": self.container_s,
            "runtime": self.runtime_s,
            "context": self.context_s,
            "weights": self.weights_s,
            "warm_up": self.warm_up_s,
        }

    def seconds(self) -> float:
        """Seconds from the launch of an instance until it is ready."""
        return sum(self.parts().values())
