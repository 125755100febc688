from __future__ import annotations

import pytest

from experiments import ExperimentError
from experiments.validation import DEFAULT_TOLERANCES, parse_tolerances


def test_each_backend_has_its_own() -> None:
    """Virtual work is held to less than work that is computed."""
    assert parse_tolerances("virtual", []) == {"throughput": 0.02, "p50": 0.05, "p95": 0.05, "svr": 0.01}
    for backend in ("cpu", "cuda"):
        assert parse_tolerances(backend, []) == {"throughput": 0.05, "p50": 0.05, "p95": 0.10}


def test_they_can_be_changed_added_and_left_out() -> None:
    """As fractions, in percent, or not judged at all; the last word counts, and the defaults stay."""
    changes = ["p95=10%", "training=0.3", "p50=none", "cold_starts=2", "svr=1%", "svr=0.02"]
    expected = {"throughput": 0.02, "p95": 0.1, "training": 0.3, "cold_starts": 2.0, "svr": 0.02}
    assert parse_tolerances("virtual", changes) == expected
    assert DEFAULT_TOLERANCES["virtual"]["p50"] == 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("p5=0.1", r"--tolerance p5=0\.1: did you mean 'p95'\? allowed are throughput, "),
        ("p95", r"--tolerance p95: allowed is METRIC=VALUE, such as p95=10%"),
        ("p95=-1%", r"found '-1%', allowed is a number from 0 on, such as 0\.1 or 10%, or none"),
        ("p95=nan", r"found 'nan', allowed is a number"),
        ("p95=inf", r"found 'inf', allowed is a number"),
        ("p95=", r"found '', allowed is a number"),
        ("cold_starts=5%", r"found '5%', allowed is a number from 0 on, such as 2, or none"),
    ],
)
def test_a_slip_is_named(change: str, message: str) -> None:
    """In one line: what was found, what is allowed."""
    with pytest.raises(ExperimentError, match=message):
        parse_tolerances("virtual", [change])
