from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from policies import PolicyError, Size
from policies.keep_alive import FixedKeepAlive
from policies.option_checks import check_options
from policies.routing import AlphaDispatcher, DeadlineBatching
from policies.sizing import NonUniformSizing
from policies.slots import WarmWindow
from policies.testing import check_policy

Answer = Callable[..., Any]

CALLS = itertools.count()
NAN, INF = math.nan, math.inf


# ------------------------------------------------------------- breaches, one class an optional protocol


def first(offered: tuple[Any, ...], **changes: Any) -> tuple[Any, ...]:
    """Return the offer with its first choice changed."""
    return (replace(offered[0], **changes), *offered[1:])


def refuses(message: str, *, pinned: bool = False) -> Answer:
    """Return an offer that is refused, for pinned sizes or for all others."""

    def choices(offered: Any, function: Any) -> Any:
        if (function.size is not None) == pinned:
            raise PolicyError(message.format(function.name))
        return offered

    return choices


@dataclass(frozen=True)
class BrokenChoices(NonUniformSizing):
    """Makes of INFless's choices what the case says."""

    case: str = ""
    cases: ClassVar[dict[str, Answer]] = {
        "none": lambda offered, f: offered if f.size else (),
        "none of a pinned size": lambda offered, f: () if f.size else offered,
        "list": lambda offered, f: list(offered),
        "sizes": lambda offered, f: tuple(choice.size for choice in offered),
        "nothing": lambda offered, f: None,
        "twice": lambda offered, f: (*offered, replace(offered[0], service_s=1.0)),
        "batch": lambda offered, f: first(offered, size=Size(9999, 0.5, 0.5)),
        "instant": lambda offered, f: first(offered, service_s=0.0),
        "never done": lambda offered, f: first(offered, service_s=INF),
        "no time": lambda offered, f: first(offered, service_s=NAN),
        "negative": lambda offered, f: first(offered, least_rps=-1.0),
        "backwards": lambda offered, f: first(offered, least_rps=9.0, most_rps=8.0),
        "boundless": lambda offered, f: first(offered, most_rps=INF),
        "useless": lambda offered, f: first(offered, least_rps=0.0, most_rps=0.0),
        "choice": lambda offered, f: (
            (*offered, replace(offered[0], size=Size(1, 0.3, 0.6))) if f.size else offered
        ),
        "other": lambda offered, f: first(offered, size=Size(1, 0.5, 0.5)) if f.size else offered,
        "silent": refuses("too slow"),
        "refuses pinned": refuses("{}: too slow", pinned=True),
        "raises": lambda offered, f: offered[len(offered)],
        "moody": lambda offered, f: offered[: 1 + next(CALLS) % 2] if not f.size else offered,
        "refuses": refuses("{}: too slow"),
        "empty-handed": lambda offered, f: offered,
    }

    def choices(self, function: Any, measure: Any) -> Any:
        """Answer as the case does; one returns nothing where nothing meets the SLO."""
        try:
            offered = super().choices(function, measure)
        except PolicyError:
            if self.case == "empty-handed":
                return ()
            raise
        return self.cases[self.case](offered, function)


@dataclass(frozen=True)
class Broken(FixedKeepAlive):
    """A keep-alive policy that answers as the named case of its class says."""

    case: str = ""
    cases: ClassVar[dict[str, Answer]] = {}

    def answer(self, *view: Any) -> Any:
        """Answer as the case does."""
        return self.cases[self.case](*view)


class BrokenPrewarming(Broken):
    """Breaches of pre-warming."""

    cases: ClassVar[dict[str, Answer]] = {
        "early": lambda f: WarmWindow(-1.0, 5.0),
        "backwards": lambda f: WarmWindow(5.0, 4.0),
        "never": lambda f: WarmWindow(INF, INF),
        "nan": lambda f: WarmWindow(NAN, 5.0),
        "no end": lambda f: WarmWindow(1.0, NAN),
        "restless": lambda f: WarmWindow(0.0, f.now_s),
        "pair": lambda f: (1.0, 2.0),
        "raises": lambda f: f.history(1)[-1],
        "moody": lambda f: WarmWindow(1.0, 2.0 + next(CALLS)),
        "for ever": lambda f: WarmWindow(0.0, INF),
        "last second": lambda f: WarmWindow(1.0, 2.0 + f.last_rate),
        "last request": lambda f: WarmWindow(1.0, 2.0 + max(0.0, f.last_arrival_s)),
    }
    warm_window = Broken.answer


class Unlike(Broken):
    """Answers with what no copy shares."""

    def warm_window(self, function: Any) -> WarmWindow:
        """Return a window that depends on the object itself."""
        return WarmWindow(1.0, 2.0 + id(self))


class BrokenEviction(Broken):
    """Breaches of eviction."""

    cases: ClassVar[dict[str, Answer]] = {
        "nan": lambda f, clock: NAN,
        "computed nan": lambda f, clock: clock + INF - INF,
        "falls": lambda f, clock: -clock,
        "falls late": lambda f, clock: clock if clock < 10.0 else 0.5,
        "raises": lambda f, clock: f.history(1)[-1] + clock,
        "moody": lambda f, clock: clock + next(CALLS),
        "no clock": lambda f, clock: f.last_arrival_s,
    }
    keep_priority = Broken.answer


@dataclass(frozen=True)
class BrokenWeights(DeadlineBatching):
    """Breaches of weights."""

    case: str = ""
    cases: ClassVar[dict[str, Answer]] = {
        "few": lambda f: (1.0,),
        "many": lambda f: (1.0,) * (len(f.instances) + 1),
        "negative": lambda f: (1.0, -0.1, 1.0)[: len(f.instances)],
        "boundless": lambda f: (INF,) * len(f.instances),
        "nan": lambda f: (NAN,) * len(f.instances),
        "nobody": lambda f: (0.0,) * len(f.instances),
        "nobody when quiet": lambda f: (float(f.last_rate),) * len(f.instances),
        "starting": lambda f: tuple(
            0.0 if one.ready and f.instances[0].instance else 1.0 for one in f.instances
        ),
        "raises": lambda f: (1.0 / f.last_rate,) * len(f.instances),
        "moody": lambda f: (1.0 + next(CALLS),) * len(f.instances),
        "ready": lambda f: tuple(float(one.ready) for one in f.instances),
    }

    def weights(self, function: Any) -> Any:
        """Answer as the case does."""
        return self.cases[self.case](function)


def choices_that(case: str) -> BrokenChoices:
    """Return a sizing of broken choices."""
    return BrokenChoices(case=case)


def weights_that(case: str) -> BrokenWeights:
    """Return a dispatcher of broken weights."""
    return BrokenWeights(case=case)


BREACHES = [
    (choices_that("none"), "choices: offers none, a PolicyError is due"),
    (choices_that("none of a pinned size"), "choices: offers none, a PolicyError is due"),
    (choices_that("list"), "no tuple of choices"),
    (choices_that("sizes"), "no tuple of choices"),
    (choices_that("nothing"), "choices: returned None, no tuple of choices"),
    (choices_that("twice"), "choices: offers one size twice"),
    (choices_that("batch"), "choices: offers Choice(size=Size(batch=9999"),
    (choices_that("instant"), "service_s=0.0"),
    (choices_that("never done"), "service_s=inf"),
    (choices_that("no time"), "service_s=nan"),
    (choices_that("negative"), "least_rps=-1.0"),
    (choices_that("backwards"), "least_rps=9.0, most_rps=8.0"),
    (choices_that("boundless"), "most_rps=inf"),
    (choices_that("useless"), "most_rps=0.0"),
    (choices_that("choice"), "choices: offers a choice of a pinned size"),
    (choices_that("other"), "of Size(batch=2, request=0.3, limit=0.6, trials=0, need=None), which is pinned"),
    (choices_that("silent"), "raised PolicyError('too slow'), which does not name the function"),
    (choices_that("refuses pinned"), "choices: raised PolicyError("),
    (choices_that("raises"), "choices: raised IndexError"),
    (choices_that("moody"), "of the same view"),
    (choices_that("empty-handed"), "choices: offers none, a PolicyError is due"),
    (Unlike(case="its own"), "but its copy said WarmWindow("),
    (BrokenPrewarming(case="early"), "warm_window: said WarmWindow(from_s=-1.0"),
    (BrokenPrewarming(case="backwards"), "allowed is 0 <= from_s <= until_s"),
    (BrokenPrewarming(case="never"), "warm_window: said WarmWindow(from_s=inf"),
    (BrokenPrewarming(case="nan"), "warm_window: said WarmWindow(from_s=nan"),
    (BrokenPrewarming(case="no end"), "warm_window: said WarmWindow(from_s=1.0, until_s=nan"),
    (BrokenPrewarming(case="restless"), "warm_window: changes its mind while nothing arrives"),
    (BrokenPrewarming(case="pair"), "warm_window: returned (1.0, 2.0), no window"),
    (BrokenPrewarming(case="raises"), "warm_window: raised IndexError"),
    (BrokenPrewarming(case="moody"), "of the same view"),
    (BrokenEviction(case="nan"), "keep_priority: said [nan, nan, nan]"),
    (BrokenEviction(case="computed nan"), "keep_priority: said [nan, nan, nan]"),
    (BrokenEviction(case="falls"), "keep_priority: falls as the clock rises: [-0.0, -1.0, -1000000.0]"),
    (BrokenEviction(case="falls late"), "keep_priority: falls as the clock rises: [0.0, 1.0, 0.5]"),
    (BrokenEviction(case="raises"), "keep_priority: raised IndexError"),
    (BrokenEviction(case="moody"), "of the same view"),
    (weights_that("few"), "weights: gave 1, one an instance is due"),
    (weights_that("many"), "weights: gave 2, one an instance is due"),
    (weights_that("negative"), "weights: gave (1.0, -0.1, 1.0), allowed are rates from 0"),
    (weights_that("boundless"), "weights: gave (inf,), allowed are rates from 0"),
    (weights_that("nan"), "weights: gave (nan,), allowed are rates from 0"),
    (weights_that("nobody"), "weights: leaves everybody who is ready idle: (0.0,)"),
    (weights_that("nobody when quiet"), "weights: leaves everybody who is ready idle: (0.0,)"),
    (weights_that("starting"), "weights: leaves everybody who is ready idle: (1.0, 0.0)"),
    (weights_that("raises"), "weights: raised ZeroDivisionError"),
    (weights_that("moody"), "of the same view"),
]


@pytest.mark.parametrize(
    ("policy", "breach"), BREACHES, ids=[f"{type(policy).__name__}-{policy.case}" for policy, _ in BREACHES]
)
def test_a_breach_of_an_option_is_found_and_named(policy: Any, breach: str) -> None:
    """Each rule of an optional protocol has a policy that breaks it, and the message says whose and which."""
    with pytest.raises(AssertionError) as caught:
        check_options(policy)
    assert breach in str(caught.value)
    assert str(caught.value).startswith(f"{type(policy).__name__}.")


@pytest.mark.parametrize("broken", [BrokenChoices, BrokenPrewarming, BrokenEviction, BrokenWeights])
def test_every_case_is_tried(broken: Any) -> None:
    """No case is written down here and forgotten."""
    tried = {policy.case for policy, _ in BREACHES if type(policy) is broken}
    allowed = {policy.case for policy in ALLOWED if type(policy) is broken}
    assert set(broken.cases) == tried | allowed
    assert not tried & allowed


# ----------------------------------------------------------------------------------- what is no breach

ALLOWED: list[Any] = [
    choices_that("refuses"),
    BrokenPrewarming(case="for ever"),
    BrokenPrewarming(case="last second"),
    BrokenPrewarming(case="last request"),
    BrokenEviction(case="no clock"),
    weights_that("ready"),
]


@pytest.mark.parametrize("policy", ALLOWED, ids=lambda policy: f"{type(policy).__name__}-{policy.case}")
def test_the_options_leave_room(policy: Any) -> None:
    """A refusal that names the function, a window without end, a priority without clock, nobody ready."""
    check_options(policy)


def test_a_policy_without_options_is_held_to_none() -> None:
    """Only the protocols that it fills are looked at."""
    check_options(FixedKeepAlive())
    check_options(DeadlineBatching())
    check_options(object())


@pytest.mark.parametrize(
    ("policy", "breach"),
    [
        (choices_that("twice"), "offers one size twice"),
        (BrokenPrewarming(case="never"), "from_s=inf"),
        (BrokenEviction(case="falls"), "falls as the clock rises"),
        (weights_that("nobody"), "leaves everybody who is ready idle"),
    ],
    ids=["choices", "pre-warming", "eviction", "weights"],
)
def test_check_policy_looks_at_options_too(policy: Any, breach: str) -> None:
    """What fills its slot faultlessly is still held to what it does beyond."""
    with pytest.raises(AssertionError, match=breach):
        check_policy(policy)


@pytest.mark.parametrize("policy", [NonUniformSizing(), AlphaDispatcher()], ids=lambda p: type(p).__name__)
def test_the_shipped_options_conform(policy: object) -> None:
    """INFless's choices and rates keep the contract; those of keep-alive are tested with their slot."""
    assert len(check_policy(policy)) == 1
