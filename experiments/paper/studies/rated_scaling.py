"""Horizontal policies that hold load against the throughput that somebody stated, as Dilu's testbed does.

The testbed does not scale by what a model was profiled to serve: its deployment scripts state requests a
second for each function, far fewer than the published profile has (RoBERTa-large: 48 against 117 at its
request). Bursts meet that reserve first. Everything else is the policy that each of these stands for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from policies.horizontal import EagerScaling, LazyScaling, ResidualRateScaling
from policies.slots import FunctionView, Scaling

STATED_RPS: Final = {"bert-base": 48.0, "llama2-7b": 10.0, "roberta-large": 48.0}
"""Requests a second of an instance (sigserverless/Dilu @1134655, `scheduling/scripts_deploy`)."""


class _Rated:
    """A function as the world shows it, but for its throughput."""

    __slots__ = ("_function", "throughput_rps")

    def __init__(self, function: FunctionView, throughput_rps: float) -> None:
        self._function = function
        self.throughput_rps = throughput_rps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)


def _rated(function: FunctionView, throughput_rps: float | None) -> FunctionView:
    """Show a function with the throughput that is given, else that of the scripts, else its profile's."""
    if throughput_rps is None:
        throughput_rps = STATED_RPS.get(function.model)
    return function if throughput_rps is None else cast(FunctionView, _Rated(function, throughput_rps))


@dataclass(frozen=True, slots=True)
class RatedLazyScaling(LazyScaling):
    """Dilu's lazy scaling, by stated throughput; without `throughput_rps` by that of the scripts."""

    throughput_rps: float | None = None

    def scale(self, function: FunctionView) -> Scaling:
        """Decide as the lazy policy would of a function that serves so much."""
        return LazyScaling.scale(self, _rated(function, self.throughput_rps))


@dataclass(frozen=True, slots=True)
class RatedEagerScaling(EagerScaling):
    """FaST-GS+'s eager scaling, by stated throughput; without `throughput_rps` by that of the scripts."""

    throughput_rps: float | None = None

    def scale(self, function: FunctionView) -> Scaling:
        """Decide as the eager policy would of a function that serves so much."""
        return EagerScaling.scale(self, _rated(function, self.throughput_rps))


@dataclass(frozen=True, slots=True)
class RatedResidualScaling(ResidualRateScaling):
    """INFless's residual rate, by stated throughput; without `throughput_rps` by that of the scripts."""

    throughput_rps: float | None = None

    def scale(self, function: FunctionView) -> Scaling:
        """Decide as the residual rate would of a function that serves so much."""
        return ResidualRateScaling.scale(self, _rated(function, self.throughput_rps))
