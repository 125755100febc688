"""The law of contention: what it means for residents of a GPU to be active together.

How they share (`profiles.sharing`) decides three things for each: the SMs it runs on while it runs, how much
longer everything takes because it does not always run, and what it waits for.

*Space.* Quotas cap, they do not reserve: an active resident runs on its quota of the SMs. Where the active
quotas exceed the GPU, all are scaled to fit. And kernels interfere: one waits for blocks of co-residents
that already run on the SMs both may use. An iteration of resident i gets longer by ``n_i * sum_j o_ij * a_j
* w_j``: n_i its kernel launches; o_ij the part of i's SMs that j may use too, 1 without a partition and
``max(0, q_i + q_j - 1) / q_i`` under caps; a_j how busily j launches, its quota when launches are gated,
else 1 while active; w_j the mean wait behind a running wave of j. This is what a token manager sees:
RoBERTa-large's kernel launch cycle grows from 25 to 50 ms beside training (Dilu, ASPLOS 2025, section 3.4),
which no split of SMs explains.

*Time.* Residents take turns on the SMs of their width. Those that are active divide the GPU by weight, each
up to its cap: max-min fairness, so that a resident gets what its weight promises, and more if others leave
it. A batch that begins after a pause takes as long as its part of the time makes it, or its work and
half a turn of the others, whichever is longer; one that follows another has its turn already.

*Priority.* SLO-sensitive residents run as if best-effort ones were not there, but for an intrusion that is
named; the others get what is left.

On top, any model of further interference (`profiles.interference`: caches, memory bandwidth, power) may
stretch everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from profiles.interference import InterferenceModel, Load
from profiles.sharing import PrioritySharing, Sharing, SpaceSharing, TimeSharing

PAUSED = 1e9
"""How much longer work takes that has no part of the GPU: no progress, in numbers that stay finite."""

LEAST_SHARE = 1e-6
"""A smaller share is none."""


class Sharer(Protocol):
    """What the law asks of a resident."""

    slo_sensitive: bool
    request: float
    limit: float
    quota: float
    part: float
    wave_s: float
    model: str
    batch: int


class Terms(NamedTuple):
    """On which terms a resident runs.

    An iteration of `n` launches that takes ``L(share)`` alone takes ``L(share) * stretch + n * delay_s``; a
    batch at least its work and `wait_s`. `alone` is the share it would have if nobody else were active.
    """

    share: float
    alone: float
    stretch: float = 1.0
    delay_s: float = 0.0
    wait_s: float = 0.0

    @property
    def disturbed(self) -> bool:
        """Whether others cost it anything."""
        return self.share != self.alone or self.stretch != 1.0 or self.delay_s > 0.0 or self.wait_s > 0.0


def contention(
    active: Sequence[Sharer], sharing: Sharing, interference: InterferenceModel | None = None
) -> tuple[float, tuple[Terms, ...]]:
    """Return the share of the GPU in use, and the terms of each of the residents that are active together."""
    if isinstance(sharing, SpaceSharing):
        in_use, terms = _in_space(active, sharing)
    elif isinstance(sharing, TimeSharing):
        in_use, terms = _in_turns(active, sharing)
    else:
        in_use, terms = _by_priority(active, sharing)
    at_once = not (isinstance(sharing, TimeSharing) and sharing.width == "gpu")
    if interference is not None and at_once and len(active) > 1:
        terms = _interfered(active, terms, interference)
    return in_use, terms


def _in_space(active: Sequence[Sharer], sharing: SpaceSharing) -> tuple[float, tuple[Terms, ...]]:
    demand = sum(r.part * r.quota for r in active)
    scale = 1.0 if demand <= 1.0 else 1.0 / demand
    rows = []
    for resident in active:
        delay_s = 0.0
        for other in active:
            if other is resident:
                continue
            busy = other.part * (other.quota if sharing.gated else 1.0)
            if sharing.partitioned:
                busy *= max(0.0, resident.quota + other.quota - 1.0) / resident.quota
            delay_s += busy * other.wave_s
        rows.append(Terms(resident.quota * scale, resident.quota, delay_s=delay_s))
    return sum(r.part * row.share for r, row in zip(active, rows, strict=True)), tuple(rows)


def _in_turns(active: Sequence[Sharer], sharing: TimeSharing) -> tuple[float, tuple[Terms, ...]]:
    widths = [1.0 if sharing.width == "gpu" else r.limit for r in active]
    caps = [
        r.part * (r.quota if sharing.caps == "all" or not r.slo_sensitive else width)
        for r, width in zip(active, widths, strict=True)
    ]
    weights = [1.0 if sharing.weights == "equal" else r.request for r in active]
    crowded = len(active) > 1
    capacity = 1.0 - sharing.switch_loss if crowded else 1.0
    areas = fair_division(weights, caps, capacity)
    paces = [area / (r.part * width) for r, area, width in zip(active, areas, widths, strict=True)]
    meet = sum(widths) > 1.0
    rows = []
    for position, width in enumerate(widths):
        wait_s = 0.0
        if crowded and meet:
            others = sum(pace for other, pace in enumerate(paces) if other != position)
            wait_s = 0.5 * sharing.turn_s * min(1.0, others)
        stretch = 1.0 / paces[position] if paces[position] > LEAST_SHARE else PAUSED
        rows.append(Terms(width, width, stretch=stretch, wait_s=wait_s))
    return sum(areas), tuple(rows)


def _by_priority(active: Sequence[Sharer], sharing: PrioritySharing) -> tuple[float, tuple[Terms, ...]]:
    served = sum(r.part * r.quota for r in active if r.slo_sensitive)
    best_effort = sum(r.part * r.quota for r in active if not r.slo_sensitive)
    scale = 1.0 if served <= 1.0 else 1.0 / served
    left = 1.0 if not served or sharing.beside == "fraction" else max(0.0, 1.0 - served)
    left_scale = 1.0 if best_effort <= left else left / best_effort
    pace = sharing.fraction if served and sharing.beside == "fraction" else 1.0
    rows, in_use = [], 0.0
    for resident in active:
        quota = resident.quota
        if resident.slo_sensitive:
            beside = best_effort > 0.0
            stretch = 1.0 + sharing.intrusion if beside else 1.0
            rows.append(
                Terms(quota * scale, quota, stretch=stretch, wait_s=sharing.preempt_s if beside else 0.0)
            )
            in_use += resident.part * quota * scale
        elif quota * left_scale < LEAST_SHARE or not pace:
            rows.append(Terms(quota, quota, stretch=PAUSED))
        else:
            rows.append(Terms(quota * left_scale, quota, stretch=1.0 / pace))
            in_use += resident.part * quota * left_scale * pace
    return min(1.0, in_use), tuple(rows)


def _interfered(
    active: Sequence[Sharer], terms: tuple[Terms, ...], interference: InterferenceModel
) -> tuple[Terms, ...]:
    loads = [
        Load(r.model, r.batch, min(1.0, term.share / term.stretch))
        for r, term in zip(active, terms, strict=True)
    ]
    running = [place for place, load in enumerate(loads) if load.share > LEAST_SHARE]
    stretched = list(terms)
    for place in running:
        factor = interference.factor(loads[place], [loads[other] for other in running if other != place])
        stretched[place] = terms[place]._replace(stretch=terms[place].stretch * factor)
    return tuple(stretched)


def fair_division(weights: Sequence[float], caps: Sequence[float], capacity: float) -> list[float]:
    """Divide a capacity by weight, giving nobody more than its cap (weighted max-min fairness).

    If the weights sum to at most the capacity, everybody gets at least the smaller of weight and cap.
    """
    got = [0.0] * len(weights)
    hungry = [i for i, cap in enumerate(caps) if cap > 0.0]
    left = min(capacity, sum(caps))
    while hungry and left > 0.0:
        level = left / sum(weights[i] for i in hungry)
        full = [i for i in hungry if caps[i] <= weights[i] * level]
        if not full:
            for i in hungry:
                got[i] = weights[i] * level
            break
        for i in full:
            got[i] = caps[i]
            left -= caps[i]
        hungry = [i for i in hungry if i not in full]
    return got
