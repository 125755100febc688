"""Dilu's kernel manager with a budget of tokens that does not match the GPU (MaxTokens, section 3.4).

In the simulated world a quota is a share of the GPU: the tokens of a period, R, over those that the GPU works
off in one. With a budget that is `max_tokens` times that, every R of Algorithm 2 is `max_tokens` times as
large, and beyond the whole GPU tokens bind nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from policies.slots import GpuView, Grant, ResidentView
from policies.vertical import Rckm


class _Budgeted:
    """A resident as the world shows it, but in tokens of another budget: request, limit and the last R."""

    __slots__ = ("_resident", "limit", "quota", "request")

    def __init__(self, resident: ResidentView, max_tokens: float, granted: Mapping[int, float]) -> None:
        self._resident = resident
        self.request = max_tokens * resident.request
        self.limit = max_tokens * resident.limit
        self.quota = granted.get(resident.instance, self.request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resident, name)


@dataclass(frozen=True, slots=True)
class _BudgetedGpu:
    """A GPU whose residents are budgeted."""

    residents: tuple[ResidentView, ...]
    memory: object


@dataclass(frozen=True, slots=True)
class BudgetedRckm(Rckm):
    """The kernel manager with another budget of tokens; its memory are also the tokens granted last.

    Attributes
    ----------
    max_tokens
        MaxTokens over the tokens that the GPU works off in a period; 1 is calibrated.
    """

    max_tokens: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.max_tokens < float("inf"):
            raise ValueError(f"found {self.max_tokens}, allowed are finite numbers above 0")

    def first_quota(self, resident: ResidentView) -> float:
        """Return the tokens of the request."""
        return min(1.0, self.max_tokens * resident.request)

    def decide(self, gpu: GpuView) -> Grant:
        """One period of Algorithm 2 in tokens of this budget; what exceeds the GPU is the whole GPU."""
        memory, granted = gpu.memory if isinstance(gpu.memory, tuple) else (None, ())
        last = dict(granted)
        residents = tuple(
            cast(ResidentView, _Budgeted(resident, self.max_tokens, last)) for resident in gpu.residents
        )
        grant = Rckm.decide(self, _BudgetedGpu(residents, memory))
        tokens = tuple((one.instance, quota) for one, quota in zip(residents, grant.quotas, strict=True))
        quotas = tuple(min(1.0, quota) for quota in grant.quotas)
        return grant._replace(quotas=quotas, memory=(grant.memory, tokens))
