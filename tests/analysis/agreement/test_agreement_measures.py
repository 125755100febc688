from __future__ import annotations

import pytest
from agreement_runs import SERVES, TRAINS, launched, recorder, run_of

from analysis.agreement import MEASURES, values_of


def test_every_measure_has_its_value() -> None:
    """Computed by hand: two requests in one batch, one cold start, training, quotas weighed by time."""
    tables = recorder((0, 0, 0, 2, 1.0, 1.4))
    launched(tables, 0)
    launched(tables, 1, launch_s=2.0, ready_s=5.0, retire_s=8.0, cold=True)
    launched(tables, 2, 1)
    tables.quota(0.0, 0, 0, 0.2)
    tables.quota(5.0, 0, 0, 0.4)
    tables.quota(5.0, 0, 1, 0.7)
    tables.quota(0.0, 0, 2, 0.1)
    tables.training(1, 2, 0.0, 10.0, 25.0, False, 1)
    tables.gpu(0.0, 0, 3, 0.6, 0.6, 0.9, 10, 0.0)
    tables.gpu(10.0, 0, 3, 0.6, 0.6, 0.9, 10, 4.0)
    values = values_of(run_of(tables, [[0.8, 1.0], []], (SERVES, TRAINS)))
    assert values["vision", "throughput"] == values[None, "throughput"] == pytest.approx(0.2)
    assert values["vision", "mean"] == pytest.approx(0.5)
    assert values["vision", "p50"] == pytest.approx(0.5)
    assert values["vision", "svr"] == pytest.approx(0.5)
    assert values["vision", "batch"] == 2.0
    assert values["vision", "cold_starts"] == 1.0
    assert values["vision", "start_up"] == pytest.approx(3.0)
    assert values["job", "training"] == values[None, "training"] == pytest.approx(2.5)
    assert values[None, "share"] == pytest.approx(0.4)
    assert values["vision", "quota"] == pytest.approx((5 * 0.2 + 5 * 0.4 + 3 * 0.7) / 13)
    assert values["job", "quota"] == pytest.approx(0.1)
    assert {name for _, name in values} == {measure.name for measure in MEASURES}


def test_what_does_not_apply_has_no_value() -> None:
    """A training job has no latency and no throughput of requests; nothing served has no latency."""
    values = values_of(run_of(recorder(), [[1.0], []], (SERVES, TRAINS)))
    assert ("job", "throughput") not in values
    assert ("vision", "p50") not in values
    assert ("vision", "start_up") not in values
    assert values["vision", "throughput"] == 0.0
