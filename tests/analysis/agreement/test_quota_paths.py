from __future__ import annotations

import numpy as np
import pytest
from agreement_runs import launched, recorder, run_of
from hypothesis import given
from hypothesis import strategies as st

from analysis.agreement import QuotaPath, compare_paths, quota_paths
from recording import Run

Steps = list[tuple[float, float]]


def quota_run(*instances: Steps, launch_s: tuple[float, ...] = (), numbers: tuple[int, ...] = ()) -> Run:
    """Make a run in which instances have these quotas (time_s, share)."""
    tables = recorder()
    for at, steps in enumerate(instances):
        number = numbers[at] if numbers else at
        launched(tables, number, launch_s=launch_s[at] if launch_s else 0.0)
        for time_s, quota in steps:
            tables.quota(time_s, 0, number, quota)
    return run_of(tables, [[]])


def test_paths_are_compared_over_time() -> None:
    """By hand: 0.2 then 0.6 from 5 s, against the same from 6 s: apart by 0.4 for one second of ten."""
    sim, real = quota_run([(0.0, 0.2), (5.0, 0.6)]), quota_run([(0.0, 0.2), (6.0, 0.6)])
    (found,) = compare_paths(sim, real)
    assert (found.function, found.order) == ("vision", 0)
    assert (found.sim, found.real) == (pytest.approx(0.4), pytest.approx(0.36))
    assert found.absolute == pytest.approx(0.04)
    # cov = E[xy] - E[x] E[y] = 0.176 - 0.144, spreads 0.2 and 0.4 sqrt(0.24)
    assert found.correlation == pytest.approx(0.032 / (0.2 * 0.4 * 0.24**0.5))


def test_paths_that_stand_still_have_no_correlation() -> None:
    """A constant path goes along with nothing, but may be apart."""
    (found,) = compare_paths(quota_run([(0.0, 0.3)]), quota_run([(0.0, 0.2), (4.0, 0.5)]))
    assert found.correlation is None
    assert found.absolute == pytest.approx((4 * 0.1 + 6 * 0.2) / 10)


def test_paths_are_compared_while_both_are_there() -> None:
    """What one world had before the other had its instance does not count."""
    (found,) = compare_paths(quota_run([(0.0, 0.9), (2.0, 0.3)]), quota_run([(2.0, 0.3)]))
    assert (found.sim, found.absolute) == (pytest.approx(0.3), 0.0)


def test_instances_go_together_by_the_order_of_their_launches() -> None:
    """Their numbers may differ; who has no partner is left out."""
    sim = quota_run([(1.0, 0.1)], [(3.0, 0.2)], launch_s=(1.0, 3.0))
    real = quota_run([(3.1, 0.2)], [(1.1, 0.1)], [(4.0, 0.9)], launch_s=(3.1, 1.1, 4.0), numbers=(5, 9, 7))
    found = compare_paths(sim, real)
    assert [(one.order, one.absolute) for one in found] == [(0, 0.0), (1, 0.0)]


def test_an_instance_on_two_gpus_has_the_mean_of_its_quotas() -> None:
    """From when it has both; a later one of the same instant counts."""
    tables = recorder()
    launched(tables, 0, gpus=[0, 1], memory_bytes=[1, 1], retire_s=6.0)
    for time_s, gpu, quota in ((0.0, 0, 0.2), (1.0, 1, 0.5), (1.0, 1, 0.4), (4.0, 0, 0.6)):
        tables.quota(time_s, gpu, 0, quota)
    (path,) = quota_paths(run_of(tables, [[]]))
    assert path.times_s.tolist() == [1.0, 4.0]
    assert path.quotas == pytest.approx([0.3, 0.5])
    assert path.end_s == 6.0
    assert path.mean == pytest.approx((3 * 0.3 + 2 * 0.5) / 5)


def test_means_between_times() -> None:
    """By hand; outside the path there is none."""
    path = QuotaPath(0, 0, np.array([1.0, 2.5]), np.array([0.2, 0.6]), 4.0)
    assert path.means(np.array([0.0, 1.0, 2.0, 3.0, 5.0])) == pytest.approx(
        [np.nan, 0.2, 0.4, np.nan], nan_ok=True
    )


quotas = st.lists(st.tuples(st.integers(1, 90), st.sampled_from([0.1, 0.3, 0.7])), max_size=8)


@given(quotas, quotas)
def test_a_comparison_is_what_a_fine_grid_says(
    ours: list[tuple[int, float]], theirs: list[tuple[int, float]]
) -> None:
    """Steps at multiples of 0.1 s, sampled between them: means, distance and correlation are the same."""
    both = [[(0.0, 0.2), *sorted((at / 10, share) for at, share in own)] for own in (ours, theirs)]
    runs = [quota_run(own) for own in both]
    (found,) = compare_paths(*runs)
    grid = np.arange(100) / 10 + 0.05
    a, b = (quota_paths(run)[0].at(grid) for run in runs)
    assert (found.sim, found.real) == (pytest.approx(a.mean()), pytest.approx(b.mean()))
    assert found.absolute == pytest.approx(np.abs(a - b).mean())
    if found.correlation is None:
        assert min(a.std(), b.std()) < 1e-6
    else:
        assert found.correlation == pytest.approx(np.corrcoef(a, b)[0, 1])
    (mirrored,) = compare_paths(*reversed(runs))
    assert mirrored.absolute == pytest.approx(found.absolute)
