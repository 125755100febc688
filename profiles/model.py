"""What one model costs on one type of GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from profiles.capacity import Capacity, Prefill
from profiles.errors import ProfileError
from profiles.provenance import Provenance
from profiles.startup import StartUp
from profiles.surface import LatencySurface
from profiles.training import TrainingProfile

ModelKind = Literal["inference", "llm"]
Measure = Callable[[int, float], float]
"""Seconds of one batch (one decode step of an LLM, one training step) at (batch, share)."""


@dataclass(frozen=True, slots=True)
class GpuType:
    """A type of GPU: device memory in bytes and number of streaming multiprocessors."""

    name: str
    memory_bytes: int
    sms: int


@dataclass(frozen=True)
class ModelProfile:
    """What serving, starting and training one model costs on one type of GPU.

    Attributes
    ----------
    kind
        `inference` answers in one pass; `llm` in one decode step a token, its latencies are per output token.
    latency
        Seconds of one batch (`llm`: of one decode step) over (batch, share).
    slo_s
        Default latency target of a request (`llm`: of an output token). Seconds.
    output_tokens
        Tokens of an answer, unless a trace says otherwise; 1 for `inference`.
    max_batch
        Largest batch that was profiled, and that sizing may choose.
    memory_bytes, weights_bytes
        Device memory of one serving instance, and the part of it that is weights.
    launches
        Kernel launches of one batch (`llm`: of one decode step).
    wave_s
        Mean wait of a co-resident's kernel behind a running wave of this model when it serves. Seconds.
    startup
        The parts of a cold start.
    training
        What training costs; `None` where the model is only served.
    capacity
        What a launch gate charges for a batch; `None` where it was not measured.
    prefill
        What the prompt of an `llm` costs; `None` where it was not measured.
    provenance
        The origin of every value above, by its path in the profile (`slo_s`, `training.batch`, ...).
    """

    name: str
    kind: ModelKind
    latency: LatencySurface
    slo_s: float
    output_tokens: int
    max_batch: int
    memory_bytes: int
    weights_bytes: int
    launches: int
    wave_s: float
    startup: StartUp
    training: TrainingProfile | None = None
    capacity: Capacity | None = None
    prefill: Prefill | None = None
    provenance: Mapping[str, Provenance] = field(default_factory=dict, compare=False, repr=False)

    def measure(self, batch: int, share: float) -> float:
        """Seconds of one batch as a profiling run finds them: the raw point if any, else the surface.

        Raises
        ------
        ProfileError
            If `batch < 1` or `share` is not in (0, 1].
        """
        measured = self.latency.measured(batch, share)
        return measured if measured is not None else self.latency.seconds(batch, share)

    def measurement(self, kind: Literal["inference", "llm", "training"]) -> Measure:
        """Return what sizing a function of this kind measures: `measure`, or the step time of the training.

        Raises
        ------
        ProfileError
            If `kind` is `training` and the profile has none.
        """
        if kind != "training":
            return self.measure
        if self.training is None:
            raise ProfileError(f"{self.name}: training: found none, the profile only describes serving")
        return self.training.measure

    def extrapolation(self) -> str | None:
        """Say what was asked for outside the ranges the profile was fitted on, furthest out; `None`: nothing.

        It covers all questions of this process since `forget`. A raw point is no extrapolation.
        """
        step = self.training.step.extrapolation() if self.training is not None else None
        said = [words for words in (self.latency.extrapolation(), step and f"training {step}") if words]
        return "; ".join(said) or None

    def forget(self) -> None:
        """Forget what was asked so far."""
        self.latency.forget()
        if self.training is not None:
            self.training.step.forget()
