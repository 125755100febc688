"""Hands for the tests of the controller: a board that a test writes, and policies of known rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from policies import Function
from policies.slots import ALWAYS_CALM, GpuView, Grant, ResidentView
from policies.still_views import StillGpu, StillResident
from profiles import LatencySurface, ModelProfile, StartUp, StepCurve, TrainingProfile
from profiles.sharing import LAUNCH_TOKENS, Sharing
from realgpu.board import Board
from realgpu.control import Place, SitDown

MS = 1_000_000
GIB = 2**30

MODEL = ModelProfile(
    name="model",
    kind="inference",
    latency=LatencySurface(0.0, 0.0, 0.0, 0.010, 50.0),
    slo_s=1.0,
    output_tokens=1,
    max_batch=64,
    memory_bytes=GIB,
    weights_bytes=GIB,
    launches=10,
    wave_s=1e-5,
    startup=StartUp(0.0, 0.0, 0.0, 0, 1.0, 0.0),
    training=TrainingProfile(1, 1, GIB, 10, 1e-5, StepCurve(0.0, 0.1, 50.0)),
)
"""Serves in 10 ms on the whole GPU, in 10 ms / share on less."""

SERVING = Function("serving", "inference", MODEL, GIB, slo_s=1.0)
LLM = Function("llm", "llm", MODEL, GIB, slo_s=1.0)
TRAINING = Function("training", "training", MODEL, GIB)
FUNCTIONS = (SERVING, LLM, TRAINING)


def seen(gpu: GpuView) -> StillGpu:
    """Return what a policy sees of a GPU, as plain values."""
    names = StillResident.__dataclass_fields__
    residents = (StillResident(**{name: getattr(one, name) for name in names}) for one in gpu.residents)
    return StillGpu(tuple(residents), gpu.memory)


@dataclass
class Scripted:
    """A vertical policy that records what it sees, and answers by a rule."""

    answer: Callable[[StillGpu], Grant] | None = None
    first: float = 0.25
    tick_s: float | None = 0.005
    window_s: float = 0.1
    cycle_baseline: Any = "uncontended"
    sharing: Sharing = LAUNCH_TOKENS
    views: list[StillGpu] = field(default_factory=list)

    def first_quota(self, resident: ResidentView) -> float:
        """Return what was set."""
        return self.first

    def decide(self, gpu: GpuView) -> Grant:
        """Record the view; by default leave all as it is."""
        view = seen(gpu)
        self.views.append(view)
        if self.answer is not None:
            return self.answer(view)
        quotas = tuple(resident.quota for resident in view.residents)
        return Grant(quotas, view.memory, (ALWAYS_CALM,) * len(quotas), settled=True)


def newcomer(instance: int, function: int, *rows: int, gpu: int = 0, **values: Any) -> SitDown:
    """Return an instance that sits in these rows, on GPUs from `gpu` on."""
    part = values.pop("part", 1.0)
    request, limit = values.pop("request", 0.3), values.pop("limit", 0.6)
    places = tuple(Place(row, gpu + n, request, limit, part, "seat") for n, row in enumerate(rows))
    return SitDown(instance, function, 4, places, **values)


def work(board: Board, row: int, *, active: int = 1, last_ns: int = 0) -> None:
    """Write what a worker would: that it launches, or when it last did."""
    board.seats["active"][row] = active
    board.seats["last_active_ns"][row] = last_ns


def complete(board: Board, row: int, cycle_s: float, batch: int = 1, count: int = 1) -> None:
    """Write what a worker would: that cycles were completed, and the latest of them."""
    board.seats["cycle_s"][row] = cycle_s
    board.seats["cycle_batch"][row] = batch
    board.seats["cycles"][row] += count
