"""Virtual workers in real time against the simulated world, on quotas that stay; others: `dilu validate`.

The tolerances are for a busy host of two cores. On an idle one, medians differ by some 5 %, the 95th
percentiles by 4 % and training by 2 %; a batch is sent some 0.4 ms after it is due.
"""

from __future__ import annotations

import numpy as np
import pytest
from small_worlds import NO_ARRIVALS, Ran, deployed, poisson, run_simulated, run_virtually

from policies import Deployment, Function, System, find_system
from profiles import load_catalog

DURATION_S = 5.0
TOLERANCE, TOLERANCE_S = 0.15, 0.003
"""Of a latency."""


def _serving(name: str, **values: float) -> Function:
    profile = load_catalog().model(name)
    return Function(name, profile.kind, profile, profile.memory_bytes, slo_s=profile.slo_s, **values)  # type: ignore[arg-type]


def _training(name: str) -> Function:
    profile = load_catalog().model(name)
    assert profile.training is not None
    return Function(f"{name}-training", "training", profile, profile.training.memory_bytes)


def two_servers_and_a_job(rate_rps: float, gpus: int) -> Deployment:
    """RoBERTa and ResNet serve, VGG trains."""
    functions = [_serving("roberta-large"), _serving("resnet152"), _training("vgg19")]
    arrivals = [poisson(rate_rps, DURATION_S, 1), poisson(1.5 * rate_rps, DURATION_S, 2), NO_ARRIVALS]
    return deployed(functions, arrivals, duration_s=DURATION_S, gpus=gpus)


def quantiles_s(ran: Ran, function: int) -> np.ndarray:
    """Return median and 95th percentile of the latencies of a function."""
    return np.quantile(ran.latencies(function), [0.5, 0.95])


CASES = {
    "exclusive": two_servers_and_a_job(30.0, 3),
    "time-slicing": two_servers_and_a_job(6.0, 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_latencies_throughput_and_training_agree(case: str) -> None:
    """Median and 95th percentile, completed requests, training steps and the share in use."""
    _compare(CASES[case], find_system(case))


def _placed(ran: Ran) -> list[list[int]]:
    return [gpus.tolist() for gpus in ran.instances["gpus"]]


def _compare(deployment: Deployment, system: System) -> None:
    simulated, real = run_simulated(deployment, system), run_virtually(deployment, system)
    for function in range(2):
        expected, found = quantiles_s(simulated, function), quantiles_s(real, function)
        assert np.abs(found - expected) == pytest.approx(0.0, abs=TOLERANCE * expected.max() + TOLERANCE_S)
        counts = [len(ran.latencies(function)) for ran in (simulated, real)]
        assert counts[1] == pytest.approx(counts[0], abs=4)
        slo_s = deployment.functions[function].slo_s
        assert slo_s is not None
        violated = [float((ran.latencies(function) > slo_s).mean()) for ran in (simulated, real)]
        assert violated[1] == pytest.approx(violated[0], abs=0.1)
    assert real.training["steps"] == pytest.approx(simulated.training["steps"], rel=0.1)
    assert _placed(real) == _placed(simulated)
    last = [ran.gpus["active_share_s"][-1] for ran in (simulated, real)]
    assert last[1] == pytest.approx(last[0], rel=0.1)
