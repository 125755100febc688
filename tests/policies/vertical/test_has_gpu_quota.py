from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import PolicyError
from policies.still_views import StillGpu, StillResident
from policies.testing import check_policy
from policies.vertical import RowQuotas
from profiles.sharing import TimeSharing

ROWS = RowQuotas()


def pod(
    instance: int, request: float, wanted: float | None, *, limit: float = 0.5, seat: Any = 0
) -> StillResident:
    """Return a pod on a row of so many SMs."""
    return StillResident(instance, request=request, limit=limit, wanted=wanted, seat=seat)


def trains(instance: int, request: float, *, limit: float = 0.5, seat: Any = 0) -> StillResident:
    """Return a training worker on a row of so many SMs."""
    return StillResident(instance, slo_sensitive=False, request=request, limit=limit, seat=seat)


def quotas(*pods: StillResident) -> Any:
    """Return the quotas of one tick."""
    return pytest.approx(ROWS.decide(StillGpu(pods)).quotas)


def test_what_is_wanted_is_granted_at_once() -> None:
    """Where the row has the room; a pod of which nothing was ever wanted has its request."""
    assert quotas(pod(1, 0.1, 0.2), pod(2, 0.1, None)) == (0.2, 0.1)
    assert ROWS.first_quota(pod(1, 0.1, 0.2)) == pytest.approx(0.2)
    assert ROWS.first_quota(pod(1, 0.1, None)) == pytest.approx(0.1)


def test_a_lone_pod_gets_no_more_than_it_wants() -> None:
    """Vertical scaling is what is paid for: an empty row does not raise a quota."""
    assert quotas(pod(1, 0.1, 0.15)) == (0.15,)


def test_quotas_stay_between_the_least_and_the_row() -> None:
    """10 % of the row's time at least, all of it at most."""
    assert quotas(pod(1, 0.1, 0.01)) == (0.05,)
    assert quotas(pod(1, 0.1, 0.9)) == (0.5,)


def test_a_full_row_divides_what_is_wanted_above_requests() -> None:
    """Requests of .2 and .1 leave .2 of .5; wants of .2 and .2 above them get half each."""
    assert quotas(pod(1, 0.2, 0.4), pod(2, 0.1, 0.3)) == (0.3, 0.2)


def test_who_wants_less_than_requested_frees_it() -> None:
    """A pod that was scaled down to .1 leaves the others .4."""
    assert quotas(pod(1, 0.3, 0.1), pod(2, 0.1, 0.5)) == (0.1, 0.4)


def test_requests_that_do_not_fit_shrink_alike() -> None:
    """Placement prevents it; if it does not, no row exceeds its time."""
    assert quotas(pod(1, 0.5, None), pod(2, 0.5, 0.5)) == (0.25, 0.25)


def test_rows_do_not_meet() -> None:
    """A row's pods share its time with nobody else."""
    assert quotas(pod(1, 0.2, 0.5, seat="a"), pod(2, 0.2, 0.3, limit=0.3, seat="b")) == (0.5, 0.3)


def test_training_wants_all_of_its_row() -> None:
    """Nobody wants a share of it, yet alone it uses the whole row, and does so from the start."""
    assert ROWS.first_quota(trains(1, 0.1)) == 0.5
    assert quotas(trains(1, 0.1)) == (0.5,)
    assert quotas(trains(1, 0.1), pod(2, 0.1, 0.5, seat=1)) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("wanted", "granted"),
    [
        (None, (0.4, 0.1)),  # times .2 and .2 are requested: training wants .8 more, and .6 are left
        (0.05, (0.45, 0.05)),  # scaled down to a tenth, the server leaves .9
        (0.3, (0.3, 0.2)),  # .8 and .4 are wanted above requests: half of each fits
        (0.5, (0.25, 0.25)),  # .8 and .8: 3 / 8 of each
    ],
)
def test_training_takes_what_servers_leave(wanted: float | None, granted: tuple[float, float]) -> None:
    """Beyond requests it competes like a pod that wants the whole row; a server keeps its request."""
    assert quotas(trains(1, 0.1), pod(2, 0.1, wanted)) == granted


def test_training_workers_share_a_row() -> None:
    """Times .4 and .2 are requested; .6 and .8 more are wanted, of which .4 are left: 2 / 7 of each."""
    assert quotas(trains(1, 0.2), trains(2, 0.1)) == (0.5 * (0.4 + 1.2 / 7), 0.5 * (0.2 + 1.6 / 7))


pods = st.builds(
    lambda shares, wanted, seat, serves: (
        pod(0, min(shares), wanted, limit=max(shares), seat=seat)
        if serves
        else trains(0, min(shares), limit=max(shares), seat=seat)
    ),
    st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0)),
    st.none() | st.floats(0.0, 1.0),
    st.sampled_from(["a", "b", None]),
    st.booleans(),
)


@given(st.lists(pods, min_size=1, max_size=24))
def test_no_row_exceeds_its_time(residents: list[StillResident]) -> None:
    """Whatever is wanted: each row's time quotas sum to at most 1, and everybody has a quota in (0, limit].

    Who wants at least the request gets it where the row's requests fit; training leaves no time unused.
    """
    grant = ROWS.decide(StillGpu(residents))
    for seat in {r.seat for r in residents}:
        row = [(r, quota) for r, quota in zip(residents, grant.quotas, strict=True) if r.seat == seat]
        total = sum(quota / r.limit for r, quota in row)
        assert total <= 1.0 + 1e-9
        assert total >= 1.0 - 1e-9 or all(r.slo_sensitive for r, _ in row)
        if sum(max(r.request / r.limit, 0.1) for r, _ in row) <= 1.0:
            kept = [min(r.request, r.request if r.wanted is None else r.wanted) for r, _ in row]
            assert all(quota >= least - 1e-9 for (_, quota), least in zip(row, kept, strict=True))
    assert all(0.0 < quota <= r.limit for r, quota in zip(residents, grant.quotas, strict=True))


def test_a_row_that_is_served_rests() -> None:
    """The answer depends on what is wanted alone: it is settled, and no cycle is worth a question."""
    grant = ROWS.decide(StillGpu((pod(1, 0.1, 0.2), pod(2, 0.1, None))))
    assert grant.settled
    assert grant.calm == ((-float("inf"), float("inf")),) * 2


@pytest.mark.parametrize("constants", [{"least": 0.0}, {"least": 1.5}, {"tick_s": None}])
def test_impossible_rows_are_refused(constants: dict[str, Any]) -> None:
    """A constant that no row can have is named."""
    with pytest.raises(PolicyError, match=next(iter(constants))):
        RowQuotas(**constants)


def test_rows_keep_the_contract() -> None:
    """It fills the vertical slot; everybody is held to a quota of time on the row's SMs."""
    assert check_policy(ROWS) == ("vertical",)
    assert ROWS.sharing == TimeSharing("limit", "request", "all")
