from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import BatchRule, PolicyError
from policies.routing import AlphaDispatcher, DeadlineBatching
from policies.slots import Weighs
from policies.still_views import StillFunction, StillInstance, still_functions
from policies.testing import check_policy

ALPHA = AlphaDispatcher()


@dataclass(frozen=True)
class Uneven(StillFunction):
    """A function whose instances differ."""

    members: tuple[StillInstance, ...] = ()

    @property
    def instances(self) -> tuple[StillInstance, ...]:
        """Those given."""
        return self.members


def weights(rate: int, *members: StillInstance, slo_s: float = 0.5) -> tuple[float, ...]:
    """Return what each instance should get after a second with so many requests."""
    return ALPHA.weights(Uneven((999, rate), live=len(members), slo_s=slo_s, members=members))


FOUR = StillInstance(batch=4, service_s=0.1)
"""Of an SLO of .5 s it serves from 4 / .4 = 10 to 4 / .1 = 40 requests a second."""
ONE = StillInstance(batch=1, service_s=0.05)
"""From 1 to 20."""


@pytest.mark.parametrize(
    ("rate", "given"),
    [
        (200, (40.0, 40.0, 40.0)),
        (120, (40.0, 40.0, 40.0)),
        (111, (37.0, 37.0, 37.0)),
        (102, (34.0, 34.0, 34.0)),
        (80, (40.0, 40.0, 0.0)),
        (70, (35.0, 35.0, 0.0)),
        (36, (36.0, 0.0, 0.0)),
        (90, (30.0, 30.0, 30.0)),
        (60, (30.0, 30.0, 0.0)),
        (42, (21.0, 21.0, 0.0)),
        (17, (17.0, 0.0, 0.0)),
        (12, (12.0, 0.0, 0.0)),
        (3, (10.0, 0.0, 0.0)),
        (0, (10.0, 0.0, 0.0)),
    ],
)
def test_three_alike_by_hand(rate: int, given: tuple[float, ...]) -> None:
    """From 102, 68 and 34 (alpha .8) three, two and one are in use.

    In the gaps alpha .4 (66, 44, 22) decides, then .2 (48, 32, 16); below 16 one alone gets it all,
    and 10 at the least.
    """
    assert weights(rate, FOUR, FOUR, FOUR) == pytest.approx(given)


def test_all_are_lowered_by_the_same_part_of_their_range() -> None:
    """R = 55 of 11 to 60: 5 / 49 below the most, of ranges of 30 and 19."""
    assert weights(55, FOUR, ONE) == pytest.approx((40 - 30 * 5 / 49, 20 - 19 * 5 / 49))


def test_the_newest_are_idled() -> None:
    """One of four serves 36 as well as the other does; the older one gets it."""
    assert weights(20, ONE, FOUR) == pytest.approx((20.0, 0.0))
    assert weights(36, FOUR, ONE) == pytest.approx((36.0, 0.0))


def test_no_more_are_idled_than_must_be() -> None:
    """Of ten, all can share 350 at alpha .8, and so could nine."""
    assert weights(350, *[FOUR] * 10) == pytest.approx((35.0,) * 10)


def test_who_starts_up_gets_nothing_while_others_serve() -> None:
    """Only ready instances count; if there is none, those to come share the load."""
    starting = StillInstance(batch=4, service_s=0.1, ready=False, idle=False)
    assert weights(80, starting, FOUR) == pytest.approx((0.0, 40.0))
    assert weights(80, starting, starting) == pytest.approx((40.0, 40.0))


@pytest.mark.parametrize(("slo_s", "least_rps"), [(0.5, 10.0), (0.15, 40.0), (0.1, 40.0), (0.05, 40.0)])
def test_where_the_slo_leaves_no_time_batches_never_fill(slo_s: float, least_rps: float) -> None:
    """With less than t_exec to spare only the most makes sense."""
    assert weights(1, FOUR, slo_s=slo_s) == pytest.approx((least_rps,))


def test_without_an_slo_any_rate_fills_a_batch_in_time() -> None:
    """r_low is 0, but the one request that is there is due to somebody."""
    assert weights(0, FOUR, FOUR, slo_s=math.inf) == pytest.approx((1.0, 0.0))


MEMBERS = st.lists(
    st.builds(
        StillInstance,
        batch=st.sampled_from([1, 2, 4, 8, 16]),
        service_s=st.floats(0.01, 2.0),
        ready=st.booleans(),
    ),
    max_size=6,
)


@given(members=MEMBERS, rate=st.integers(0, 2000), slo_s=st.one_of(st.floats(0.02, 4.0), st.just(math.inf)))
def test_everybody_is_within_bounds_or_idle(members: list[StillInstance], rate: int, slo_s: float) -> None:
    """Each gets from r_low to r_up or nothing; all is served that can be, and somebody always serves."""
    given = weights(rate, *members, slo_s=slo_s)
    assert len(given) == len(members)
    serving = [place for place, one in enumerate(members) if one.ready] or range(len(members))
    most = 0.0
    for place in serving:
        one = members[place]
        up = one.batch / one.service_s
        spare_s = slo_s - one.service_s
        low = min(up, 1.0 if one.batch == 1 else one.batch / spare_s if spare_s > 0.0 else math.inf)
        assert given[place] == 0.0 or low - 1e-9 <= given[place] <= up + 1e-9
        most += up
    assert sum(given) >= min(rate, most) * (1 - 1e-9)
    assert sum(given) > 0.0 or not members


@given(members=MEMBERS.filter(bool), rate=st.integers(1, 2000), slo_s=st.floats(0.02, 4.0))
def test_between_alpha_and_the_most_the_rates_sum_to_the_rate(
    members: list[StillInstance], rate: int, slo_s: float
) -> None:
    """Above the threshold nobody idles and the rates sum to R; above the most all have their most."""
    ready = [
        StillInstance(number, batch=one.batch, service_s=one.service_s) for number, one in enumerate(members)
    ]
    ups = [one.batch / one.service_s for one in ready]
    lows = []
    for one, up in zip(ready, ups, strict=True):
        spare_s = slo_s - one.service_s
        lows.append(min(up, 1.0 if one.batch == 1 else one.batch / spare_s if spare_s > 0.0 else math.inf))
    given = weights(rate, *ready, slo_s=slo_s)
    if rate > sum(ups):
        assert given == pytest.approx(ups)
    elif rate > 0.8 * (sum(ups) - sum(lows)) + sum(lows) + 1e-6:
        assert sum(given) == pytest.approx(rate)
        assert all(given)


def test_batches_close_as_infless_s_do() -> None:
    """SLO less execution, asked each second, for instances may come to differ."""
    view = StillFunction(slo_s=0.3, service_s=0.1)
    assert ALPHA.batching(view) == DeadlineBatching().batching(view)
    assert ALPHA.batching(view) == BatchRule(4, pytest.approx(0.2))
    assert (ALPHA.adapts, ALPHA.newest_idle_first) == (True, True)


@pytest.mark.parametrize("alphas", [(), (1.1,), (0.8, -0.1)])
def test_impossible_alphas_are_refused(alphas: tuple[float, ...]) -> None:
    """At least one, each a fraction."""
    with pytest.raises(PolicyError, match=r"alphas: found .*, allowed are one or more numbers in"):
        AlphaDispatcher(alphas=alphas)


def test_the_dispatcher_conforms() -> None:
    """It keeps the routing slot's contract, and has a weight for each instance of any view."""
    assert check_policy(ALPHA) == ("routing",)
    assert isinstance(ALPHA, Weighs)
    for view in still_functions():
        given = ALPHA.weights(view)
        assert len(given) == len(view.instances)
        assert given == ALPHA.weights(view)
