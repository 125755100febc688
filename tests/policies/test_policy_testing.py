from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest

from policies import BatchRule, Grant, PolicyError, Scaling, Shard, Size, find_system, system_names
from policies.horizontal import LazyScaling
from policies.keep_alive import FixedKeepAlive
from policies.placement import ComplementaryPlacement, InflessPlacement
from policies.placement.fit import admits, whole_shards
from policies.routing import DeadlineBatching, ImmediateBatching
from policies.slots import FunctionView
from policies.start_up import FixedStartUp
from policies.still_views import StillFunction
from policies.systems import SLOTS
from policies.testing import check_policy
from policies.vertical.rckm import Rckm
from profiles.sharing import LAUNCH_TOKENS

FILLED = [
    pytest.param(slot, getattr(find_system(name), slot), id=f"{name}-{slot}")
    for name in system_names()
    for slot in SLOTS
    if getattr(find_system(name), slot) is not None
]


@pytest.mark.parametrize(("slot", "policy"), FILLED)
def test_every_policy_of_every_system_conforms(slot: str, policy: object) -> None:
    """What we ship keeps the contract that we ask of others, and is recognised for what it is."""
    assert check_policy(policy) == (slot,)


@pytest.mark.parametrize(
    "policy",
    [
        ComplementaryPlacement(complementary=False),
        ComplementaryPlacement(splits_llm=False, affinity=False, gamma=2.0),
        InflessPlacement(affinity=False),
        LazyScaling(window_s=10, out_count=1, in_count=0),
        FixedKeepAlive(0.0),
        FixedKeepAlive(math.inf),
        Rckm(charge="tick"),
        DeadlineBatching(),
        ImmediateBatching(),
        FixedStartUp(),
    ],
    ids=repr,
)
def test_variants_conform(policy: object) -> None:
    """The switches of the policies do not lead out of the contract."""
    assert len(check_policy(policy)) == 1


@dataclass(frozen=True)
class TwoSlots(LazyScaling):
    """Fills two slots at once."""

    def idle_timeout_s(self, function: FunctionView) -> float:
        """Keep for a minute."""
        return 60.0


def test_one_object_may_fill_several_slots() -> None:
    """Each slot that its methods name is checked."""
    assert check_policy(TwoSlots()) == ("horizontal", "keep_alive")


def test_the_views_of_a_still_function_agree() -> None:
    """`rates` end where the window was cleared, `history` does not, and `last_rate` is the last of both."""
    view = StillFunction((1, 2, 3, 4), cleared_s=2)
    assert (view.now_s, view.last_rate) == (4.0, 4)
    assert view.rates(9).tolist() == [3, 4]
    assert view.rates(1).tolist() == [4]
    assert view.history(3).tolist() == [2, 3, 4]
    assert StillFunction().last_rate == 0
    assert "of 4 s" in str(view)


# --------------------------------------------------------------------------- breaches, one class a slot

Answer = Callable[..., Any]


@dataclass(frozen=True)
class Broken:
    """A policy that answers as the named case of its class says."""

    case: str
    cases: ClassVar[dict[str, Answer]] = {}

    def answer(self, *view: Any) -> Any:
        """Answer as the case does."""
        return self.cases[self.case](*view)


CALLS = itertools.count()


def everything_on_gpu(*gpus: int, part: float = 1.0) -> Answer:
    """Return a placement of full shards on fixed GPUs."""
    return lambda r, c: tuple(Shard(gpu, r.request, r.limit, r.memory_bytes, part) for gpu in gpus)


def first_room(mask: Callable[[Any, Any], Any]) -> Answer:
    """Return a placement on the first GPUs of a mask, whichever nodes they stand in."""

    def answer(request: Any, cluster: Any) -> Any:
        gpus = np.flatnonzero(mask(request, cluster) & (cluster.residents == 0))[: request.gpus]
        return whole_shards(request, gpus) if len(gpus) == request.gpus else None

    return answer


def scribbles(request: Any, cluster: Any) -> None:
    """Change the view."""
    cluster.request[0] += 0.1


def overcommits(request: Any, cluster: Any) -> Any:
    """Take the first GPUs whether they have memory or not."""
    return everything_on_gpu(*range(request.gpus), part=1 / request.gpus)(request, cluster)


class BrokenPlacement(Broken):
    """Breaches of placement."""

    splits_llm = False
    cases: ClassVar[dict[str, Answer]] = {
        "memory": overcommits,
        "outside": everything_on_gpu(-1),
        "twice": everything_on_gpu(0, 0, part=0.5),
        "none": lambda r, c: (),
        "list": lambda r, c: [Shard(0, r.request, r.limit, r.memory_bytes)],
        "less": lambda r, c: (Shard(0, r.request, r.limit, 1),) if not c.memory[0] else None,
        "shares": lambda r, c: (Shard(0, r.limit, r.request / 2, r.memory_bytes),),
        "parts": everything_on_gpu(0, part=0.5),
        "scribbles": scribbles,
        "moody": lambda r, c: everything_on_gpu(0)(r, c) if next(CALLS) % 2 else None,
        "needs four": lambda r, c: c.memory[3] and None,
        "any slot": first_room(lambda r, c: r.memory_bytes <= c.memory_capacity[0]),
        "any type": first_room(lambda r, c: c.memory + r.memory_bytes <= c.memory_capacity),
        "any node": first_room(admits),
    }
    place = Broken.answer


class BrokenHorizontal(Broken):
    """Breaches of horizontal scaling."""

    cases: ClassVar[dict[str, Answer]] = {
        "few": lambda f: Scaling(0),
        "half": lambda f: Scaling(f.live + f.min_instances + 0.5),
        "no scaling": lambda f: 3,
        "nan": lambda f: Scaling(f.live + f.min_instances, above=math.nan),
        "promise": lambda f: Scaling(max(f.min_instances, int(f.history(1).sum()) // 40), 1e9, -1.0),
        "empty": lambda f: Scaling(f.min_instances + int(f.history(1)[-1])),
    }
    scale = Broken.answer


class BrokenKeepAlive(Broken):
    """Breaches of keep-alive."""

    cases: ClassVar[dict[str, Answer]] = {"negative": lambda f: -1.0, "nan": lambda f: math.nan}
    idle_timeout_s = Broken.answer


class BrokenRouting(Broken):
    """Breaches of routing."""

    adapts = True
    newest_idle_first = False
    cases: ClassVar[dict[str, Answer]] = {
        "batch": lambda f: BatchRule(0, 0.0),
        "wait": lambda f: BatchRule(1, -0.1),
        "for ever": lambda f: BatchRule(f.batch, f.slo_s - f.service_s),
    }
    batching = Broken.answer


def granted(quotas: tuple[float, ...], *, calm: Any = (-math.inf, math.inf), settled: bool = False) -> Grant:
    """Return a grant with the same calm band for all."""
    return Grant(quotas, None, (calm,) * len(quotas), settled)


def limits(gpu: Any) -> tuple[float, ...]:
    """Return the limits of the residents."""
    return tuple(resident.limit for resident in gpu.residents)


class BrokenVertical(Broken):
    """Breaches of vertical scaling."""

    tick_s = 0.005
    window_s = 0.5
    sharing = LAUNCH_TOKENS
    cycle_baseline = "minimum"
    cases: ClassVar[dict[str, Answer]] = {
        "above": lambda g: granted((1.0,) * len(g.residents)),
        "below": lambda g: granted((-0.1,) * len(g.residents)),
        "starves": lambda g: granted((0.0,) * len(g.residents)),
        "one": lambda g: granted((0.1,)),
        "bands": lambda g: Grant(limits(g), None, ()),
        "nan": lambda g: granted(limits(g), calm=(math.nan, 1.0)),
        "no grant": lambda g: (limits(g), None, ((0.0, 1.0),) * len(g.residents)),
        "calm": lambda g: granted(tuple(r.limit if r.pressure > 2 else r.limit / 2 for r in g.residents)),
        "settled": lambda g: granted(tuple(max(r.quota / 2, 1e-3) for r in g.residents), settled=True),
    }
    decide = Broken.answer

    def first_quota(self, resident: Any) -> float:
        """Return the request."""
        return float(resident.request)


class BrokenFirstQuota(BrokenVertical):
    """Breaches of the first quota."""

    def first_quota(self, resident: Any) -> float:
        """Return more than the limit."""
        return 1.0


class BrokenBaseline(BrokenVertical):
    """Names a baseline that is none."""

    cycle_baseline = "mean"


class BrokenTick(BrokenVertical):
    """Ticks without time between."""

    tick_s = 0.0


def refuses(message: str) -> Answer:
    """Return a sizing that raises."""

    def size(function: Any, measure: Any) -> Size:
        raise PolicyError(message.format(function.name))

    return size


class BrokenSizing(Broken):
    """Breaches of sizing."""

    cases: ClassVar[dict[str, Answer]] = {
        "pinned": lambda f, m: Size(1, 0.5, 0.5),
        "large": lambda f, m: f.size or Size(999, 0.5, 0.5),
        "measures": lambda f, m: m(1, 0.5) and (f.size or Size(1, 0.5, 0.5)),
        "share": lambda f, m: f.size or (m(1, 1.5) and Size(1, 0.5, 0.5)),
        "silent": refuses("too slow"),
        "refuses pinned": refuses("{}: too slow"),
        "no size": lambda f, m: (1, 0.5, 0.5),
    }
    size = Broken.answer

    def reserve(self, size: Size) -> Size:
        """Return the size."""
        return size


class NoReserve(Broken):
    """Sizes and cannot reserve."""

    size = Broken.answer


class BrokenStartUp(Broken):
    """Breaches of start-up."""

    cases: ClassVar[dict[str, Answer]] = {"negative": lambda f: -1.0, "never": lambda f: math.inf}
    seconds = Broken.answer


@dataclass
class Thawed:
    """Is not frozen."""

    def seconds(self, function: Any) -> float:
        """Start at once."""
        return 0.0


@dataclass(frozen=True)
class Listed(FixedStartUp):
    """Has a constant that cannot be hashed."""

    delays_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Closed(FixedStartUp):
    """Has a constant that cannot be pickled."""

    curve: Answer = field(default_factory=lambda: lambda f: 0.0)


BREACHES = [
    (Broken("any"), "Broken.__init__: makes an object that fills no slot, it has none of size, place, scale"),
    (NoReserve("pinned"), "NoReserve.reserve: is missing, the sizing slot needs it"),
    (Thawed(), "Thawed.__init__: is not that of a frozen dataclass"),
    (Listed(), "Listed: constants must be hashable"),
    (Closed(), "Closed: does not survive pickling"),
    (BrokenPlacement("memory"), "took other than 1 to 0 free bytes of GPU 0"),
    (BrokenPlacement("outside"), "named a GPU outside the cluster"),
    (BrokenPlacement("twice"), "put two shards of one instance on a GPU"),
    (BrokenPlacement("none"), "made parts that do not sum to 1"),
    (BrokenPlacement("list"), "is no tuple of shards"),
    (BrokenPlacement("less"), "took other memory than the instance needs"),
    (BrokenPlacement("shares"), "broke 0 < request <= limit"),
    (BrokenPlacement("parts"), "made parts that do not sum to 1"),
    (
        BrokenPlacement("scribbles"),
        "changed the cluster it was shown: None; it was shown an empty cluster of 1 x 1",
    ),
    (BrokenPlacement("moody"), "of the same view"),
    (BrokenPlacement("needs four"), "raised IndexError"),
    (BrokenPlacement("any slot"), "named an empty slot, in which there is no GPU"),
    (BrokenPlacement("any type"), "took a GPU that is none of large"),
    (BrokenPlacement("any node"), "put an instance that does not train on several nodes"),
    (BrokenHorizontal("few"), "wants 0 instances, allowed are integers from the minimum"),
    (BrokenHorizontal("half"), "wants 0.5 instances, allowed are integers from the minimum"),
    (BrokenHorizontal("no scaling"), "returned 3, no Scaling; it was shown StillFunction(live=0"),
    (BrokenHorizontal("nan"), "named a band that is not a number"),
    (BrokenHorizontal("promise"), "broke the promise of its band"),
    (BrokenHorizontal("empty"), "raised IndexError"),
    (BrokenKeepAlive("negative"), "said -1.0, allowed are seconds from 0"),
    (BrokenKeepAlive("nan"), "said nan"),
    (BrokenRouting("batch"), "closes at 0, allowed are integers from 1"),
    (BrokenRouting("wait"), "waits -0.1 s, allowed are finite seconds from 0"),
    (BrokenRouting("for ever"), "waits inf s, allowed are finite seconds from 0"),
    (BrokenVertical("above"), "gave quota 1.0, allowed is 0 < quota <= 0.9"),
    (BrokenVertical("below"), "gave quota -0.1, allowed is 0 < quota <= 0.9"),
    (BrokenVertical("starves"), "gave quota 0.0, allowed is 0 < quota <= 0.9"),
    (BrokenVertical("one"), "gave 1 quotas, one a resident is due"),
    (BrokenVertical("bands"), "gave 0 calm, one a resident is due"),
    (BrokenVertical("nan"), "for a calm band [low, high)"),
    (BrokenVertical("no grant"), "no Grant"),
    (BrokenVertical("calm"), "calls pressure 3.0 of resident 0 calm but answers it with"),
    (BrokenVertical("settled"), "moves what it had called settled"),
    (BrokenFirstQuota("above"), "BrokenFirstQuota.first_quota: gave quota 1.0"),
    (BrokenBaseline("above"), "is 'mean', allowed are uncontended, batch-minimum, minimum"),
    (BrokenTick("above"), "is 0.0, allowed are None and seconds above 0"),
    (BrokenSizing("pinned"), "which is pinned"),
    (BrokenSizing("large"), "the largest batch is"),
    (BrokenSizing("measures"), "a pinned size needs no measurement"),
    (BrokenSizing("share"), "measured batch 1 on share 1.5"),
    (BrokenSizing("silent"), "which does not name the function"),
    (BrokenSizing("refuses pinned"), "raised PolicyError"),
    (BrokenSizing("no size"), "no Size"),
    (BrokenStartUp("negative"), "said -1.0, allowed are finite seconds from 0"),
    (BrokenStartUp("never"), "said inf, allowed are finite seconds from 0"),
]


@pytest.mark.parametrize(
    ("policy", "breach"), BREACHES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_breach_is_found_and_named(policy: object, breach: str) -> None:
    """Each rule of the contract has a policy that breaks it, and the message says which."""
    with pytest.raises(AssertionError) as caught:
        check_policy(policy)
    assert breach in str(caught.value)
    assert type(policy).__name__ in str(caught.value) or breach.startswith("a pinned size")
